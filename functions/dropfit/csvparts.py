# SPDX-License-Identifier: Apache-2.0
"""Delimited text, whole rows of it at a time -> Arrow tables of all its columns."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, BinaryIO, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pacsv

from .batches import Broken, Caps, field_too_large, torn
from .contract import Category, Feature
from .delimited import DELIMITERS
from .errors import BadFile
from .parts import Raw
from .ranges import CsvRows, first_row, pieces

PIECE = 2 * 1024**2
"""Bytes of text that are parsed at a time."""
CODED = pa.dictionary(pa.int32(), pa.string())
FAILED = re.compile(r"In CSV column #(\d+):.* conversion error to double")


class Header(NamedTuple):
    """What the first row says.

    Attributes:
        names: of the columns, each once.
        delimiter: between two cells.
        end: place one behind it.
    """

    names: tuple[str, ...]
    delimiter: str
    end: int


def header(head: bytes, caps: Caps) -> Header:
    """The names of the columns.

    Args:
        head: the file's first bytes; the first row must end in them, or be all.
        caps: how many columns there may be.

    Raises:
        BadFile: when there is none that can be read.
    """
    mark = 3 if head.startswith(b"\xef\xbb\xbf") else 0
    found = []
    for delimiter in DELIMITERS:
        end = mark + first_row(head[mark:], CsvRows(delimiter))
        found.append(Header(_cells(head[mark:end], delimiter, caps), delimiter, end))
    best = max(found, key=lambda each: len(each.names))
    names = tuple(name or f"column_{place}" for place, name in enumerate(best.names, start=1))
    twice = sorted({name for name in names if names.count(name) > 1}) if len(set(names)) < len(names) else []
    if twice:
        raise BadFile(f"columns stand twice: {', '.join(twice)}", "duplicate-columns")
    if len(best.names) > caps.max_columns:
        raise BadFile(f"it has {len(best.names):,} columns, and {caps.max_columns:,} are allowed", "too-many-columns")
    return best._replace(names=names)


def _cells(row: bytes, delimiter: str, caps: Caps) -> tuple[str, ...]:
    try:
        text = row.decode().strip("\r\n")
    except UnicodeDecodeError as error:
        raise BadFile(
            f"it is not UTF-8 (byte {error.start:,}), perhaps Latin-1 or Windows-1252; save it as UTF-8", "not-utf8"
        ) from error
    csv.field_size_limit(caps.block)
    try:
        cells = next(csv.reader(io.StringIO(text, newline=""), delimiter=delimiter), [])
    except csv.Error as error:
        raise BadFile(f"its first line is no header: {error}", "no-header") from error
    return tuple(cells)


class Parser:
    """Rows of one file.

    Args:
        names: its columns.
        delimiter: between two cells.
        features: those among them are read as what they are, all else as text.
        nulls: what is a missing number.
        caps: the longest cell.
    """

    def __init__(
        self, names: Sequence[str], delimiter: str, features: Sequence[Feature], nulls: Sequence[str], caps: Caps
    ) -> None:
        self._names = list(names)
        self._delimiter = delimiter
        self._nulls = list(nulls)
        self._caps = caps
        kinds = {f.name: CODED if isinstance(f, Category) else pa.float64() for f in features}
        self._types: dict[str, Any] = {name: kinds.get(name, pa.string()) for name in names}

    def parse(self, piece: bytes, first: int, uri: str = "") -> Raw:
        """Whole rows -> a table, and those of a wrong width; the first has that number.

        Raises:
            BadFile, pa.ArrowException: when the file as a whole cannot be used.
        """
        broken: list[Broken] = []

        def wrong(row: pacsv.InvalidRow) -> str:
            reason = f"{row.actual_columns} columns instead of {row.expected_columns}"
            broken.append(Broken(first + (row.number or 1) - 1, reason, row.text))
            return "skip"

        table = self._table(piece, wrong, broken)
        total = table.num_rows + len(broken)
        rows = np.arange(first, first + total)
        if broken:
            rows = np.delete(rows, [row.row - first for row in broken])
        return Raw(table, rows, broken, uri)

    def _table(self, piece: bytes, wrong: Any, broken: list[Broken]) -> Any:
        if not piece.strip(b"\r\n"):
            return pa.table({name: pa.array([], kind) for name, kind in self._types.items()})
        while True:
            broken.clear()
            try:
                table = self._read(piece, wrong)
            except pa.ArrowInvalid as error:
                failed = FAILED.search(str(error))
                if failed is None and "parse error" in str(error):
                    # Rows of a wrong width are set aside by `wrong`, which pyarrow cannot hand what is no text.
                    raise BadFile("it is not UTF-8 throughout; save it as UTF-8", "not-utf8") from error
                if failed is None:
                    raise
                # A cell is no number: what becomes of it is decided cell by cell, from its text.
                self._types[self._names[int(failed[1])]] = pa.string()
                continue
            strange = [n for n, kind in self._types.items() if pa.types.is_float64(kind) and _has_nan(table[n])]
            if not strange:
                self._check(table)
                return table
            self._types.update(dict.fromkeys(strange, pa.string()))

    def _read(self, piece: bytes, wrong: Any) -> Any:
        return pacsv.read_csv(
            pa.BufferReader(piece),
            pacsv.ReadOptions(use_threads=False, block_size=len(piece) + 1, column_names=self._names),
            pacsv.ParseOptions(delimiter=self._delimiter, newlines_in_values=True, invalid_row_handler=wrong),
            pacsv.ConvertOptions(column_types=self._types, null_values=self._nulls),
        )

    def _check(self, table: Any) -> None:
        for name, column in zip(table.column_names, table.columns, strict=True):
            for chunk in column.chunks:
                texts = chunk.dictionary if pa.types.is_dictionary(chunk.type) else chunk
                if pa.types.is_string(texts.type):
                    longest = pc.max(pc.binary_length(texts)).as_py()
                    if longest is not None and longest > self._caps.max_field_bytes:
                        raise field_too_large(self._caps, name)


def _has_nan(column: Any) -> bool:
    return bool(pc.any(pc.is_nan(column)).as_py())


def read(
    stream: BinaryIO, length: int | None, parser: Parser, delimiter: str, first: int, caps: Caps
) -> Iterator[Raw]:
    """All rows of a range, piece by piece.

    Args:
        stream: at its first byte.
        length: of the range in bytes, None for all that comes.
        parser: of the file.
        delimiter: between two cells.
        first: number of its first row.
        caps: the longest row.

    Raises:
        BadFile, pa.ArrowException: when the file as a whole cannot be used.
    """
    yield parser.parse(b"", first)
    for piece, unended in pieces(stream, length, CsvRows(delimiter), PIECE, caps):
        raw = parser.parse(piece, first)
        following = first + raw.table.num_rows + len(raw.broken)
        if unended and raw.broken and raw.broken[-1].row == following - 1 and _short(raw.broken[-1]):
            raise torn(f"its last row ({following - 1:,}) has {raw.broken[-1].reason}")
        yield raw
        first = following


def _short(row: Broken) -> bool:
    counts: Mapping[int, str] = dict(enumerate(re.findall(r"\d+", row.reason)))
    return int(counts[0]) < int(counts[1])
