# SPDX-License-Identifier: Apache-2.0
"""The predict function, through functions-framework's async door and against the storage emulator."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import functions_framework.aio
import numpy as np
import pytest
from starlette.testclient import TestClient

from beam_pipelines import retrain
from beam_pipelines.intake import Services
from dropfit import storage, version
from dropfit.contract import load_problem
from dropfit.receipts import Receipts, UploadedObject
from dropfit.registry import Registry
from dropfit.settings import Settings

SOURCE = Path(__file__).parents[2] / "functions" / "predict.py"
ADELIE = {
    "island": "Torgersen",
    "sex": "MALE",
    "culmen_length_mm": 39.1,
    "culmen_depth_mm": 18.7,
    "flipper_length_mm": 181,
    "body_mass_g": 3750,
}


@pytest.fixture
def settings(deployment: Callable[..., Settings]) -> Settings:
    # No prediction log: this process's standard output is pytest's.
    return deployment(DROPFIT_PROBLEM="penguins:problem", DROPFIT_MAX_REQUEST_BYTES="100000", DROPFIT_LOG_SHARE="0")


@pytest.fixture
def door(settings: Settings) -> Iterator[TestClient]:
    # As a context: one event loop for all requests, as in a server; else a look at the pointer dies with its request.
    with TestClient(functions_framework.aio.create_asgi_app("predict", str(SOURCE), "http")) as client:
        yield client


@pytest.fixture
def trained(settings: Settings, penguins: list[Path]) -> Registry:
    """A served version in the deployment."""
    buckets = storage.connect(settings)
    receipts, registry = Receipts(buckets.data), Registry(buckets.models)
    stored = buckets.landing.put("a.csv", penguins[0].read_bytes())
    receipts.register(UploadedObject(stored.bucket, stored.name, stored.generation))
    retrain.work(Services(settings, load_problem(settings.problem), buckets, receipts, registry), "test")
    return registry


def test_before_the_first_model_the_answer_says_what_to_do(door: TestClient) -> None:
    reply = door.post("/predict", json={"instances": [ADELIE]})
    assert (reply.status_code, reply.headers["retry-after"]) == (503, "5")
    assert reply.headers["content-type"] == "application/problem+json"
    assert "upload a data file" in reply.json()["detail"]
    assert door.get("/health").status_code == 200


def test_a_prediction_is_the_versions_own(door: TestClient, trained: Registry, settings: Settings) -> None:
    served = trained.current().pointer.version
    reply = door.post("/predict", json={"instances": [ADELIE, ADELIE | {"island": "Biscoe", "body_mass_g": 5400}]})
    assert reply.status_code == 200
    document = reply.json()
    assert document["model_version"] == served
    first = document["predictions"][0]
    assert (first["value"], first["source"], first["policy"]) == ("Adelie", "table", [])
    columns = {
        name: np.array([value], dtype=object if isinstance(value, str) else float) for name, value in ADELIE.items()
    }
    scored = version.load(trained, load_problem(settings.problem), served).scorer.score(columns)
    assert list(first["probabilities"].values()) == pytest.approx(scored.probabilities[0].tolist(), rel=1e-6)


def test_what_the_contract_allows_to_be_missing_may_be_missing(door: TestClient, trained: Registry) -> None:
    assert door.post("/predict", json={"instances": [{"island": "Dream"}]}).status_code == 200
    assert door.post("/predict", json={"instances": [ADELIE | {"sex": None}]}).status_code == 200


def test_the_model_says_what_it_is(door: TestClient, trained: Registry) -> None:
    card = door.get("/model").json()
    assert card["version"] == trained.current().pointer.version
    assert set(card["metrics"]) == {"log_loss", "accuracy"}
    assert [f["name"] for f in card["features"]] == list(ADELIE)
    assert card["features"][0]["values"] == ["Biscoe", "Dream", "Torgersen"]


def test_every_bad_field_is_named(door: TestClient, trained: Registry) -> None:
    bad = ADELIE | {"island": "Atlantis", "culmen_length_mm": "39", "body_mass_g": 1, "wings": 2}
    reply = door.post("/predict", json={"instances": [ADELIE, bad, {}]})
    assert reply.status_code == 400
    assert {e["field"] for e in reply.json()["errors"]} == {
        "instances[1].island",
        "instances[1].culmen_length_mm",
        "instances[1].body_mass_g",
        "instances[1].wings",
        "instances[2].island",
    }


RUBBISH = {
    "empty": b"",
    "half": b'{"instances": [',
    "text": b"hello",
    "binary": bytes(range(256)),
    "list": b"[]",
    "no instances": b"{}",
    "an instance is a number": b'{"instances": [7]}',
    "none": b'{"instances": []}',
    "deep": b"[" * 50_000,
    "NaN": b'{"instances": [{"island": "Dream", "body_mass_g": NaN}]}',
    "huge number": b'{"instances": [{"island": "Dream", "culmen_length_mm": 1e999}]}',
}


def test_rubbish_is_refused_with_a_reason(door: TestClient, trained: Registry) -> None:
    for what, body in RUBBISH.items():
        reply = door.post("/predict", content=body, headers={"content-type": "application/json"})
        assert reply.status_code == 400, what
        assert reply.headers["content-type"] == "application/problem+json", what
        assert json.loads(reply.content)["detail"], what


def test_too_much_is_refused(door: TestClient, trained: Registry) -> None:
    assert door.post("/predict", content=b" " * 100_001).status_code == 413
    assert door.post("/predict", json={"instances": [{"island": "Dream"}] * 1001}).status_code == 413


def test_other_paths_and_methods_are_told_what_there_is(door: TestClient, trained: Registry) -> None:
    assert door.get("/predict").status_code == 405
    assert door.get("/predict").headers["allow"] == "POST"
    assert door.post("/model").status_code == 405
    assert "/predict" in door.get("/etc/passwd").json()["detail"]
    wrong = door.post("/predict", content=b"a=1", headers={"content-type": "application/x-www-form-urlencoded"})
    assert wrong.status_code == 415


def test_a_broken_version_leaves_the_loaded_one_serving(
    door: TestClient, trained: Registry, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert door.get("/model").status_code == 200
    models = storage.connect(settings).models
    before = trained.current()
    manifest: Any = trained.manifest(before.pointer.version)
    models.put(manifest.model.name, b"\x00" * manifest.model.size)
    trained.promote(before.pointer.version, before.pointer.table, before)
    assert door.post("/predict", json={"instances": [ADELIE]}).status_code == 200
    fresh = TestClient(functions_framework.aio.create_asgi_app("predict", str(SOURCE), "http"))
    refused = fresh.post("/predict", json={"instances": [ADELIE]})
    assert refused.status_code == 503
    assert "does not hash" in refused.json()["detail"]


def test_why_no_newer_version_is_served_stands_in_the_model_card(
    door: TestClient, trained: Registry, settings: Settings
) -> None:
    assert door.get("/model").json()["trouble"] is None
    before = trained.current()
    trained.promote("20990101T000000-deadbeef", before.pointer.table, before)
    deadline = time.monotonic() + 60
    while door.get("/model").json()["trouble"] is None and time.monotonic() < deadline:
        time.sleep(0.05)
    card = door.get("/model").json()
    assert card["version"] == before.pointer.version
    assert "20990101T000000-deadbeef" in card["trouble"]
