# SPDX-License-Identifier: Apache-2.0
"""A file's rows are accepted or set aside with number, column and reason; none is lost, none is bent."""

from __future__ import annotations

import csv
import gzip
import io
import re
from typing import Any

import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from fakes import csv_of, pots, tea
from hypothesis import given
from hypothesis import strategies as st

from dropfit.contract import Category, Columns, Gate, Label, Number, Problem, Quantity
from dropfit.errors import BadFile
from dropfit.ingest import JUDGEMENTS, Caps, Ingested, from_table, ingest, to_table
from dropfit.problem import problem as flights

TOLERANT = Caps(max_bad_share=1.0)
GOOD = {"leaf": "assam", "cup": "small", "minutes": 3, "warmth": 60, "brewed": "2013-01-01", "pot": 1, "drunk": 1}
FLIGHT = {
    "carrier": "UA",
    "origin": "EWR",
    "dest": "IAH",
    "distance": 1400,
    "year": 2013,
    "month": 1,
    "day": 1,
    "flight": 1545,
    "sched_dep_time": 515,
    "arr_delay": 11,
}


class Outcome:
    """What ingest left."""

    def __init__(self, found: Ingested, accepted: Any, rejected: str) -> None:
        self.found = found
        self.accepted = accepted
        self.columns = from_table(accepted)
        self.rejected = list(csv.DictReader(io.StringIO(rejected.removeprefix("\ufeff"), newline="")))
        assert (found.rows, found.rejected) == (accepted.num_rows, len(self.rejected))

    @property
    def reasons(self) -> list[tuple[int, str, str]]:
        marks = [(int(r["dropfit_row"]), r["dropfit_column"], r["dropfit_reason"]) for r in self.rejected]
        return sorted(marks)


def taken_in(payload: bytes, problem: Problem | None = None, caps: Caps = TOLERANT) -> Outcome:
    accepted, rejected = io.BytesIO(), io.StringIO(newline="")
    found = ingest(problem or tea(), io.BytesIO(payload), accepted, rejected, caps)
    accepted.seek(0)
    return Outcome(found, pq.read_table(accepted), rejected.getvalue())


def as_csv(rows: list[dict[str, Any]]) -> bytes:
    sink = io.StringIO(newline="")
    sheet = csv.DictWriter(sink, rows[0].keys())
    sheet.writeheader()
    sheet.writerows(rows)
    return sink.getvalue().encode()


def with_one_bad(**cells: Any) -> Outcome:
    """A good row, one with these cells, a good row."""
    return taken_in(as_csv([GOOD, {**GOOD, "pot": 2, **cells}, {**GOOD, "pot": 3}]))


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


def parquet(**columns: Any) -> bytes:
    usual = {"leaf": ["assam", "sencha"], "cup": ["small", None], "minutes": [1.0, 2.0], "warmth": [60, 70]}
    usual |= {"brewed": pa.array([0, 1], pa.timestamp("us")), "pot": [1, 2], "drunk": [0, 1]}
    sink = io.BytesIO()
    pq.write_table(pa.table({**usual, **columns}), sink)
    return sink.getvalue()


@pytest.mark.parametrize(
    "brewed",
    [
        pa.array([0, 1], pa.date32()),
        pa.array([0, 86_400_000], pa.timestamp("ms")),
        pa.array([0, 86_400_000_000_000], pa.timestamp("ns", "Europe/Paris")),
        pa.array(["1970-01-01", "1970-01-02"]).dictionary_encode(),
    ],
)
def test_a_parquet_files_own_dates_are_taken_as_they_are(brewed: Any) -> None:
    days = [np.datetime64("1970-01-01"), np.datetime64("1970-01-02")]
    assert taken_in(parquet(brewed=brewed)).columns["brewed"].tolist() == [
        d.astype("datetime64[us]").item() for d in days
    ]


def test_numbers_in_a_parquet_category_become_names() -> None:
    assert taken_in(parquet(leaf=[1, 2])).columns["leaf"].tolist() == ["1", "2"]


def test_a_parquet_column_that_can_be_no_number_refuses_the_file_by_name() -> None:
    with pytest.raises(BadFile, match="minutes") as refused:
        taken_in(parquet(minutes=[[1], [2]]))
    assert refused.value.code == "wrong-type"


@pytest.mark.parametrize(
    "leaf", [[["a"], ["b"]], [{"a": 1}, {"a": 2}], [b"\xff", b"b"]], ids=["list", "struct", "bytes"]
)
def test_a_parquet_column_that_can_be_no_category_refuses_the_file_by_name(leaf: list[Any]) -> None:
    with pytest.raises(BadFile, match="leaf"):
        taken_in(parquet(leaf=leaf))


def test_a_parquet_integer_is_not_taken_for_a_date() -> None:
    with pytest.raises(BadFile, match="brewed"):
        taken_in(parquet(brewed=[20130101, 20130102]))


def test_a_file_with_too_many_bad_rows_is_refused_whole_with_the_commonest_reasons() -> None:
    rows = [GOOD, *({**GOOD, "minutes": "soon"} for _ in range(3)), {**GOOD, "leaf": ""}]
    with pytest.raises(BadFile) as refused:
        taken_in(as_csv(rows), caps=Caps(max_bad_share=0.5))
    assert refused.value.code == "too-many-bad-rows"
    assert "4 of 5 rows" in refused.value.reason
    assert "minutes: not a number (3 rows); leaf: missing (1 rows)" in refused.value.reason


def test_a_file_with_as_many_bad_rows_as_allowed_is_taken_in() -> None:
    rows = [GOOD, {**GOOD, "minutes": "soon"}]
    assert taken_in(as_csv(rows), caps=Caps(max_bad_share=0.5)).found.rows == 1


def test_a_file_of_bad_rows_alone_is_refused_however_tolerant_the_cap() -> None:
    with pytest.raises(BadFile) as refused:
        taken_in(as_csv([{**GOOD, "leaf": ""}]))
    assert refused.value.code == "too-many-bad-rows"


def test_a_header_without_rows_is_refused() -> None:
    with pytest.raises(BadFile) as refused:
        taken_in(as_csv([GOOD]).splitlines(keepends=True)[0])
    assert refused.value.code == "no-rows"


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


def broken_prepare(columns: Columns) -> Columns:
    raise KeyError("kettle")


@pytest.mark.parametrize(
    ("prepare", "says"),
    [
        (broken_prepare, "KeyError: 'kettle'"),
        (lambda columns: {"pot": columns["pot"][:1]}, "pot"),
    ],
)
def test_a_prepare_that_fails_is_named_and_the_file_waits(prepare: Any, says: str) -> None:
    with pytest.raises(BadFile, match="prepare") as refused:
        taken_in(as_csv([GOOD, {**GOOD, "pot": 2}]), tea(prepare=prepare))
    assert refused.value.code == "prepare"
    assert says in refused.value.reason


def test_a_prepare_that_forgets_a_column_is_told_which() -> None:
    problem = tea(columns=tuple(c for c in tea().columns if c.name != "pot"), prepare=lambda columns: {})
    with pytest.raises(BadFile, match=r"prepare.*pot"):
        taken_in(as_csv([GOOD]), problem)


def test_what_prepare_makes_may_be_of_any_numpy_kind_that_fits() -> None:
    problem = tea(
        prepare=lambda columns: {
            "leaf": np.array(["assam"] * len(columns["leaf"])),
            "minutes": columns["minutes"] > 1,
        }
    )
    columns = taken_in(as_csv([GOOD]), problem).columns
    assert (columns["leaf"].tolist(), columns["minutes"].tolist()) == (["assam"], [1.0])


def test_what_prepare_makes_of_another_kind_is_named() -> None:
    problem = tea(prepare=lambda columns: {"minutes": np.array(["soon"] * len(columns["minutes"]))})
    with pytest.raises(BadFile, match=r"prepare.*minutes"):
        taken_in(as_csv([GOOD]), problem)


@pytest.mark.parametrize(
    ("column", "made", "says"),
    [
        ("minutes", ["soon"], "minutes must hold numbers and holds text"),
        ("leaf", [3.0], "leaf must hold text and holds numbers"),
        ("drunk", ["yes"], "drunk must hold numbers and holds text"),
        ("brewed", ["in spring"], "brewed must hold numbers or dates and holds text"),
    ],
)
def test_each_column_that_prepare_makes_of_another_kind_is_told_with_what_it_should_hold(
    column: str, made: list[Any], says: str
) -> None:
    problem = tea(prepare=lambda columns: {column: np.array(made)})
    with pytest.raises(BadFile) as refused:
        taken_in(as_csv([GOOD]), problem)
    assert (refused.value.code, refused.value.reason) == ("prepare", f"problem.py's prepare: {says}")


def test_a_target_in_words_that_prepare_forgets_to_translate_is_not_accepted_as_it_stands() -> None:
    words = tuple(Category(name="drunk") if c.name == "drunk" else c for c in tea().columns)
    with pytest.raises(BadFile, match="drunk must hold numbers and holds text"):
        taken_in(as_csv([{**GOOD, "drunk": "yes"}]), tea(columns=words, prepare=lambda columns: {}))


def test_what_prepare_makes_is_held_to_the_declaration_of_its_feature() -> None:
    problem = tea(prepare=lambda columns: {"minutes": columns["minutes"] * 10})
    found = taken_in(as_csv([GOOD, {**GOOD, "pot": 2, "minutes": 30}]), problem)
    assert found.reasons == [(2, "minutes", "above 60")]


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


@pytest.mark.parametrize(("month", "day"), [(2, 30), (2, 29), (4, 31)])
def test_a_flight_on_a_day_that_does_not_exist_is_set_aside_with_a_reason(month: int, day: int) -> None:
    rows = [FLIGHT, {**FLIGHT, "month": month, "day": day}, {**FLIGHT, "day": 2}]
    found = taken_in(as_csv(rows), flights)
    ((row, column, reason),) = found.reasons
    assert (row, reason) == (2, "missing")
    assert column in ("weekday", "date")
    assert [str(d)[:10] for d in found.columns["date"]] == ["2013-01-01", "2013-01-02"]


def test_a_flight_without_an_arrival_is_set_aside_because_it_has_no_target() -> None:
    found = taken_in(as_csv([FLIGHT, {**FLIGHT, "arr_delay": ""}, {**FLIGHT, "arr_delay": "NA"}]), flights)
    assert found.reasons == [(2, "late", "missing"), (3, "late", "missing")]


@pytest.mark.parametrize(("delay", "late"), [(15, 0.0), (15.5, 1.0), (16, 1.0), (-20, 0.0)])
def test_a_flight_is_late_when_it_arrives_more_than_15_minutes_after_its_time(delay: float, late: float) -> None:
    assert taken_in(as_csv([{**FLIGHT, "arr_delay": delay}]), flights).columns["late"].tolist() == [late]


def test_weekday_and_hour_of_a_flight_follow_from_date_and_scheduled_time() -> None:
    rows = [{**FLIGHT, "day": day, "sched_dep_time": 2359} for day in (6, 7, 8)]  # Sunday, Monday, Tuesday
    found = taken_in(as_csv(rows), flights)
    assert found.columns["weekday"].tolist() == [6, 0, 1]
    assert found.columns["hour"].tolist() == [23, 23, 23]


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


LETTERS = st.text(st.sampled_from("=+-@\t\r\n '\"a1,;.e\uff1d\u00e9"), max_size=10)
LONG = tea(
    columns=tuple(msgspec.structs.replace(c, max_length=500) if c.name == "leaf" else c for c in tea().columns),
    features=tuple(msgspec.structs.replace(f, max_length=500) if f.name == "leaf" else f for f in tea().features),
)
FORMULA = re.compile(r"\s*[-=+@\uff1d]|[\t\r\n]")


@given(st.lists(LETTERS, min_size=1, max_size=10))
def test_a_sheet_runs_no_formula_and_comes_back_corrected_exactly_as_uploaded(leaves: list[str]) -> None:
    rows = [{**GOOD, "pot": n, "leaf": leaf, "drunk": "7"} for n, leaf in enumerate(leaves, 2)]
    first = taken_in(as_csv([GOOD, *rows]), LONG)
    for cells in first.rejected:
        if FORMULA.match(cells["leaf"]):
            float(cells["leaf"])  # only a number may begin so
    wanted = [{**row, "drunk": "1"} for row in rows]
    corrected = [cells | {"drunk": "1"} for cells in first.rejected]
    fine = dict.fromkeys(corrected[0], "") | GOOD
    again = taken_in(b"\xef\xbb\xbf" + as_csv([fine, *corrected]), LONG)
    straight = taken_in(as_csv([GOOD, *wanted]), LONG)
    assert again.found.notes == []
    assert again.columns["leaf"].tolist() == straight.columns["leaf"].tolist()
    assert again.columns["pot"].tolist() == straight.columns["pot"].tolist()


def test_an_apostrophe_is_taken_off_a_sheet_of_ours_alone() -> None:
    assert with_one_bad(leaf="'=1+1").columns["leaf"].tolist()[1] == "'=1+1"


def test_a_negative_number_stays_a_number_in_the_sheet() -> None:
    assert with_one_bad(minutes="-5").rejected[0]["minutes"] == "-5"


def test_the_text_of_a_row_that_could_not_be_split_runs_nothing_either() -> None:
    (row,) = taken_in(as_csv([GOOD]) + b"=cmd()\n").rejected
    assert row["dropfit_text"] == "'=cmd()"


@pytest.mark.parametrize("bad", [0, 1])
def test_a_rejected_row_of_parquet_comes_back_from_the_sheet_as_it_was(bad: int) -> None:
    moments = pa.array([0, 86_400_000_001], pa.timestamp("us"))
    held = {"minutes": [1.25, None], "brewed": moments, "pot": [True, False]}
    first = taken_in(parquet(drunk=[5 if n == bad else 1 for n in range(2)], **held))
    again = taken_in(as_csv([cells | {"drunk": "1"} for cells in first.rejected]))
    for name, values in taken_in(parquet(drunk=[1, 1], **held)).columns.items():
        np.testing.assert_array_equal(values[bad : bad + 1], again.columns[name])


def test_a_sheet_larger_than_any_upload_may_be_refuses_the_file() -> None:
    payload = as_csv([GOOD]) + b"x\n" * 10_000
    with pytest.raises(BadFile) as refused:
        taken_in(payload, caps=Caps(max_bad_share=1, max_unpacked_bytes=len(payload) + 10))
    assert refused.value.code == "too-large"


def many(rows: int, **cells: Any) -> bytes:
    return as_csv([{**GOOD, "pot": n, "drunk": n % 2, **cells} for n in range(rows)])


@pytest.mark.parametrize(("rows", "code"), [(29, ""), (30, "empty-column")])
def test_an_empty_column_refuses_a_file_of_some_size(rows: int, code: str) -> None:
    assert verdict(many(rows, cup="", minutes=2)) == code


@pytest.mark.parametrize(("rows", "code"), [(99, ""), (100, "constant-target")])
def test_a_constant_target_refuses_a_file_that_could_carry_a_model(rows: int, code: str) -> None:
    assert tea().gate.minimum_rows <= 100
    assert verdict(many(rows, drunk=1), tea(gate=Gate(minimum_rows=100))) == code


def test_a_constant_label_or_quantity_is_judged_alike() -> None:
    label = tea(target=Label(name="verdict", values=("good", "bad")), gate=Gate(minimum_rows=50))
    assert verdict(many(50, verdict="good"), label) == "constant-target"
    quantity = tea(target=Quantity(name="drunk"), gate=Gate(minimum_rows=50))
    assert verdict(many(50, drunk=1.5), quantity) == "constant-target"


def test_rows_that_could_not_be_split_do_not_make_a_column_empty() -> None:
    assert verdict(as_csv([GOOD]).splitlines(keepends=True)[0] + b"short\n" * 50) == "too-many-bad-rows"


JUDGED = {
    "empty-column": many(200, cup=""),
    "constant-target": many(2000, drunk=0),
    "too-many-bad-rows": as_csv([GOOD, {**GOOD, "leaf": ""}, {**GOOD, "leaf": ""}]),
    "truncated": many(3) + b"assam,small",
}


@pytest.mark.parametrize("code", JUDGEMENTS)
def test_a_person_can_overrule_every_judgement_about_a_file_as_a_whole(code: str) -> None:
    assert verdict(JUDGED[code]) == code
    assert verdict(JUDGED[code], overridden=frozenset({code})) == ""
    assert verdict(JUDGED[code], overridden=frozenset({"*"})) == ""
    assert verdict(JUDGED[code], overridden=frozenset({"another"})) == code


def test_nobody_can_overrule_that_there_is_nothing_to_accept() -> None:
    assert verdict(as_csv([{**GOOD, "leaf": ""}]), overridden=frozenset({"*"})) == "too-many-bad-rows"


def verdict(payload: bytes, problem: Problem | None = None, **caps: Any) -> str:
    try:
        taken_in(payload, problem, Caps(**caps))
    except BadFile as bad:
        return bad.code
    return ""


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
