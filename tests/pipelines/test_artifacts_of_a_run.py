# SPDX-License-Identifier: Apache-2.0
"""What a run leaves with a version: exactly what it was trained on, and a model that whoever serves it can open."""

from __future__ import annotations

import importlib.metadata
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from penguins import FEATURES

from dropfit import artifacts, overview, version
from dropfit.encoding import sha256
from dropfit.receipts import accepted_name
from dropfit.reproduce import reproduce
from dropfit.warehouse import Warehouse

Make = Callable[..., Any]


def test_a_manifest_says_exactly_what_the_version_was_trained_on(house: Make, penguins: list[Path]) -> None:
    there = house()
    receipts = [there.upload(f"{season}.csv", penguins[season]) for season in (0, 1)]
    broken = there.upload("broken.csv", b"a,b\n1,2\n")
    there.work()
    manifest = there.registry.manifest(there.registry.current().pointer.version)
    problem, data = there.services.problem, there.buckets.data

    assert [(i.object, i.generation, i.receipt) for i in manifest.inputs] == [
        (r.object.name, r.object.generation, r.id) for r in receipts
    ]
    for used in manifest.inputs:
        assert sha256(data.read(accepted_name(used.receipt, used.sha256))) == used.sha256
        assert used.crc32c == there.buckets.landing.stat(used.object).crc32c != ""
    assert sum(i.rows for i in manifest.inputs) == manifest.rows + manifest.duplicates
    assert (manifest.window.setting, manifest.window.chosen, manifest.window.left_out) == (0, 2, {})
    assert manifest.seed == problem.seed
    assert manifest.code == problem.code_sha256
    assert set(manifest.code) == {"contract", "ingest", "derive", "estimator"}
    assert manifest.libraries["scikit-learn"] == importlib.metadata.version("scikit-learn")
    assert {"python", "onnxruntime", "numpy", "skops"} <= set(manifest.libraries)
    assert there.outcome(broken).state == "quarantined"


@pytest.mark.verify
def test_what_the_window_left_out_stands_in_the_manifest_with_its_reason(house: Make, penguins: list[Path]) -> None:
    there = house()
    there.upload("old.csv", penguins[0])
    there.work()
    there.buckets.landing.delete("old.csv")
    fewer = FEATURES[:-1]
    there.change(features=fewer, key=tuple(feature.name for feature in fewer))
    there.upload("new.csv", penguins[1])
    there.work()
    manifest = there.registry.manifest(there.registry.current().pointer.version)
    assert [i.object for i in manifest.inputs] == ["new.csv"]
    assert set(manifest.window.left_out) == {"old.csv"}


def test_a_manifest_is_sealed_in_storage_and_its_files_lie_beside_it(house: Make, penguins: list[Path]) -> None:
    there = house()
    there.upload("a.csv", penguins[0])
    there.work()
    name = there.registry.current().pointer.version
    stored = there.buckets.models.stat(f"versions/{name}/manifest.json")
    assert stored.metadata[artifacts.SEAL] == sha256(there.buckets.models.read(stored.name))
    assert there.registry.seal(name) == stored.metadata[artifacts.SEAL]
    manifest = there.registry.manifest(name)
    assert manifest.probe is not None
    for artifact in manifest.artifacts:
        assert sha256(there.registry.read_artifact(artifact)) == artifact.sha256
        assert artifact.sha256[:16] in artifact.name


def vote(inputs: Any) -> Any:
    """A good estimator that has no ONNX form."""
    from sklearn.ensemble import VotingClassifier
    from sklearn.impute import SimpleImputer
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    members = [("mild", LogisticRegression(C=1.0)), ("strict", LogisticRegression(C=0.1))]
    return make_pipeline(SimpleImputer(), StandardScaler(), VotingClassifier(members, voting="soft"))


def test_an_estimator_without_faithful_onnx_is_served_by_scikit_learn_and_says_so(
    house: Make, penguins: list[Path]
) -> None:
    there = house()
    there.change(estimator=vote)
    receipt = there.upload("a.csv", penguins[0])
    there.work()
    assert there.outcome(receipt).state == "promoted", there.outcome(receipt).reason
    served = overview.served(there.registry)
    assert served["runtime"] == "skops"
    assert "no ONNX form" in served["runtime_reason"]
    loaded = version.load(there.registry, there.services.problem, served["version"])
    warehouse = Warehouse(there.settings)
    found = [dict(r.items()) for r in warehouse.query(f"SELECT * FROM `{warehouse.name(served['table'])}`", {})]
    assert len(found) > 100
    features = {
        f.name: np.array([row[f.name] for row in found], dtype=object if f in FEATURES[:2] else np.float64)
        for f in loaded.manifest.contract.features
    }
    assert loaded.scorer.score(features).values.tolist() == [row["prediction"] for row in found]


def test_a_version_of_a_real_run_is_reproduced_to_the_last_bit(house: Make, penguins: list[Path]) -> None:
    there = house()
    for season in (0, 1):
        there.upload(f"{season}.csv", penguins[season])
    there.work()
    name = there.registry.current().pointer.version
    found = reproduce(there.registry, there.buckets.data, there.services.problem, name)
    assert (found.same, found.same_file, found.differences) == (True, True, ())
    assert found.compared == found.rows == there.registry.manifest(name).rows
