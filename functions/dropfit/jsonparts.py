# SPDX-License-Identifier: Apache-2.0
"""JSON lines, whole lines at a time -> Arrow tables of all their columns.

Features are judged as those of a request are, so a text is no number here and a number no text. All other cells come
as text: what is text in JSON as it is, and all else as JSON, so that every part of a file has the same schema.
"""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import Iterator, Sequence
from typing import Any, BinaryIO

import msgspec
import numpy as np
import pyarrow as pa

from .batches import Broken, Caps, row_too_large, torn
from .contract import Category, Feature
from .csvparts import CODED
from .errors import BadFile
from .jsonlines import PLACE, SHOWN
from .parts import Raw
from .ranges import JsonRows, pieces

PIECE = 2 * 1024**2
"""Bytes of text that are parsed at a time."""
FAULTS = (msgspec.MsgspecError, UnicodeDecodeError, RecursionError)
NONE = type(None)


def header(head: bytes, caps: Caps) -> tuple[str, ...]:
    """The columns that the first lines name, in order; of a column that comes later only features are read.

    Args:
        head: whole lines.
        caps: how many columns there may be.

    Raises:
        BadFile: when there are too many.
    """
    names: dict[str, None] = {}
    for row, _ in _decoded(head.split(b"\n")):
        names.update(dict.fromkeys(row))
        if len(names) > caps.max_columns:
            raise BadFile(f"it has more than {caps.max_columns:,} columns", "too-many-columns")
    return tuple(names)


DECODER = msgspec.json.Decoder(dict[str, Any])


def _decoded(lines: Sequence[bytes]) -> Iterator[tuple[dict[str, Any], int]]:
    """What is an object, and the place of its line."""
    for place, line in enumerate(lines):
        try:
            yield DECODER.decode(line), place
        except FAULTS:
            continue


class Parser:
    """Lines of one file.

    Args:
        names: its columns.
        features: those are read as what they are, all else as text.
        caps: the longest cell.
    """

    def __init__(self, names: Sequence[str], features: Sequence[Feature], caps: Caps) -> None:
        self._features = {f.name: f for f in features}
        self._names = list(names)
        if "" in self._names:
            blank = next(b for b in ("column" + "_" * n for n in itertools.count()) if b not in self._names)
            self._names[self._names.index("")] = blank
        self._others = {new: old for new, old in zip(self._names, names, strict=True) if old not in self._features}
        self._caps = caps

    def parse(self, piece: bytes, first: int, unended: bool = False) -> Raw:
        """Whole lines -> a table, and those that are no objects; the first has that number.

        Raises:
            BadFile: when the last line breaks off.
        """
        lines = piece.split(b"\n")
        rows, numbers, broken = self._objects(piece, lines, first)
        if unended and broken and broken[-1].row == first + len(lines) - 1 and "truncated" in broken[-1].reason:
            raise torn(f"its last line ({broken[-1].row:,}) is {broken[-1].reason}")
        whole = [
            name
            for name, feature in self._features.items()
            if isinstance(feature, Category) and not {type(row.get(name)) for row in rows} <= {str, NONE}
        ]
        if whole:
            rows, numbers, strange = self._texts_only(rows, numbers, whole)
            broken = sorted(broken + strange, key=lambda row: row.row)
        return Raw(pa.table(self._columns(rows)), np.array(numbers, dtype=np.int64), broken)

    def _objects(
        self, piece: bytes, lines: list[bytes], first: int
    ) -> tuple[list[dict[str, Any]], list[int], list[Broken]]:
        try:
            rows = DECODER.decode_lines(piece)
            if len(rows) == len(lines) - (lines[-1] == b""):
                return rows, list(range(first, first + len(rows))), []
        except FAULTS:
            pass
        rows, numbers, broken = [], [], []
        for number, line in enumerate(lines, start=first):
            text = line.strip()
            if not text:
                continue
            if len(text) > self._caps.block:
                raise row_too_large(self._caps, f"line {number:,}")
            try:
                rows.append(DECODER.decode(text))
                numbers.append(number)
            except FAULTS as error:
                reason = f"not a JSON object: {PLACE.sub('', str(error))}"
                broken.append(Broken(number, reason, text[:SHOWN].decode(errors="replace")))
        return rows, numbers, broken

    @staticmethod
    def _texts_only(
        rows: list[dict[str, Any]], numbers: list[int], names: Sequence[str]
    ) -> tuple[list[dict[str, Any]], list[int], list[Broken]]:
        """Rows whose categories are texts, and the others as broken: a column of texts cannot say what they hold."""
        kept, places, broken = [], [], []
        for row, number in zip(rows, numbers, strict=True):
            wrong = next((n for n in names if type(row.get(n)) not in (str, NONE)), None)
            if wrong is None:
                kept.append(row)
                places.append(number)
            else:
                broken.append(Broken(number, f"{wrong} is no text", msgspec.json.encode(row).decode()))
        return kept, places, broken

    def _columns(self, rows: list[dict[str, Any]]) -> dict[str, Any]:
        columns: dict[str, Any] = dict.fromkeys(self._names)
        for name, feature in self._features.items():
            if name in columns or any(name in row for row in rows):
                cells = [row.get(name) for row in rows]
                columns[name] = _coded(cells) if isinstance(feature, Category) else _numbers(cells)
        for name, given in self._others.items():
            columns[name] = _texts([row.get(given) for row in rows])
        return columns


def _coded(cells: list[Any]) -> Any:
    return pa.array(cells, pa.string()).dictionary_encode().cast(CODED)


def _numbers(cells: list[Any]) -> Any:
    """Float64 where all are numbers, else JSON, of which a cell that is no number will be told from one that is."""
    if set(map(type, cells)) <= {int, float, NONE}:
        with contextlib.suppress(pa.ArrowInvalid, OverflowError):  # of a whole number that float64 cannot hold
            return pa.array(cells, pa.float64())
    return pa.array([None if cell is None else _json(cell) for cell in cells], pa.string())


def _texts(cells: list[Any]) -> Any:
    if set(map(type, cells)) <= {str, NONE}:
        return pa.array(cells, pa.string())
    return pa.array([c if c is None or isinstance(c, str) else _json(c) for c in cells], pa.string())


def _json(cell: Any) -> str:
    return str(cell) if type(cell) is int else msgspec.json.encode(cell).decode()


def read(stream: BinaryIO, length: int | None, parser: Parser, first: int, caps: Caps) -> Iterator[Raw]:
    """All lines of a range, piece by piece.

    Args:
        stream: at its first byte.
        length: of the range in bytes, None for all that comes.
        parser: of the file.
        first: number of its first line.
        caps: the longest line.

    Raises:
        BadFile: when the file as a whole cannot be used.
    """
    yield parser.parse(b"", first)
    for piece, unended in pieces(stream, length, JsonRows(), PIECE, caps):
        yield parser.parse(piece, first, unended)
        first += piece.count(b"\n")
