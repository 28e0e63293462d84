# SPDX-License-Identifier: Apache-2.0
"""Comma, semicolon or tab separated text -> batches of strings."""

from __future__ import annotations

import codecs
import collections
import csv
import io
import sys
import threading
from collections.abc import Iterator, Sequence
from typing import Any, Protocol

import numpy as np
import pyarrow as pa
import pyarrow.csv as pacsv

from .batches import Batch, Broken, Caps, Spill, check_header, only_broken, torn
from .errors import BadFile

DELIMITERS = (",", ";", "\t")
PENDING = 20_000
"""So many rows that cannot be split wait for the next batch."""


class Ends(Protocol):
    """What is known of a file's bytes when all are read."""

    last: bytes
    quotes: int

    def stop(self) -> None:
        """Give no more bytes."""


class Numbering:
    """Rows that could not be split, and the numbers of those between them.

    The reader is ahead of the batches that it gives, in a thread of its own, and gives none while all rows are
    broken; so a number may be skipped long before the rows in front of it have come.

    Args:
        spill: takes broken rows off our hands when there are many.

    Attributes:
        broken: the rows of a wrong width that nobody has taken yet.
        last: the last of all of them.
        short: whether that one has too few columns.
        refusal: what the spill raised.
    """

    def __init__(self, spill: Spill) -> None:
        self._spill = spill
        self._taking = threading.Lock()
        self.broken: list[Broken] = []
        self.last: Broken | None = None
        self.short = False
        self.refusal: BadFile | OSError | None = None
        self._following = 1
        self._runs: collections.deque[list[int]] = collections.deque()  # first and last number of each run

    def __call__(self, row: pacsv.InvalidRow) -> str:
        """pyarrow found a row of a wrong width."""
        number = (row.number or 2) - 1
        # One object for all rows of that reason: a block may hold half a million of them.
        reason = sys.intern(f"{row.actual_columns} columns instead of {row.expected_columns}")
        self.last = Broken(number, reason, row.text)
        self.short = row.actual_columns < row.expected_columns
        with self._taking:
            if self._runs and self._runs[-1][1] == number - 1:
                self._runs[-1][1] = number
            else:
                self._runs.append([number, number])
            self.broken.append(self.last)
            full = len(self.broken) >= PENDING
        try:
            if full:
                self._spill(self.taken())
        except (BadFile, OSError) as refusal:
            self.refusal = refusal  # an exception of a callback would be lost
            return "error"
        return "skip"

    def next(self, rows: int) -> np.ndarray[Any, Any]:
        """The numbers of the next so many rows that were not skipped."""
        numbers = []
        with self._taking:
            while self._runs and self._runs[0][0] - self._following <= rows:
                first, last = self._runs.popleft()
                numbers.append(np.arange(self._following, first))
                rows -= first - self._following
                self._following = last + 1
        numbers.append(np.arange(self._following, self._following + rows))
        self._following += rows
        return np.concatenate(numbers)

    @property
    def ends_broken(self) -> bool:
        """Whether the file's last row has too few columns; asked when all batches have come."""
        return self.last is not None and self.short and self.last.row == self._following - 1

    def taken(self) -> list[Broken]:
        """The broken rows since the last time."""
        with self._taking:
            broken, self.broken = self.broken, []
        return broken


def read(
    lines: io.BufferedReader, ends: Ends, head: bytes, needed: Sequence[str], caps: Caps, spill: Spill
) -> Iterator[Batch]:
    """The needed columns of a CSV file.

    Args:
        lines: the file.
        ends: what is known of its bytes when all are read.
        head: its first block.
        needed: column names that must be there.
        caps: what the file may be.
        spill: takes rows that cannot be split, when there are too many to wait for the next batch; in any thread.

    Raises:
        BadFile, pa.ArrowException: when the file as a whole cannot be used.
    """
    names, delimiter = _header(head, needed, caps)
    numbering = Numbering(spill)
    # An unclosed quote ends in the last column, so that is read too.
    wanted = [*needed] if names[-1] in needed or names.count(names[-1]) > 1 else [*needed, names[-1]]
    ignored = [n for n in names if n not in needed]
    final = ""
    try:
        reader = pacsv.open_csv(
            lines,
            pacsv.ReadOptions(block_size=caps.block, use_threads=False),
            pacsv.ParseOptions(delimiter=delimiter, newlines_in_values=True, invalid_row_handler=numbering),
            pacsv.ConvertOptions(column_types={n: pa.string() for n in wanted}, include_columns=wanted),
        )
        for record in reader:
            if record.num_rows:
                final = record.column(wanted.index(names[-1]) if names[-1] in wanted else 0)[-1].as_py()
            numbers = numbering.next(record.num_rows)
            yield Batch(dict(zip(needed, record.columns, strict=False)), numbers, numbering.taken(), ignored)
    except pa.ArrowException as error:
        raise numbering.refusal or error from error
    finally:
        ends.stop()
    if numbering.broken:
        yield only_broken(numbering.taken(), needed, ignored)
    numbering.next(0)  # passes over what was skipped behind the last row
    if caps.judges("truncated"):
        _check_end(ends, numbering, final)


def _check_end(ends: Ends, numbering: Numbering, final: str) -> None:
    """Refuse a file whose last row breaks off, in the middle of a line or inside quotes.

    Args:
        ends: of its bytes.
        numbering: of its rows.
        final: the last cell of the last row that could be split.
    """
    open_line = ends.last not in (b"\n", b"\r")
    open_quote = ends.quotes % 2 == 1
    if numbering.ends_broken and numbering.last is not None:
        if open_line or (open_quote and "\n" in numbering.last.text):
            raise torn(f"its last row ({numbering.last.row:,}) has {numbering.last.reason}")
    elif open_quote and (open_line or final.endswith(("\n", "\r"))):
        raise torn("its last row has a quote that is not closed")


def _header(head: bytes, needed: Sequence[str], caps: Caps) -> tuple[list[str], str]:
    try:
        # The block may end inside a character; what is wrong behind it is found by the reader.
        text = codecs.getincrementaldecoder("utf-8-sig")().decode(head, final=len(head) < caps.block)
    except UnicodeDecodeError as error:
        raise BadFile(
            f"it is not UTF-8 (byte {error.start:,}), perhaps Latin-1 or Windows-1252; save it as UTF-8", "not-utf8"
        ) from error
    csv.field_size_limit(caps.block)
    try:
        found = [(_first_row(text, delimiter), delimiter) for delimiter in DELIMITERS]
    except csv.Error as error:
        raise BadFile(f"its first line is no header: {error}", "no-header") from error
    fitting = [(names, delimiter) for names, delimiter in found if set(needed) <= set(names)]
    names, delimiter = fitting[0] if fitting else max(found, key=lambda pair: len(pair[0]))
    check_header(names, needed, caps)
    return names, delimiter


def _first_row(text: str, delimiter: str) -> list[str]:
    rows = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter)
    return next((row for row in rows if row), [])
