# SPDX-License-Identifier: Apache-2.0
"""rows.csv: the rows that were set aside, as a file that a person can open, correct and upload again.

A spreadsheet runs cells that begin like a formula. Such a cell gets an apostrophe in front
(https://owasp.org/www-community/attacks/CSV_Injection); numbers stay as they are. The apostrophe is taken off when
the file comes back, which the column of row numbers tells, so that a corrected sheet says exactly what was uploaded.
A byte order mark in front lets Excel read the file as the UTF-8 that it is; reading takes it off too.
"""

from __future__ import annotations

import csv
from collections.abc import Sequence
from typing import Any, TextIO

import pyarrow as pa
import pyarrow.compute as pc

from .batches import Batch, Broken
from .cells import NUMBER, Marks
from .contract import Column, Number
from .errors import BadFile

MARKS = ("dropfit_row", "dropfit_column", "dropfit_reason", "dropfit_text")
FORMULA = "(?:\\s*[-=+@\uff1d\uff0b\uff0d\uff20]|[\t\r\n])"
"""What a spreadsheet may take for the beginning of a formula, in ASCII and in full width."""
CHUNK = 4096
"""Rows that are Python objects at a time."""


class Sheet:
    """Writes rows.csv.

    Args:
        sink: where to.
        columns: of the problem's files.
        limit: characters that it may hold.
    """

    def __init__(self, sink: TextIO, columns: Sequence[Column], limit: int) -> None:
        self._sink = sink
        self._columns = columns
        self._left = limit
        sink.write("\ufeff")
        self._writer = csv.writer(self)
        self._writer.writerow([*(c.name for c in columns), *MARKS])

    def write(self, text: str) -> int:
        """One line of CSV.

        Raises:
            BadFile: when the sheet would be larger than any file may be.
        """
        self._left -= len(text)
        if self._left < 0:
            raise BadFile("the rows that cannot be used would fill a larger file than may be uploaded", "too-large")
        return self._sink.write(text)

    def broken(self, rows: Sequence[Broken]) -> None:
        """Rows that could not be split into cells: their text alone."""
        blank = [""] * len(self._columns)
        for start in range(0, len(rows), CHUNK):
            part = rows[start : start + CHUNK]
            texts = guarded(pa.array([row.text for row in part], pa.string())).to_pylist()
            self._writer.writerows([*blank, r.row, "", r.reason, t] for r, t in zip(part, texts, strict=True))

    def rejected(self, batch: Batch, marks: Marks) -> None:
        """Rows of a batch that are marked: their cells as they stood."""
        bad = marks.bad
        for start in range(0, len(bad), CHUNK):
            part = bad[start : start + CHUNK]
            taken = (as_text(c, batch.columns[c.name].take(pa.array(part))) for c in self._columns)
            cells = [guarded(array).to_pylist() for array in taken]
            why = zip(*(marks.at(int(row)) for row in part), strict=True)
            blank = [""] * len(part)
            self._writer.writerows(zip(*cells, batch.rows[part].tolist(), *why, blank, strict=True))


def as_text(column: Column, array: Any) -> Any:
    """Cells as text that reads as the same value again; empty where there is none."""
    if pa.types.is_dictionary(array.type):
        array = array.dictionary_decode()
    if pa.types.is_boolean(array.type) and isinstance(column, Number):
        array = array.cast(pa.int8())
    return pc.fill_null(array.cast(pa.string()), "")


def guarded(texts: Any) -> Any:
    """Texts that no spreadsheet runs."""
    runs = pc.and_(
        pc.match_substring_regex(texts, f"^'*{FORMULA}"), pc.invert(pc.match_substring_regex(texts, NUMBER))
    )
    return pc.if_else(runs, pc.binary_join_element_wise("'", texts, ""), texts)


def unguarded(batch: Batch) -> Batch:
    """The batch as it was before it became a sheet, if it was one."""
    if MARKS[0] not in batch.ignored:
        return batch
    return batch._replace(columns={name: _unguarded(array) for name, array in batch.columns.items()})


def _unguarded(array: Any) -> Any:
    if not pa.types.is_string(array.type):
        return array
    marked = pc.fill_null(pc.match_substring_regex(array, f"^'+{FORMULA}"), False)
    return pc.if_else(marked, pc.utf8_slice_codeunits(array, 1), array)
