# SPDX-License-Identifier: Apache-2.0
"""A row of a file is good exactly where a request with its features is accepted, and else set aside with a reason."""

from __future__ import annotations

import io
import json
from typing import Any

import msgspec
import numpy as np
import pyarrow as pa
import pytest
from fakes import csv_of, pots, tea
from hypothesis import given, settings
from hypothesis import strategies as st
from penguins import problem as penguins_problem

from dropfit import checks, splits, tables
from dropfit.checks import Checked, check
from dropfit.contract import Number, Problem
from dropfit.errors import BadFile, BadRequest
from dropfit.ingest import from_table
from dropfit.instances import InstanceDecoder
from dropfit.parts import Raw
from dropfit.problem import problem as flights

EXACT = tea(nulls=())
"""Where no text stands for a missing value, as in a request."""
WHOLE = Number(name="minutes", minimum=-1.5, maximum=60, integer=True, missing=True)
COUNTED = tea(
    nulls=(),
    features=tuple(WHOLE if f.name == "minutes" else f for f in EXACT.features),
    columns=tuple(WHOLE if c.name == "minutes" else c for c in EXACT.columns),
)


def raw_of(columns: dict[str, Any]) -> Raw:
    table = pa.table(columns)
    return Raw(table, np.arange(1, table.num_rows + 1), [], "file")


def of_file(payload: bytes, problem: Problem) -> Checked:
    found = splits.plan(io.BytesIO(payload), "file")
    (raw,) = splits.read(io.BytesIO(payload), found[0], problem.contract)
    return check(problem, problem.contract, raw)


def accepted(decoder: InstanceDecoder, row: dict[str, Any]) -> bool:
    try:
        decoder.decode(json.dumps({"instances": [row]}).encode())
    except BadRequest:
        return False
    return True


NUMBERS = st.one_of(
    st.sampled_from([0, -1, 60, 61, 100, 101, 1e-300, 3.5e38, -2, 0.5, 60.000001, 100.0000001]),
    st.integers(-5, 105),
    st.floats(-5, 105),
)
ROWS = st.lists(
    st.fixed_dictionaries(
        {},
        optional={
            "leaf": st.sampled_from(["assam", "", "twelve chars", "thirteen char", "é" * 12, "NA"]) | st.none(),
            "cup": st.sampled_from(["small", "large", "Small", ""]) | st.none(),
            "minutes": NUMBERS | st.none() | st.sampled_from(["5", True, [1]]),
            "warmth": NUMBERS | st.none(),
        },
    ),
    min_size=1,
    max_size=6,
)


@settings(deadline=None, max_examples=150)
@given(ROWS, st.sampled_from([EXACT, COUNTED]))
def test_json_lines_are_accepted_exactly_where_a_request_is(rows: list[dict[str, Any]], problem: Problem) -> None:
    full = '{"leaf": "assam", "cup": null, "minutes": null, "warmth": null}'
    if problem is COUNTED:  # a file's 5.0 is a whole number; a request's is not
        rows = [
            {n: int(v) if type(v) is float and v == int(v) and abs(v) < 1e9 else v for n, v in r.items()}
            for r in rows
        ]
    payload = "\n".join([full, *map(json.dumps, rows)]).encode()
    found = of_file(payload, problem)
    decoder = InstanceDecoder(problem.contract, 1)
    good = [1, *(n for n, row in enumerate(rows, start=2) if accepted(decoder, row))]
    assert found.rows.tolist() == good
    rejected = [] if found.rejected is None else found.rejected["row"].to_pylist()
    assert sorted([*good, *rejected]) == list(range(1, len(rows) + 2))
    assert sum(found.reasons.values()) == len(rejected)


@settings(deadline=None, max_examples=60)
@given(ROWS)
def test_typed_columns_are_judged_as_json_lines_are(rows: list[dict[str, Any]]) -> None:
    kinds = {"leaf": pa.string(), "cup": pa.string(), "minutes": pa.float64(), "warmth": pa.float64()}
    kept = [row for row in rows if not isinstance(row.get("minutes"), str | bool | list)]
    decoder = InstanceDecoder(EXACT.contract, 1)
    found = check(
        EXACT, EXACT.contract, raw_of({n: pa.array([row.get(n) for row in kept], k) for n, k in kinds.items()})
    )
    assert found.rows.tolist() == [n for n, row in enumerate(kept, start=1) if accepted(decoder, row)]


def test_good_rows_are_what_the_table_holds_and_all_other_columns_follow() -> None:
    rows = pots(50)
    raw = raw_of({n: pa.array(rows[n], from_pandas=True) for n in rows} | {"Prediction": ["old"] * 50})
    found = check(tea(), tea().contract, raw)
    assert found.rejected is None
    features = tables.features_table(tea().contract, rows)
    shown = pa.table(
        {n: c.cast(pa.string()) if pa.types.is_dictionary(c.type) else c for n, c in named(found).items()}
    )
    assert shown.select(features.column_names).cast(features.schema) == features
    assert found.table.column_names == [*features.column_names, "brewed", "pot", "drunk", "Prediction_"]


def named(found: Checked) -> dict[str, Any]:
    return dict(zip(found.table.column_names, found.table.columns, strict=True))


def test_what_every_row_may_leave_out_may_be_no_column_at_all() -> None:
    found = check(tea(), tea().contract, raw_of({"leaf": ["assam", "sencha"], "id": [7, 8]}))
    assert found.table.column_names == ["leaf", "cup", "minutes", "warmth", "id"]
    assert found.table["warmth"].to_pylist() == [None, None]


def test_a_column_that_no_row_may_leave_out_is_asked_for() -> None:
    with pytest.raises(BadFile, match="columns are missing: leaf; found: cup, id") as refusal:
        check(tea(), tea().contract, raw_of({"cup": ["small"], "id": [7]}))
    assert refusal.value.code == "missing-columns"


def test_a_bad_row_is_set_aside_with_its_cells_and_no_spreadsheet_runs_it() -> None:
    found = of_file(
        b"leaf,minutes,note\nassam,5,fine\n=1+2,five,x\nassam,61,@cmd\n,3,\nassam,1,2,3\n+x,1,2,3\n", tea()
    )
    assert found.rows.tolist() == [1]
    assert [(r["row"], r["column"], r["reason"]) for r in found.rejected.to_pylist()] == [
        (2, "minutes", "not a number"),
        (3, "minutes", "above 60"),
        (4, "leaf", "missing"),
        (5, "", "4 columns instead of 3"),
        (6, "", "4 columns instead of 3"),
    ]
    assert json.loads(found.rejected["cells"][1].as_py()) == {"leaf": "assam", "minutes": "61", "note": "@cmd"}
    assert found.rejected["cells"][4].as_py() == "'+x,1,2,3"
    assert found.reasons == {
        "minutes: not a number": 1,
        "minutes: above 60": 1,
        "leaf: missing": 1,
        "4 columns instead of 3": 2,
    }


def test_texts_are_trimmed_and_words_for_a_missing_value_are_missing() -> None:
    found = of_file(b"leaf,cup,minutes\n assam ,NA,null\nassam, small,\nassam,large, 5 \n", tea())
    assert found.rejected is None
    assert found.table.to_pydict() | {"warmth": None} == {
        "leaf": ["assam"] * 3,
        "cup": [None, "small", "large"],
        "minutes": [None, None, 5.0],
        "warmth": None,
    }


@pytest.mark.parametrize(
    "kind", [pa.float32(), pa.int8(), pa.uint64(), pa.decimal128(10, 2), pa.bool_(), pa.string()]
)
def test_numbers_of_any_type_are_numbers(kind: Any) -> None:
    values = pa.array([1, 0, None], pa.int64()).cast(pa.int8()).cast(kind)
    for problem in (EXACT, COUNTED):
        found = check(problem, problem.contract, raw_of({"leaf": ["assam"] * 3, "minutes": values}))
        assert found.table["minutes"].to_pylist() == [1, 0, None]


def test_a_column_of_another_kind_altogether_refuses_the_file() -> None:
    for columns in ({"leaf": pa.array([[1]])}, {"leaf": ["a"], "minutes": pa.array([1], pa.timestamp("s"))}):
        with pytest.raises(BadFile, match="which is no"):
            check(EXACT, EXACT.contract, raw_of(columns))


@pytest.mark.parametrize("index", [pa.int8(), pa.uint32(), pa.int64()])
@pytest.mark.parametrize("value", [pa.string(), pa.large_string()])
def test_categories_are_coded_in_one_way_however_the_file_has_them(index: Any, value: Any) -> None:
    coded = pa.DictionaryArray.from_arrays(pa.array([0, 1, None], index), pa.array(["small", "large"], value))
    found = check(EXACT, EXACT.contract, raw_of({"leaf": ["assam"] * 3, "cup": coded}))
    assert found.table.schema.field("cup").type == pa.dictionary(pa.int32(), pa.string())
    assert found.table["cup"].to_pylist() == ["small", "large", None]


def test_large_whole_numbers_that_float64_cannot_hold_are_set_aside() -> None:
    loose = Number(name="minutes", integer=True)
    problem = msgspec.structs.replace(
        EXACT.contract, features=(EXACT.features[0], loose), derived=(), key=("leaf", "minutes")
    )
    raw = raw_of({"leaf": ["a"] * 4, "minutes": pa.array([2**53, 2**53 + 2, -(2**60), 1])})
    assert check(EXACT, problem, raw).rows.tolist() == [1, 4]


FLIGHTS = (
    b"carrier,origin,dest,distance,year,month,day,flight,sched_dep_time,ticket\n"
    b"UA,EWR,IAH,1400,2013,1,1,1545,515,a\n"
    b"UA,EWR,IAH,1400,2013,2,30,1545,515,b\n"
    b"UA,EWR,IAH,1400,2013,13,1,1545,515,c\n"
    b"AA,JFK,MIA,1089,2013,1,5,1141,1740,d\n"
)


def test_raw_columns_go_through_prepare_where_features_are_missing() -> None:
    found = of_file(FLIGHTS, flights)
    assert found.table.column_names[:6] == ["carrier", "origin", "dest", "weekday", "hour", "distance"]
    assert found.table["weekday"].to_pylist() == [1, 5]
    assert found.table["hour"].to_pylist() == [5, 17]
    assert found.table["ticket"].to_pylist() == ["a", "d"]
    assert [(r["row"], r["column"], r["reason"]) for r in found.rejected.to_pylist()] == [
        (2, "weekday", "missing"),
        (3, "month", "above 12"),
    ]


def test_a_raw_column_that_a_request_may_leave_out_may_be_left_out_too() -> None:
    lines = [line.split(b",") for line in FLIGHTS.splitlines()]
    found = of_file(b"\n".join(b",".join(cells[:3] + cells[4:]) for cells in lines), flights)
    assert found.table["hour"].to_pylist() == [5, 17]
    assert found.table["distance"].to_pylist() == [None, None]


def test_prepare_is_not_asked_where_a_raw_column_is_missing() -> None:
    with pytest.raises(BadFile, match=r"weekday, hour.*prepare cannot make them without year"):
        of_file(FLIGHTS.replace(b"year", b"jahr"), flights)


def test_another_problem_goes_through_prepare_as_its_uploads_do(penguins: list[Any]) -> None:
    found = of_file(penguins[0].read_bytes(), penguins_problem)
    assert found.table.num_rows == 110
    assert set(found.table["island"].to_pylist()) == {"Biscoe", "Dream", "Torgersen"}
    assert "Comments" in found.table.column_names


def test_a_csv_of_accepted_rows_is_all_good() -> None:
    rows = pots(200)
    found = of_file(csv_of(tea(), rows), tea())
    assert found.rejected is None
    kept = from_table(found.table.select(["minutes", "warmth"]))
    assert np.array_equal(kept["minutes"], rows["minutes"], equal_nan=True)


def test_rejected_rows_of_odd_types_are_told_too() -> None:
    raw = raw_of({"leaf": ["a", None], "when": pa.array([1, 2], pa.duration("s")), "raw": [b"\x00", b"\xff"]})
    assert check(EXACT, EXACT.contract, raw).rejected["row"].to_pylist() == [2]
    assert checks.renamed(["leaf_", "Leaf", "policy"], ["leaf"]) == {
        "leaf_": "leaf_",
        "Leaf": "Leaf__",
        "policy": "policy_",
    }
