# SPDX-License-Identifier: Apache-2.0
"""A file's rows are accepted or set aside with number, column and reason; none is lost, none is bent."""

from __future__ import annotations

import csv
import gzip
import io
from typing import Any

import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from fakes import csv_of, pots, tea
from hypothesis import given
from hypothesis import strategies as st
from taking_in import GOOD, TOLERANT, as_csv, taken_in, with_one_bad

from dropfit.contract import Label, Number
from dropfit.ingest import Caps, from_table, ingest, to_table


@pytest.mark.parametrize(
    ("cells", "column", "reason"),
    [
        ({"drunk": ""}, "drunk", "missing"),
        ({"drunk": "2"}, "drunk", "above 1"),
        ({"leaf": ""}, "leaf", "missing"),
        ({"leaf": "  "}, "leaf", "missing"),
        ({"leaf": "x" * 13}, "leaf", "longer than 12 characters"),
        ({"cup": "medium"}, "cup", "not one of small, large"),
        ({"minutes": "61"}, "minutes", "above 60"),
        ({"minutes": "-1"}, "minutes", "below 0"),
        ({"minutes": "soon"}, "minutes", "not a number"),
        ({"minutes": "0x10"}, "minutes", "not a number"),
        ({"minutes": "1_0"}, "minutes", "not a number"),
        ({"minutes": "1e999"}, "minutes", "not a finite number"),
        ({"minutes": "9" * 400}, "minutes", "not a finite number"),
        ({"minutes": "inf"}, "minutes", "not a number"),
        ({"pot": "2.5"}, "pot", "not a whole number"),
        ({"pot": ""}, "pot", "missing"),
        ({"brewed": ""}, "brewed", "missing"),
        ({"brewed": "2013-02-30"}, "brewed", "no such date or time"),
        ({"brewed": "yesterday"}, "brewed", "not an ISO 8601 date or time"),
        ({"brewed": "01/02/2013"}, "brewed", "not an ISO 8601 date or time"),
    ],
)
def test_a_bad_row_among_good_ones_is_set_aside_with_number_column_and_reason(
    cells: dict[str, str], column: str, reason: str
) -> None:
    found = with_one_bad(**cells)
    assert found.reasons == [(2, column, reason)]
    assert found.found.reasons == {f"{column}: {reason}": 1}
    assert found.columns["pot"].tolist() == [1, 3]
    assert {name: found.rejected[0][name] for name in cells} == cells


@pytest.mark.parametrize(
    ("cell", "value"),
    [("+5", 5.0), ("5.", 5.0), (".5", 0.5), ("5e0", 5.0), ("5E+0", 5.0), (" 5 ", 5.0), ("05", 5.0), ("-0", 0.0)],
)
def test_a_number_is_read_however_it_is_written(cell: str, value: float) -> None:
    assert with_one_bad(minutes=cell).columns["minutes"].tolist() == [3, value, 3]


@pytest.mark.parametrize("cell", ["", "NA", "N/A", "NaN", "null", "None", " NA "])
def test_what_a_file_writes_for_missing_is_missing(cell: str) -> None:
    found = with_one_bad(minutes=cell, cup=cell)
    assert np.isnan(found.columns["minutes"].tolist()[1])
    assert found.columns["cup"].tolist() == ["small", None, "small"]


@pytest.mark.parametrize(
    ("cell", "moment"),
    [
        ("2013-01-02", "2013-01-02"),
        ("2013-01-02 05:00", "2013-01-02T05:00"),
        ("2013-01-02T05:00:01.5", "2013-01-02T05:00:01.5"),
        ("2013-01-02T05:00:00Z", "2013-01-02T05:00"),
    ],
)
def test_a_moment_is_read_however_iso_8601_writes_it(cell: str, moment: str) -> None:
    assert with_one_bad(brewed=cell).columns["brewed"][1] == np.datetime64(moment, "us")


@pytest.mark.parametrize("cell", ["now", "today", "20130101", "9999999-01-01"])
def test_a_cell_that_is_no_date_is_not_taken_for_one(cell: str) -> None:
    assert with_one_bad(brewed=cell).reasons == [(2, "brewed", "not an ISO 8601 date or time")]


def test_a_probability_target_that_is_neither_0_nor_1_is_set_aside() -> None:
    assert [r[:2] for r in with_one_bad(drunk="0.5").reasons] == [(2, "drunk")]


def test_only_the_first_thing_wrong_with_a_row_is_told() -> None:
    assert len(with_one_bad(minutes="soon", drunk="", leaf="").reasons) == 1


def test_a_label_outside_its_set_is_set_aside() -> None:
    problem = tea(target=Label(name="verdict", values=("good", "bad")))
    rows = [{**GOOD, "pot": n, "verdict": v} for n, v in enumerate(["good", "awful", "bad"], 1)]
    found = taken_in(as_csv([{k: v for k, v in r.items() if k != "drunk"} for r in rows]), problem)
    assert found.reasons == [(2, "verdict", "not one of good, bad")]
    assert found.columns["verdict"].tolist() == ["good", "bad"]


def test_cells_that_a_spreadsheet_would_run_are_kept_as_text() -> None:
    found = with_one_bad(leaf="=cmd()|'x'")
    assert found.columns["leaf"].tolist() == ["assam", "=cmd()|'x'", "assam"]


CELLS = {
    "leaf": st.sampled_from(["assam", "earl, grey", 'say "tea"', "two\nlines", "", "x" * 20, "NA"]),
    "cup": st.sampled_from(["small", "large", "", "bucket"]),
    "minutes": st.sampled_from(["3", "", "61", "soon", " 4.5 ", "1e999"]),
    "warmth": st.sampled_from(["60", "70", "-1", ""]),
    "brewed": st.sampled_from(["2013-01-01", "2013-01-02T03:04", "2013-02-30", ""]),
    "drunk": st.sampled_from(["0", "1", "", "2"]),
}
SHAPES = st.sampled_from(["row", "row", "row", "row", "blank", "short", "long"])


@given(st.lists(st.tuples(SHAPES, st.fixed_dictionaries(CELLS)), max_size=25))
def test_every_row_of_a_file_is_accepted_or_set_aside_under_its_own_number(
    lines: list[tuple[str, dict[str, str]]],
) -> None:
    names = [c.name for c in tea().columns]
    sink = io.StringIO(newline="")
    sheet = csv.writer(sink)
    sheet.writerow(names)
    sheet.writerow([str(v) for v in {**GOOD, "pot": 1}.values()])
    rows = 1
    for shape, cells in lines:
        if shape == "blank":
            sink.write("\r\n")
            continue
        rows += 1
        cells = {**cells, "pot": str(rows)}
        width = {"row": len(names), "short": 3, "long": len(names)}[shape]
        sheet.writerow([cells[n] for n in names][:width] + (["one", "more"] if shape == "long" else []))
    found = taken_in(sink.getvalue().encode())
    assert found.found.rows + found.found.rejected == rows
    accepted = found.columns["pot"].astype(int).tolist()
    assert sorted([*accepted, *(number for number, _, _ in found.reasons)]) == list(range(1, rows + 1))
    for row in found.rejected:
        assert row["pot"] in ("", row["dropfit_row"])


def test_a_row_of_a_wrong_width_is_set_aside_as_it_stood() -> None:
    accepted, rejected = io.BytesIO(), io.StringIO(newline="")
    payload = as_csv([GOOD]) + b"unforgettable,tea\n"
    ingest(tea(), io.BytesIO(payload), accepted, rejected, TOLERANT)
    assert "unforgettable" in rejected.getvalue()


VALUES = st.fixed_dictionaries(
    {
        "leaf": st.sampled_from(["assam", "earl, grey", "two\nlines", "café", None]),
        "cup": st.sampled_from(["small", "large", "bucket", None]),
        "minutes": st.one_of(st.none(), st.integers(-1, 61), st.floats(0, 60)),
        "warmth": st.sampled_from([60.0, 70.5]),
        "brewed": st.sampled_from(["2013-01-01T00:00:00", "2013-06-01T12:30:00"]),
        "drunk": st.sampled_from([0, 1, None]),
    }
)


@given(st.lists(VALUES, min_size=1, max_size=20))
def test_csv_gzip_json_lines_and_parquet_of_the_same_rows_give_the_same_accepted_rows(
    rows: list[dict[str, Any]],
) -> None:
    rows = [{**row, "pot": n} for n, row in enumerate([GOOD, *rows], 1)]
    plain = as_csv([{k: "" if v is None else v for k, v in row.items()} for row in rows])
    lines = b"\n".join(msgspec.json.encode(row) for row in rows)
    kinds = {"leaf": pa.string(), "cup": pa.string(), "minutes": pa.float64(), "drunk": pa.int8()}
    table = pa.table({n: pa.array([r[n] for r in rows], kinds.get(n)) for n in rows[0]})
    position = table.column_names.index("brewed")
    table = table.set_column(position, "brewed", pa.array([np.datetime64(r["brewed"], "s") for r in rows]))
    sink = io.BytesIO()
    pq.write_table(table, sink, row_group_size=7)
    outcomes = [taken_in(p) for p in (plain, gzip.compress(plain), lines, sink.getvalue())]
    for other in outcomes[1:]:
        assert other.accepted.schema == outcomes[0].accepted.schema
        for name, values in other.columns.items():
            np.testing.assert_array_equal(values, outcomes[0].columns[name])
        assert other.reasons == outcomes[0].reasons


def test_columns_nobody_asked_for_are_noted() -> None:
    assert taken_in(as_csv([{**GOOD, "sugar": 2}])).found.notes == ["columns ignored: sugar"]


def test_a_file_of_many_batches_is_written_as_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("dropfit.batches.BLOCK", 2048)
    monkeypatch.setattr("dropfit.ingest.ROWS", 100)
    rows = pots(500)
    found = taken_in(csv_of(tea(), rows), caps=Caps(max_field_bytes=256))
    assert found.columns["pot"].tolist() == rows["pot"].tolist()
    assert found.columns["leaf"].tolist() == rows["leaf"].tolist()


def test_of_a_flood_of_bad_rows_every_one_is_kept() -> None:
    rows = [{**GOOD, "pot": n, "leaf": "" if n % 10 else "assam", "drunk": n % 20 // 10} for n in range(10_000)]
    found = taken_in(as_csv(rows) + b"short\n" * 5_000 + as_csv([GOOD]).splitlines()[1])
    assert found.found.rejected == 9_000 + 5_000
    good = {*range(1, 10_000, 10), 15_001}
    assert [number for number, _, _ in found.reasons] == sorted(set(range(1, 15_002)) - good)


@pytest.mark.parametrize("days", [1, 2, 7, 365])
def test_every_row_of_a_column_of_days_survives_on_its_way_to_parquet(days: int) -> None:
    # pyarrow reads a datetime64[D] array wrongly when asked for microseconds: every other row was lost.
    column = np.datetime64("2013-01-01", "D") + np.arange(days)
    table = to_table(tea(), {**pots(days), "brewed": column})
    assert table.column("brewed").null_count == 0
    np.testing.assert_array_equal(from_table(table)["brewed"], column.astype("datetime64[us]"))


def test_accepted_rows_survive_the_journey_through_parquet() -> None:
    rows = pots(50)
    again = from_table(to_table(tea(), rows))
    for name, values in again.items():
        np.testing.assert_array_equal(values, rows[name])
        assert values.dtype == rows[name].dtype


@given(st.floats(allow_nan=False, allow_infinity=False), st.booleans())
def test_a_number_is_within_its_bounds_or_set_aside(value: float, whole: bool) -> None:
    bounded = Number(name="minutes", minimum=-5, maximum=5, integer=whole)
    problem = tea(
        columns=tuple(bounded if c.name == "minutes" else c for c in tea().columns),
        features=tuple(bounded if f.name == "minutes" else f for f in tea().features),
    )
    found = taken_in(as_csv([{**GOOD, "minutes": 1}, {**GOOD, "pot": 2, "minutes": repr(value)}]), problem)
    fits = -5 <= value <= 5 and (not whole or value == int(value))
    assert found.columns["minutes"].tolist() == ([1.0, value] if fits else [1.0])


def test_a_hundred_thousand_rows_that_cannot_be_split_are_all_kept_with_their_numbers(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("dropfit.delimited.PENDING", 1000)
    problem, good = tea(), csv_of(tea(), pots(50)).decode().splitlines()
    lines = [good[0], *good[1:26], *["x"] * 100_000, *good[26:], *["y"] * 5]
    sheet, accepted = io.StringIO(), io.BytesIO()
    found = ingest(problem, io.BytesIO("\n".join(lines).encode() + b"\n"), accepted, sheet, Caps(max_bad_share=1.0))
    assert (found.rows, found.rejected) == (50, 100_005)
    told = list(csv.DictReader(io.StringIO(sheet.getvalue().removeprefix("\ufeff"))))
    numbers = sorted(int(row["dropfit_row"]) for row in told)
    assert numbers == [*range(26, 100_026), *range(100_051, 100_056)]
