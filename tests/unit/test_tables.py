# SPDX-License-Identifier: Apache-2.0
"""The static-serving table's rows, and when it may be served."""

from __future__ import annotations

import datetime as dt
import io
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
from fakes import pots, tea, universe_of

from dropfit import manifest, tables
from dropfit.contract import Label, Number
from dropfit.encoding import Encoder, learn, take
from dropfit.errors import Conflict
from dropfit.runtime import Scored
from dropfit.tables import TableFacts

AT = dt.datetime(2013, 2, 1, tzinfo=dt.UTC)
VERDICT = Label(name="verdict", values=("awful", "good"))


def universe(rows: Any, problem: Any = None) -> dict[str, Any]:
    problem = problem or tea()
    encoder = Encoder(problem.contract, learn(problem, rows), problem.derive)
    return universe_of(problem.contract, rows, encoder)[1]


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
