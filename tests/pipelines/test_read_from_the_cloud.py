# SPDX-License-Identifier: Apache-2.0
"""Objects of a bucket are read in ranges, and what BigQuery holds as the same rows every time: on the emulators."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from google.cloud import bigquery

from beam_pipelines import sources
from beam_pipelines.sources import expand, gathered, opened, plan, staged
from dropfit import splits
from dropfit.contract import load_problem
from dropfit.errors import Conflict, NotFound, Refused
from dropfit.tables import TableColumn
from dropfit.warehouse import Warehouse

ROWS = 3000


def rows_of(house: Any, found: Any, target: int = splits.TARGET) -> list[dict[str, Any]]:
    """All rows of some sources, in order."""
    contract = load_problem(house.settings.problem).contract
    rows: list[dict[str, Any]] = []
    for split in plan(house.settings, found, target):
        with opened(house.settings, split) as stream:
            for raw in splits.read(stream, split, contract):
                rows += raw.table.to_pylist()
    return rows


def test_objects_are_read_in_ranges(house: Callable[..., Any]) -> None:
    there = house()
    text = "island,flipper_length_mm,id\n" + "".join(f'Dream,{n % 100 + 150},"{n}\n"\n' for n in range(ROWS))
    there.buckets.landing.put("in/a.csv", text.encode())
    there.buckets.landing.put("in/b.csv", text.encode())
    found = expand(there.settings, [there.buckets.landing.uri("in/*.csv")])
    assert len(plan(there.settings, found, 10_000)) > 10
    rows = rows_of(there, found, 10_000)
    assert [row["id"] for row in rows] == [f"{n}\n" for n in range(ROWS)] * 2
    assert rows == rows_of(there, found)


def test_a_table_and_a_query_are_laid_down_once(house: Callable[..., Any], monkeypatch: pytest.MonkeyPatch) -> None:
    there = house()
    table = pa.table(
        {
            "island": pa.array(["Dream", None] * (ROWS // 2)),
            "flipper_length_mm": pa.array(np.arange(ROWS)),
            "culmen_length_mm": pa.array(np.arange(ROWS) / 4),
            "found": pa.array(np.datetime64("2013-01-01", "us") + np.arange(ROWS), pa.timestamp("us", tz="UTC")),
        }
    )
    sink = pa.BufferOutputStream()
    pq.write_table(table, sink)
    there.buckets.data.put("t.parquet", sink.getvalue().to_pybytes())
    kinds = ("STRING", "INT64", "FLOAT64", "TIMESTAMP")
    columns = [TableColumn(name, kind) for name, kind in zip(table.column_names, kinds, strict=True)]
    warehouse = Warehouse(there.settings)
    warehouse.load("t", columns, [there.buckets.data.uri("t.parquet")], (), {})
    name = f"{there.settings.project}.{there.settings.dataset}.t"
    monkeypatch.setattr(sources, "ROWS", 1000)

    query = f"SELECT * FROM `{name}` WHERE flipper_length_mm < 0"
    inputs = [f"bq://{name}", query]
    found = staged(there.settings, inputs, "batch/x/input")
    assert len(found) == 4
    rows = rows_of(there, found)
    assert sorted(rows, key=lambda row: row["flipper_length_mm"]) == table.to_pylist()

    bigquery.Client(project=there.settings.project).delete_table(name)
    assert staged(there.settings, inputs, "batch/x/input") == found
    assert rows_of(there, found) == rows
    mixed = gathered(there.settings, [f"bq://{name}", there.buckets.data.uri("t.parquet"), query], "batch/x/input")
    assert mixed == [*expand(there.settings, [there.buckets.data.uri("t.parquet")]), *found]
    with pytest.raises(Conflict, match="name another output"):
        staged(there.settings, [query], "batch/x/input")
    with pytest.raises((NotFound, Refused)):
        staged(there.settings, [f"bq://{name}"], "batch/y/input")
    there.buckets.data.delete(found[1].uri.removeprefix(there.buckets.data.uri("")))
    with pytest.raises(NotFound, match="is gone, which held rows"):
        staged(there.settings, inputs, "batch/x/input")
