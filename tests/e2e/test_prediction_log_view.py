# SPDX-License-Identifier: Apache-2.0
"""A request over HTTP, and seconds later its instances and predictions in BigQuery."""

from __future__ import annotations

import json
import secrets
import time
from typing import Any

import httpx

from dropfit import population, settings
from dropfit.contract import load_problem
from dropfit.receipts import Receipt
from dropfit.warehouse import Warehouse

INSTANCES = [
    {"carrier": "UA", "origin": "EWR", "dest": "IAH", "weekday": 4, "hour": 17},
    {"carrier": "DL", "origin": "JFK", "dest": "ATL", "weekday": 1, "hour": 6},
]


def rows_of(trace: str, dataset: str, seconds: float = 120.0) -> list[dict[str, Any]]:
    """The rows of the view with that trace, once there are any."""
    from google.cloud import bigquery

    client, deadline = bigquery.Client(), time.monotonic() + seconds
    config = bigquery.QueryJobConfig(query_parameters=[bigquery.ScalarQueryParameter("trace", "STRING", trace)])
    sql = f"SELECT * FROM `{dataset}.prediction_log` WHERE trace = @trace ORDER BY row_in_request"
    while not (rows := [dict(row.items()) for row in client.query(sql, job_config=config).result()]):
        assert time.monotonic() < deadline, "no row in time"
        time.sleep(0.2)
    return rows


def test_what_was_asked_and_answered_is_a_row_per_instance_in_the_view(
    january: Receipt, cloud_environment: dict[str, str]
) -> None:
    config, trace = settings.load(), secrets.token_hex(16)
    reply = httpx.post(
        f"{config.predict_url}/predict",
        json={"instances": INSTANCES},
        headers={"traceparent": f"00-{trace}-{'ab' * 8}-01"},
        timeout=300,
    ).json()
    rows = rows_of(f"projects/{config.project}/traces/{trace}", config.dataset)
    assert [row["row_in_request"] for row in rows] == [0, 1]
    assert [_decoded(row["instance"]) for row in rows] == INSTANCES
    assert [float(row["value"]) for row in rows] == [prediction["value"] for prediction in reply["predictions"]]
    assert [row["source"] for row in rows] == [prediction["source"] for prediction in reply["predictions"]]
    assert [row["steps"] or [] for row in rows] == [p.get("steps", []) for p in reply["predictions"]]
    assert [row["policy"] for row in rows] == [prediction["policy"] for prediction in reply["predictions"]]
    for row in rows:
        assert row["model_version"] == reply["model_version"]
        assert row["span_id"] == "ab" * 8
        assert (row["status"], row["mode"], row["log_share"]) == (200, config.mode, 1.0)
        assert 0 < row["latency_ms"] < 60_000


def test_the_keys_that_were_asked_for_can_be_the_tables(january: Receipt, cloud_environment: dict[str, str]) -> None:
    config, trace = settings.load(), secrets.token_hex(16)
    given = [INSTANCES[0] | {"dest": "NEW"}, INSTANCES[0] | {"dest": "NEW", "distance": 1400}, INSTANCES[1]]
    httpx.post(
        f"{config.predict_url}/predict",
        json={"instances": given},
        headers={"traceparent": f"00-{trace}-{'ab' * 8}-01"},
        timeout=300,
    ).raise_for_status()
    rows_of(f"projects/{config.project}/traces/{trace}", config.dataset)
    contract = load_problem(config.problem).contract
    found = population.asked(contract, Warehouse(config), 1)
    counts = dict(zip(found.axes.texts(found.numbers), found.counts.tolist(), strict=True))
    assert counts["UA\tEWR\tNEW\t4\t17"] == 2
    assert counts["DL\tJFK\tATL\t1\t6"] >= 1
    assert found.total == sum(counts.values())


def _decoded(value: Any) -> Any:
    return json.loads(value) if isinstance(value, str) else value
