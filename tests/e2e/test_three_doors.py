# SPDX-License-Identifier: Apache-2.0
"""One prediction, whatever the door: HTTP in each mode, the BigQuery table, the fitted scikit-learn estimator."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import functions_framework.aio
import httpx
import numpy as np
import pytest
from starlette.testclient import TestClient

from beam_pipelines import intake
from dropfit import settings, storage
from dropfit.contract import load_problem
from dropfit.encoding import Encoder
from dropfit.receipts import Receipt, Receipts
from dropfit.registry import Registry
from dropfit.training import raw_output, train

SOURCE = Path(__file__).parents[2] / "functions" / "predict.py"
KEYS = 1000
TOLERANCE = 1e-5
DIFFERING = 1e-3


def sampled_rows(dataset: str) -> list[dict[str, Any]]:
    from google.cloud import bigquery

    rows = [dict(row.items()) for row in bigquery.Client().query(f"SELECT * FROM `{dataset}.predictions`").result()]
    chosen = np.random.default_rng(7).choice(len(rows), KEYS, replace=False)
    return [rows[position] for position in chosen]


def test_a_thousand_keys_have_one_prediction_through_three_doors(
    january: Receipt, cloud_environment: dict[str, str]
) -> None:
    config = settings.load()
    problem, buckets = load_problem(config.problem), storage.connect(config)
    services = intake.Services(config, problem, buckets, Receipts(buckets.data), Registry(buckets.models))
    served = services.registry.current().pointer
    assert served is not None
    manifest = services.registry.manifest(served.version)
    rows = sampled_rows(config.dataset)
    assert {row["model_version"] for row in rows} == {served.version}
    table = np.array([row["prediction"] for row in rows])

    names = [feature.name for feature in manifest.contract.features]
    instances = [{name: row[name] for name in names} for row in rows]
    reply = httpx.post(f"{config.predict_url}/predict", json={"instances": instances}, timeout=300).json()
    assert reply["model_version"] == served.version
    http = np.array([prediction["value"] for prediction in reply["predictions"]])

    inputs = [services.receipts.get(i.receipt) for i in manifest.inputs]
    trained = train(services.problem, intake.accepted_rows(services, inputs)[0])
    columns = {
        feature.name: np.array(
            [row[feature.name] for row in rows], dtype=object if isinstance(rows[0][feature.name], str) else float
        )
        for feature in manifest.contract.features
    }
    matrix = Encoder(problem, trained.encoding, problem.derive).matrix(columns)
    fitted = raw_output(trained.estimator, matrix, trained.width)[:, 1]

    np.testing.assert_allclose(http, table, rtol=TOLERANCE)
    differing = (np.abs(http - fitted) > TOLERANCE * fitted).mean()
    print(f"{differing:.2%} of {KEYS:,} keys differ from scikit-learn by more than {TOLERANCE} relative")
    assert differing < DIFFERING
    assert len(np.unique(table)) > 100


@contextmanager
def served(mode: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[TestClient]:
    """The predict function of the session's cloud once more, in another mode."""
    monkeypatch.setenv("DROPFIT_MODE", mode)
    monkeypatch.setenv("DROPFIT_DEADLINE_MS", "60000")  # which source answers is asked here, not how soon
    monkeypatch.setenv("DROPFIT_LOG_SHARE", "0")  # this process's standard output is pytest's
    with TestClient(functions_framework.aio.create_asgi_app("predict", str(SOURCE), "http")) as client:
        yield client


def test_every_source_and_the_table_in_bigquery_say_the_same_of_a_thousand_keys(
    january: Receipt, cloud_environment: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = sampled_rows(settings.load().dataset)
    contract = load_problem(settings.load().problem).contract
    keys = [{name: row[name] for name in contract.key} for row in rows]
    said: dict[str, list[dict[str, Any]]] = {}
    for mode in ("static", "dynamic", "hybrid"):
        with served(mode, monkeypatch) as door:
            reply = door.post("/predict", json={"instances": keys}).json()
            assert {row["model_version"] for row in rows} == {reply["model_version"]}
            said[mode] = reply["predictions"]
    assert {mode: {p["source"] for p in answers} for mode, answers in said.items()} == {
        "static": {"table"},
        "dynamic": {"model"},
        "hybrid": {"table"},
    }
    table = [row["prediction"] for row in rows]
    for answers in said.values():
        np.testing.assert_allclose([p["value"] for p in answers], table, rtol=TOLERANCE)
    assert [p["value"] for p in said["static"]] == table


def test_a_request_whose_other_features_differ_from_the_tables_row_does_not_hit(
    january: Receipt, cloud_environment: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = sampled_rows(settings.load().dataset)[:200]
    contract = load_problem(settings.load().problem).contract
    names = [feature.name for feature in contract.features]
    (other,) = [name for name in names if name not in contract.key]
    same = [{name: row[name] for name in names} for row in rows]
    differing = [instance | {other: instance[other] + 200} for instance in same]
    with served("hybrid", monkeypatch) as door:
        hits = door.post("/predict", json={"instances": same}).json()["predictions"]
        misses = door.post("/predict", json={"instances": differing}).json()["predictions"]
    with served("dynamic", monkeypatch) as door:
        alone = door.post("/predict", json={"instances": differing}).json()["predictions"]
    assert {p["source"] for p in hits} == {"table"}
    assert {p["source"] for p in misses} == {"model"}
    assert [p["value"] for p in misses] == [p["value"] for p in alone]
    assert [p["value"] for p in hits] == [row["prediction"] for row in rows]
    assert any(hit["value"] != miss["value"] for hit, miss in zip(hits, misses, strict=True))


def test_a_request_without_what_the_key_determines_gets_the_same_prediction(
    january: Receipt, cloud_environment: dict[str, str]
) -> None:
    config = settings.load()
    row = sampled_rows(config.dataset)[0]
    instance = {name: row[name] for name in ("carrier", "origin", "dest", "weekday", "hour")}
    url = f"{config.predict_url}/predict"
    replies = [
        httpx.post(url, json={"instances": [given]}, timeout=300).json()
        for given in (instance, instance | {"distance": row["distance"]})
    ]
    values = [reply["predictions"][0]["value"] for reply in replies]
    assert values[0] == values[1]
    np.testing.assert_allclose(values[0], row["prediction"], rtol=TOLERANCE)
