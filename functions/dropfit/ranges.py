# SPDX-License-Identifier: Apache-2.0
"""Where the rows of a text file begin, found exactly in one pass over its bytes, and never a byte at a time.

A line break inside quotes ends no row. A quotation mark opens only where a cell begins, as pyarrow's parser has it:
in a file that keeps to RFC 4180 every second mark closes, so that counting them says which breaks lie inside; where
a block holds marks in the middle of a cell, that block's marks (not its bytes) are looked at one by one.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, BinaryIO, NamedTuple, Protocol

import numpy as np

from .batches import Caps, row_too_large, torn
from .errors import BadFile

Array = np.ndarray[Any, Any]
QUOTE, NEWLINE, RETURN = 34, 10, 13


class Cuts(NamedTuple):
    """Where a block may be cut.

    Attributes:
        places: int64, one behind each line break that lies outside quotes.
        rows: int64, how many rows of the block have ended there.
    """

    places: Array
    rows: Array


class Scanner(Protocol):
    """Follows a text, block by block.

    Attributes:
        quoted: whether the text so far ends inside quotes.
        unended: whether it ends in a row without a line break.
    """

    quoted: bool
    unended: bool

    def cuts(self, block: bytes) -> Cuts:
        """Where the next block may be cut."""


class JsonRows:
    """JSON lines: a line break is never part of a row, and an empty line counts as one."""

    def __init__(self) -> None:
        self.quoted = False
        self.unended = False

    def cuts(self, block: bytes) -> Cuts:
        """Behind every line break."""
        places = np.flatnonzero(np.frombuffer(block, dtype=np.uint8) == NEWLINE) + 1
        self.unended = bool(block) and not block.endswith(b"\n")
        return Cuts(places, np.arange(1, len(places) + 1))


class CsvRows:
    """Delimited text; empty lines are no rows.

    Args:
        delimiter: between two cells.
    """

    def __init__(self, delimiter: str) -> None:
        self.quoted = False
        self.unended = False
        self._before = b"\n"
        self._closed = False  # whether the byte before is a mark that closed a cell
        self._openers = np.zeros(256, dtype=bool)  # what a cell begins behind
        self._openers[[ord(delimiter), NEWLINE, RETURN]] = True

    def cuts(self, block: bytes) -> Cuts:
        """Behind the line breaks outside quotes."""
        if not block:
            return Cuts(np.array([], dtype=np.int64), np.array([], dtype=np.int64))
        data = np.frombuffer(block, dtype=np.uint8)
        turns = self._turns(block, data)
        breaks = np.flatnonzero((data == NEWLINE) | (data == RETURN)) if b"\r" in block else self._breaks(data)
        if len(turns) or self.quoted:
            breaks = breaks[(np.searchsorted(turns, breaks) + self.quoted) % 2 == 0]
        before = np.where(breaks > 0, data[breaks - 1], ord(self._before))
        rows = np.cumsum((before != NEWLINE) & (before != RETURN))
        self.quoted = bool((len(turns) + self.quoted) % 2)
        self._before = block[-1:]
        self._closed = bool(len(turns)) and int(turns[-1]) == len(block) - 1 and not self.quoted
        self.unended = self.quoted or self._before not in (b"\n", b"\r")
        return Cuts(breaks + 1, rows)

    @staticmethod
    def _breaks(data: Array) -> Array:
        return np.flatnonzero(data == NEWLINE)

    def _turns(self, block: bytes, data: Array) -> Array:
        """The marks that open or close; the two of an escaped one close and open again."""
        if QUOTE not in block:
            return np.array([], dtype=np.int64)
        marks = np.flatnonzero(data == QUOTE)
        opening = marks[int(self.quoted) :: 2]
        starts = self._openers[data[opening - 1]] | (data[opening - 1] == QUOTE)
        if len(opening) and opening[0] == 0:
            starts[0] = self._closed or self._openers[ord(self._before)]
        if starts.all():
            return marks
        turns: list[int] = []
        quoted, closed = self.quoted, -1 if self._closed else -2
        behind = self._openers[data[marks - 1]].tolist()
        if marks[0] == 0:
            behind[0] = bool(self._openers[ord(self._before)])
        for mark, starts_cell in zip(marks.tolist(), behind, strict=True):
            if quoted:
                quoted, closed = False, mark
            elif starts_cell or closed == mark - 1:
                quoted = True
            else:
                continue
            turns.append(mark)
        return np.array(turns, dtype=np.int64)


class Range(NamedTuple):
    """A run of whole rows.

    Attributes:
        start: place of its first byte.
        end: one behind its last.
        rows: how many it holds.
    """

    start: int
    end: int
    rows: int


def ranges(stream: BinaryIO, start: int, scanner: Scanner, target: int, caps: Caps) -> list[Range]:
    """Runs of whole rows of at least so many bytes, the last one of what is left.

    Args:
        stream: the file, seekable.
        start: place of the first row's first byte.
        scanner: at that place.
        target: bytes.
        caps: the longest row.

    Raises:
        BadFile: when a row is too long, or the file ends inside quotes.
    """
    stream.seek(start)
    found: list[Range] = []
    at = begin = last = start
    rows = 0
    for block in _blocks(stream, caps.block, None):
        cuts, counted = scanner.cuts(block), 0
        while (place := int(np.searchsorted(cuts.places, begin + target - at))) < len(cuts.places):
            end = at + int(cuts.places[place])
            found.append(Range(begin, end, rows + int(cuts.rows[place]) - counted))
            begin, rows, counted = end, 0, int(cuts.rows[place])
        if len(cuts.places):
            last = at + int(cuts.places[-1])
            rows += int(cuts.rows[-1]) - counted
        at += len(block)
        if at - last > caps.block:
            raise row_too_large(caps)
    if scanner.quoted:
        raise torn("its last row has a quote that is not closed")
    if at > begin or not found:
        found.append(Range(begin, at, rows + scanner.unended))
    return found


def pieces(
    stream: BinaryIO, length: int | None, scanner: Scanner, size: int, caps: Caps
) -> Iterator[tuple[bytes, bool]]:
    """Bytes of whole rows, about so many at a time; and whether they are what was left behind the last line break.

    The same bytes come in the same pieces, however the stream gives them.

    Args:
        stream: at the first row's first byte.
        length: bytes that are wanted, None for all.
        scanner: at that place.
        size: bytes of a piece.
        caps: the longest row.

    Raises:
        BadFile: when a row is too long, or the text ends early or inside quotes.
    """
    held = bytearray()
    for block in _blocks(stream, min(caps.block, size), length):
        cuts = scanner.cuts(block)
        if len(cuts.places) and len(held) + len(block) >= size:
            cut = int(cuts.places[-1])
            yield bytes(held) + block[:cut], False
            held = bytearray(block[cut:])
        else:
            held += block
        if not len(cuts.places) and len(held) > size + caps.block:
            raise row_too_large(caps)
    if scanner.quoted:
        raise torn("its last row has a quote that is not closed")
    if held:
        yield bytes(held), True


def first_row(head: bytes, scanner: Scanner) -> int:
    """Place one behind the first row that is not empty; the length of the text when it has no other."""
    cuts = scanner.cuts(head)
    place = int(np.searchsorted(cuts.rows, 1))
    return int(cuts.places[place]) if place < len(cuts.places) else len(head)


def _blocks(stream: BinaryIO, size: int, length: int | None) -> Iterator[bytes]:
    """Full blocks, whatever the stream gives at a time."""
    left = length
    while left is None or left > 0:
        block = full(stream, size if left is None else min(size, left))
        if left is not None:
            left -= len(block)
        if block:
            yield block
        elif left is None:
            return
        else:
            raise BadFile(
                f"it ends {left:,} bytes before it should: it was cut off, or changed meanwhile", "truncated"
            )


def full(stream: BinaryIO, size: int) -> bytes:
    """So many bytes, or all that are left."""
    chunks = []
    while size > 0 and (chunk := stream.read(size)):
        chunks.append(chunk)
        size -= len(chunk)
    return chunks[0] if len(chunks) == 1 else b"".join(chunks)
