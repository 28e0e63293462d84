# SPDX-License-Identifier: Apache-2.0
"""It is a template: another problem, named by one setting, goes the same way from upload to prediction."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from localcloud.cloud import LocalCloud

GENTOO = {
    "island": "Biscoe",
    "sex": "FEMALE",
    "culmen_length_mm": 46.1,
    "culmen_depth_mm": 13.2,
    "flipper_length_mm": 211,
    "body_mass_g": 4500,
}


@pytest.fixture(scope="module")
def penguin_cloud(tmp_path_factory: pytest.TempPathFactory, clean: dict[str, str]) -> Iterator[LocalCloud]:
    home = tmp_path_factory.mktemp("penguin cloud")
    environ = clean | {"DROPFIT_PROBLEM": "penguins:problem", "DROPFIT_TRAINING": "static"}
    with LocalCloud(home, environ=environ) as running:
        yield running


@pytest.mark.verify
def test_penguins_go_from_upload_to_prediction_and_train_only_when_told(
    penguin_cloud: LocalCloud, penguins: list[Path], dropfit: Callable[..., Any]
) -> None:
    home = penguin_cloud.home.root
    url = penguin_cloud.env["DROPFIT_PREDICT_URL"]
    told = dropfit("upload", "--wait", *map(str, penguins[:2]), home=home)
    assert told.returncode == 0, told.stdout + told.stderr
    status = json.loads(dropfit("status", "--json", home=home).stdout)
    assert [u["state"] for u in status["uploads"]] == ["recorded", "recorded"]
    assert status["served"] is None
    assert httpx.get(f"{url}/model", timeout=60).status_code == 503

    trained = dropfit("train", "--wait", home=home)
    assert trained.returncode == 0, trained.stdout + trained.stderr
    assert "promoted" in trained.stdout
    reply = json.loads(dropfit("predict", json.dumps(GENTOO), home=home).stdout)
    (prediction,) = reply["predictions"]
    assert prediction["value"] == "Gentoo"
    assert sum(prediction["probabilities"].values()) == pytest.approx(1, abs=1e-5)
    assert httpx.get(f"{url}/model", timeout=60).json()["problem"] == "penguins"

    wrong = dropfit("predict", json.dumps(GENTOO | {"island": "Atlantis"}), home=home)
    assert wrong.returncode == 1
    assert "instances[0].island" in wrong.stderr

    one = dropfit("train", "--wait", penguins[1].name, home=home)
    assert one.returncode == 0, one.stdout + one.stderr
    newest, older = json.loads(dropfit("versions", "--json", home=home).stdout)
    assert {len(newest["uploads"]), len(older["uploads"])} == {1, 2}
