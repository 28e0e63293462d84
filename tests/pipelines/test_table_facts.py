# SPDX-License-Identifier: Apache-2.0
"""What BigQuery says of a loaded table decides whether it is served: in the emulator's SQL."""

from __future__ import annotations

import io
from collections.abc import Callable
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from dropfit.tables import TableColumn, TableFacts
from dropfit.warehouse import Warehouse

COLUMNS = (
    TableColumn("pot", "INT64"),
    TableColumn("prediction", "STRING"),
    TableColumn("policy", "STRING"),
    TableColumn("model_version", "STRING"),
)
ABSTAINED = ("confidence", "rule,confidence", "beyond:pot", "a,denied,beyond:pot", "denied")
ANSWERED = ("", "minimum", "confidence,fallback", "beyond:pot,fallback", "no_confidence", "confidence_rule")


@pytest.mark.parametrize("right", [True, False], ids=["as the policy says", "the other way round"])
def test_a_prediction_is_missing_exactly_where_the_policy_abstained(house: Callable[..., Any], right: bool) -> None:
    there = house()
    policies = [*ABSTAINED, *ANSWERED]
    values = [None if (policy in ABSTAINED) is right else "good" for policy in policies]
    count = len(policies)
    sink = io.BytesIO()
    rows = {"pot": list(range(count)), "prediction": pa.array(values, pa.string()), "policy": policies}
    pq.write_table(pa.table({**rows, "model_version": ["v"] * count}), sink)
    there.buckets.data.put("facts.parquet", sink.getvalue())
    warehouse = Warehouse(there.settings)
    warehouse.load("facts", COLUMNS, [there.buckets.data.uri("facts.parquet")], ("pot",), {})
    assert warehouse.facts("facts", ("pot",), "v") == TableFacts(count, count, 0 if right else count, 0)
