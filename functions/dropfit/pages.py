# SPDX-License-Identifier: Apache-2.0
"""How large the pages of a Parquet column are, read from their headers and not from what the footer claims.

pyarrow unpacks a page at a time, however large; this looks before it does. A page header is Thrift's compact
protocol (https://github.com/apache/parquet-format/blob/master/src/main/thrift/parquet.thrift, PageHeader).
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import BinaryIO, NamedTuple

DICTIONARY_PAGE = 2
SHORT, LONG = 512, 1024**2
"""Bytes read in the hope of a whole header, and at most."""
TRUE, FALSE, BYTE, DOUBLE, BINARY, LIST, SET, MAP, STRUCT = 1, 2, 3, 7, 8, 9, 10, 11, 12
DEEP = 16


class Page(NamedTuple):
    """One page of a column chunk.

    Attributes:
        unpacked: bytes after unpacking.
        values: how many, 0 for a dictionary.
    """

    unpacked: int
    values: int


class Compact:
    """Reads Thrift's compact protocol: only what a page header holds."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self.at = 0

    def byte(self) -> int:
        """The next byte; IndexError at the end."""
        self.at += 1
        return self._data[self.at - 1]

    def varint(self) -> int:
        """An unsigned number of any length."""
        value = shift = 0
        while (byte := self.byte()) & 0x80:
            value |= (byte & 0x7F) << shift
            shift += 7
            if shift > 63:
                raise ValueError("a number without an end")
        return value | byte << shift

    def integer(self) -> int:
        """A signed number."""
        value = self.varint()
        return value >> 1 ^ -(value & 1)

    def fields(self, deep: int = 0) -> dict[int, int]:
        """A struct's whole numbers by field, those of a struct inside it under 100 * field + their own."""
        if deep > DEEP:
            raise ValueError("nested too deep")
        found: dict[int, int] = {}
        field = 0
        while head := self.byte():
            kind = head & 0x0F
            field = field + (head >> 4) if head >> 4 else self.integer()
            if BYTE < kind < DOUBLE:
                found[field] = self.integer()
            elif kind == STRUCT:
                found |= {100 * field + inner: value for inner, value in self.fields(deep + 1).items()}
            else:
                self._pass(kind)
        return found

    def _pass(self, kind: int) -> None:
        if kind == BYTE:
            self.at += 1
        elif kind == DOUBLE:
            self.at += 8
        elif kind == BINARY:
            length = self.varint()
            self.at += length
        elif kind not in (TRUE, FALSE):
            raise ValueError(f"a page header holds no field of type {kind}")


def pages(stream: BinaryIO, start: int, end: int, values: int) -> Iterator[Page]:
    """The pages of a column chunk.

    Args:
        stream: the file, seekable; its position is moved.
        start: where the chunk begins.
        end: where it ends.
        values: how many it holds.

    Raises:
        ValueError: when that is no page header.
    """
    while start < end and values > 0:
        header, length = _header(stream, start)
        unpacked, packed, kind = (header.get(field, -1) for field in (2, 3, 1))
        if unpacked < 0 or packed < 0:
            raise ValueError("a page of no size")
        count = 0 if kind == DICTIONARY_PAGE else header.get(501, header.get(801, 0))
        yield Page(unpacked, count)
        values -= count
        start += length + packed


def _header(stream: BinaryIO, start: int) -> tuple[dict[int, int], int]:
    for length in (SHORT, LONG):
        stream.seek(start)
        compact = Compact(stream.read(length))
        try:
            return compact.fields(), compact.at
        except IndexError:
            continue
    raise ValueError("a page header without an end")
