# SPDX-License-Identifier: Apache-2.0
"""The static-serving table's rows, and when it may be served."""

from __future__ import annotations

import collections
import datetime as dt
import io
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
from fakes import pots, tea
from hypothesis import given
from hypothesis import strategies as st

from dropfit import manifest, tables
from dropfit.contract import Label, Number
from dropfit.encoding import Encoder, learn, take
from dropfit.errors import Conflict
from dropfit.keys import joined
from dropfit.runtime import Scored
from dropfit.tables import TableFacts, Universe

AT = dt.datetime(2013, 2, 1, tzinfo=dt.UTC)
VERDICT = Label(name="verdict", values=("awful", "good"))


def whole(rows: Any, problem: Any = None) -> Universe:
    problem = problem or tea()
    return tables.key_universe(
        problem.contract, rows, Encoder(problem.contract, learn(problem, rows), problem.derive)
    )


def universe(rows: Any, problem: Any = None) -> dict[str, Any]:
    return dict(whole(rows, problem).features)


@given(st.integers(1, 40), st.integers(0, 5))
def test_the_table_has_each_key_of_the_data_once_and_knows_how_often_it_came(rows: int, seed: int) -> None:
    accepted = pots(rows, seed=seed)
    found = whole(accepted)
    keys = joined(found.features, tea().key)
    assert keys == list(found.counts)
    assert len(keys) == len(set(keys))
    assert found.counts == collections.Counter(joined(accepted, tea().key))


def brewed(leaf: list[str], warmth: list[float], **changes: Any) -> dict[str, Any]:
    """A row a leaf, all else alike."""
    rows = take(pots(len(leaf)), np.arange(len(leaf)))
    alike = {"cup": np.full(len(leaf), "small", dtype=object), "minutes": np.ones(len(leaf))}
    return {**rows, **alike, "leaf": np.array(leaf, dtype=object), "warmth": np.array(warmth), **changes}


def test_a_feature_outside_the_key_has_the_pinned_value_and_not_that_of_some_row() -> None:
    accepted = brewed(["assam", "assam", "sencha"], [60.0, np.nan, 70.0], minutes=np.array([1.0, 2.0, 3.0]))
    accepted["warmth"][0] = 61.0
    problem = tea()
    pinned = Encoder(problem.contract, learn(problem, brewed(["assam"], [80.0])), problem.derive)
    found = tables.key_universe(problem.contract, accepted, pinned).features
    by_minutes = dict(zip(found["minutes"].tolist(), found["warmth"].tolist(), strict=True))
    assert (by_minutes[1], by_minutes[2]) == (80.0, 80.0)
    assert np.isnan(by_minutes[3]), "nothing was pinned for sencha"


@given(st.integers(0, 5))
def test_a_row_of_the_table_is_what_a_request_gets_that_leaves_such_a_feature_out(seed: int) -> None:
    problem, accepted = tea(), pots(60, seed=seed)
    encoder = Encoder(problem.contract, learn(problem, accepted), problem.derive)
    found = tables.key_universe(problem.contract, accepted, encoder).features
    left_out = {**found, "warmth": np.full(len(found["leaf"]), np.nan)}
    assert np.array_equal(encoder.matrix(found), encoder.matrix(left_out), equal_nan=True)


def test_a_gap_in_a_key_stays_one_although_it_could_be_filled_in() -> None:
    problem = tea(key=("leaf", "warmth", "cup", "minutes"))
    found = whole(brewed(["assam", "assam"], [60.0, np.nan]), problem)
    assert list(found.counts.values()) == [1, 1]
    assert joined(found.features, problem.key) == list(found.counts)


def test_the_key_comes_first_and_then_the_other_features() -> None:
    problem = tea(key=("cup", "leaf", "minutes"))
    assert [c.name for c in tables.columns(problem.contract)] == [
        "cup",
        "leaf",
        "minutes",
        "warmth",
        "prediction",
        "policy",
        "model_version",
        "predicted_at",
    ]


def test_a_label_has_its_probabilities_beside_it() -> None:
    columns = {c.name: c for c in tables.columns(tea(target=VERDICT).contract)}
    assert columns["prediction"].kind == "STRING"
    assert columns["probabilities"].repeated
    assert [f.name for f in columns["probabilities"].fields] == ["label", "probability"]


KINDS = {"string": "STRING", "double": "FLOAT64", "int64": "INT64", "timestamp[us, tz=UTC]": "TIMESTAMP"}


@pytest.mark.parametrize("target", [None, VERDICT], ids=["probability", "label"])
def test_the_rows_have_the_columns_and_kinds_that_the_warehouse_is_told(target: Any) -> None:
    changes: dict[str, Any] = {"target": target} if target else {}
    whole = Number(name="minutes", integer=True, missing=True)
    features = tuple(whole if f.name == "minutes" else f for f in tea().features)
    contract = tea(features=features, **changes).contract
    found = universe(pots(50), tea(features=features))
    count = len(found["leaf"])
    values = np.array(["good"] * count, dtype=object) if target else np.linspace(0, 1, count)
    shares = np.tile([0.25, 0.75], (count, 1)) if target else None
    scored = Scored(values, shares, [("minimum", "maximum")] + [()] * (count - 1))
    made = tables.rows_table(contract, tables.features_table(contract, found), scored, ("awful", "good"), "v1", AT)
    table = pq.read_table(io.BytesIO(tables.as_parquet(made)))
    told = tables.columns(contract)
    assert table.column_names == [c.name for c in told]
    for column in told:
        if not column.fields:
            assert KINDS[str(table.schema.field(column.name).type)] == column.kind
    rows = table.to_pylist()
    assert rows[0]["policy"] == "minimum,maximum"
    assert rows[1]["policy"] == ""
    assert {r["model_version"] for r in rows} == {"v1"}
    assert {r["predicted_at"] for r in rows} == {AT}
    if target:
        assert rows[0]["probabilities"] == [
            {"label": "awful", "probability": 0.25},
            {"label": "good", "probability": 0.75},
        ]


@pytest.mark.parametrize("target", [None, VERDICT], ids=["probability", "label"])
def test_an_abstention_is_null_in_the_table_and_the_policy_says_why(target: Any) -> None:
    contract = tea(**({"target": target} if target else {})).contract
    features = tables.features_table(contract, take(universe(pots(50)), np.arange(2)))
    values = np.array([None, "good" if target else 0.5], dtype=object)
    shares = np.array([[0.0, 0.0], [0.25, 0.75]]) if target else None
    scored = Scored(values, shares, [("rule", "denied"), ()])
    rows = tables.rows_table(contract, features, scored, ("awful", "good"), "v1", AT).to_pylist()
    assert [(row["prediction"], row["policy"]) for row in rows] == [(None, "rule,denied"), (values[1], "")]
    if target:
        assert rows[0]["probabilities"] == []


def test_missing_features_are_null_in_the_table_and_not_nan() -> None:
    found = universe(pots(50))
    found["minutes"][0] = np.nan
    table = tables.features_table(tea().contract, found)
    assert table.column("minutes").null_count == int(np.isnan(found["minutes"]).sum())
    assert table.column("cup").null_count == sum(v is None for v in found["cup"])


def test_a_versions_table_has_a_name_that_bigquery_takes_and_no_other_version_shares() -> None:
    assert manifest.table_name("20130201T000000-0a1b2c3d") == "predictions__20130201T000000_0a1b2c3d"


def test_a_table_that_holds_every_key_once_may_be_served() -> None:
    tables.verify("t", TableFacts(7, 7, 0, 0), 7)


@pytest.mark.parametrize(
    "facts",
    [
        TableFacts(6, 6, 0, 0),
        TableFacts(8, 7, 0, 0),
        TableFacts(7, 6, 0, 0),
        TableFacts(7, 7, 1, 0),
        TableFacts(7, 7, 0, 1),
    ],
    ids=["a row lost", "a row twice", "a key twice", "no prediction", "another version's"],
)
def test_a_table_that_holds_anything_else_is_refused_with_what_it_holds(facts: TableFacts) -> None:
    with pytest.raises(Conflict, match=rf"t is not what was loaded: {facts.rows} rows.*it is not served"):
        tables.verify("t", facts, 7)
