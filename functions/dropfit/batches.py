# SPDX-License-Identifier: Apache-2.0
"""What a file is read into, whatever its kind, and the caps that keep reading within bounds."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import msgspec
import numpy as np
import pyarrow as pa

from .errors import BadFile, legible

BLOCK = 1024**2
"""Bytes of text that are read at a time; a row must fit."""
ROWS = 65_536
"""Most rows of a batch."""
HONEST = 256 * 1024**2
"""So much may come out of a small, very repetitive file before its ratio counts."""


class Caps(msgspec.Struct, frozen=True, kw_only=True):
    """What a file may be.

    Attributes:
        max_unpacked_bytes: a file that unpacks to more is refused.
        max_unpack_ratio: a file that unpacks to more than 256 MB and so many times its size is refused.
        max_field_bytes: a file with a longer cell is refused.
        max_columns: a file with more columns is refused.
        max_bad_share: a file with a larger share (0 to 1) of rejected rows is refused.
        overridden: codes of judgements that a person has overruled for this file; `*` means all.
    """

    max_unpacked_bytes: int = 8 * 1024**3
    max_unpack_ratio: float = 100.0
    max_field_bytes: int = 256 * 1024
    max_columns: int = 10_000
    max_bad_share: float = 0.5
    overridden: frozenset[str] = frozenset()

    @property
    def block(self) -> int:
        """Bytes of text read at a time: a few of the longest cells fit."""
        return max(BLOCK, 4 * self.max_field_bytes)

    def judges(self, code: str) -> bool:
        """Whether a judgement is to be applied."""
        return not self.overridden & {code, "*"}


class Broken(NamedTuple):
    """A row that could not even be split into columns.

    Attributes:
        row: its number in the file, the first data row being 1.
        reason: what is wrong with it.
        text: the row as it stood.
    """

    row: int
    reason: str
    text: str


Spill = Callable[[list[Broken]], None]
"""Takes rows that cannot be split, in whatever thread reads ahead."""


class Batch(NamedTuple):
    """Some rows of a file.

    Attributes:
        columns: needed column -> Arrow array: strings as they stood, or Parquet's own type.
        rows: their numbers in the file, shape (rows,).
        broken: rows that could not even be split into columns.
        ignored: columns of the file that nobody asked for.
    """

    columns: dict[str, Any]
    rows: np.ndarray[Any, Any]
    broken: list[Broken]
    ignored: list[str]


class Meter:
    """Counts what a file unpacks to.

    Args:
        caps: what it may be.
        packed: bytes of the file that this came from so far.
    """

    def __init__(self, caps: Caps, packed: Callable[[], int]) -> None:
        self._caps = caps
        self._packed = packed
        self._unpacked = 0

    def add(self, count: int) -> None:
        """So many bytes more.

        Raises:
            BadFile: past the cap, or past the ratio.
        """
        self._unpacked += count
        caps = self._caps
        if self._unpacked > caps.max_unpacked_bytes:
            raise BadFile(f"it unpacks to more than {caps.max_unpacked_bytes:,} bytes", "too-large")
        if self._unpacked > HONEST and self._unpacked > caps.max_unpack_ratio * self._packed():
            raise BadFile(
                f"it unpacks to more than {HONEST:,} bytes and {caps.max_unpack_ratio:g} times its size, "
                "as no honest table does; upload it unpacked",
                "bomb",
            )


def check_header(names: Sequence[str], needed: Sequence[str], caps: Caps) -> None:
    """Refuse a file by its columns.

    Raises:
        BadFile: when there are too many, or a needed one is missing or stands twice.
    """
    if len(names) > caps.max_columns:
        raise BadFile(
            f"it has {len(names):,} columns or more, and {caps.max_columns:,} are allowed", "too-many-columns"
        )
    if not set(needed) <= set(names):
        missing = ", ".join(n for n in needed if n not in names)
        shown = ", ".join(legible(n, 40) for n in list(names)[:30]) or "nothing"
        raise BadFile(f"columns are missing: {missing}; found: {shown}", "missing-columns")
    twice = sorted({n for n in needed if list(names).count(n) > 1})
    if twice:
        raise BadFile(f"columns stand twice: {', '.join(twice)}", "duplicate-columns")


def field_too_large(caps: Caps, name: str) -> BadFile:
    """The refusal of a file with an enormous cell."""
    return BadFile(f"a cell of column {name} is longer than {caps.max_field_bytes:,} bytes", "field-too-large")


def row_too_large(caps: Caps, row: str = "a row") -> BadFile:
    """The refusal of a file with an enormous row."""
    return BadFile(f"{row} is longer than {caps.block:,} bytes; is a quote not closed?", "field-too-large")


def torn(what: str) -> BadFile:
    """The refusal of a file whose end is missing."""
    return BadFile(f"{what}: the end of the file seems to be missing; upload it whole", "truncated")


def only_broken(broken: list[Broken], needed: Sequence[str], ignored: list[str]) -> Batch:
    """A batch without a readable row."""
    return Batch({n: pa.array([], pa.string()) for n in needed}, np.array([], dtype=np.int64), broken, ignored)
