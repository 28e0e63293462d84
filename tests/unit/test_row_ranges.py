# SPDX-License-Identifier: Apache-2.0
"""Where rows begin in a CSV file is found as its parser has it, whatever its text holds."""

from __future__ import annotations

import io
from typing import Any

import pyarrow as pa
import pyarrow.csv as pacsv
from hypothesis import given, settings
from hypothesis import strategies as st

from dropfit.batches import Caps
from dropfit.errors import BadFile
from dropfit.ranges import CsvRows, ranges

WILD = st.text(st.sampled_from('a,"\n\r'), max_size=40)
"""Text that keeps to no rule: quotation marks in the middle of cells, cells left over."""


@settings(deadline=None, max_examples=200)
@given(WILD, st.integers(1, 12))
def test_rows_begin_where_the_parser_has_them_begin(text: str, target: int) -> None:
    payload = b"a,b\n" + text.encode()
    try:
        found = ranges(io.BytesIO(payload), 4, CsvRows(","), target, Caps())
    except BadFile:
        return  # the text ends inside quotes
    seen: list[Any] = []

    def skipped(row: pacsv.InvalidRow) -> str:
        seen.append(row.text)
        return "skip"

    def parsed(piece: bytes) -> list[Any]:
        seen.clear()
        if not piece.strip(b"\r\n"):
            return []
        table = pacsv.read_csv(
            pa.BufferReader(piece),
            pacsv.ReadOptions(use_threads=False, column_names=["a", "b"]),
            pacsv.ParseOptions(newlines_in_values=True, invalid_row_handler=skipped),
            pacsv.ConvertOptions(column_types={"a": pa.string(), "b": pa.string()}),
        )
        return [*table.to_pylist(), *seen]

    pieces = [parsed(payload[each.start : each.end]) for each in found]
    assert [len(piece) for piece in pieces] == [each.rows for each in found]
    assert sorted(map(str, parsed(payload[4:]))) == sorted(str(row) for piece in pieces for row in piece)


def test_marks_in_the_middle_of_cells_are_found_across_blocks() -> None:
    rows = ['5" pipe,1', '"a\nb",2', '"c""d\n"x"y",3', "plain,4"] * 50
    text = "\n".join(rows).encode()
    whole = [each.end for each in ranges(io.BytesIO(text), 0, CsvRows(","), 1, Caps())]
    for size in (1, 2, 3, 7, 64):
        scanner, places, at = CsvRows(","), [], 0
        while at < len(text):
            places += [at + int(place) for place in scanner.cuts(text[at : at + size]).places]
            at += size
        assert [*places, len(text)] == whole
