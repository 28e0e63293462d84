# SPDX-License-Identifier: Apache-2.0
"""A version is loaded whole and checked, or refused."""

from __future__ import annotations

from typing import Any

import msgspec
import numpy as np
import pytest
from fakes import Shelf, tea

from dropfit import training, version
from dropfit.contract import Columns, Policy
from dropfit.encoding import Encoder, take
from dropfit.errors import ArtifactError, ContractError, NotFound
from dropfit.registry import Registry
from dropfit.runtime import Scorer


def other_derive(features: Columns) -> Columns:
    return {"strength": features["minutes"] + features["warmth"]}


def test_a_loaded_version_predicts_what_the_fitted_estimator_predicts(shelf: Shelf) -> None:
    loaded = version.load(shelf.registry(), shelf.problem, "v1")
    scored = loaded.scorer.score(shelf.rows)
    encoder = Encoder(shelf.problem, shelf.trained.encoding, shelf.problem.derive)
    expected = training.raw_output(shelf.trained.estimator, encoder.matrix(shelf.rows), 2)[:, 1]
    np.testing.assert_allclose(scored.values, expected, atol=1e-5)
    assert scored.probabilities is None


def test_one_row_is_predicted_as_it_is_in_its_batch(shelf: Shelf) -> None:
    scorer = version.load(shelf.registry(), shelf.problem, "v1").scorer
    whole = scorer.score(shelf.rows).values
    for row in range(0, 300, 25):
        assert scorer.score(take(shelf.rows, np.array([row]))).values.tolist() == [whole[row]]


def test_the_versions_own_policy_is_applied_and_not_the_deployed_one(shelf: Shelf) -> None:
    deployed = tea(policy=Policy(minimum=0.99))
    assert version.load(shelf.registry(), deployed, "v1").scorer.score(shelf.rows).values.min() < 0.99


def test_the_scorer_names_the_policys_rules_that_fired(shelf: Shelf) -> None:
    loaded = version.load(shelf.registry(), shelf.problem, "v1").scorer
    strict = msgspec.structs.replace(loaded.contract, policy=Policy(minimum=0.5))
    scorer = Scorer(strict, loaded.encoder, loaded._model, ())
    free, bound = loaded.score(shelf.rows), scorer.score(shelf.rows)
    assert bound.values.min() == 0.5
    assert [f == ("minimum",) for f in bound.fired] == (free.values < 0.5).tolist()


def test_a_version_trained_with_another_derive_function_is_refused_with_both_named(shelf: Shelf) -> None:
    deployed = tea(derive=other_derive)
    with pytest.raises(ArtifactError) as refused:
        version.load(shelf.registry(), deployed, "v1")
    assert shelf.problem.derive_sha256[:12] in str(refused.value)
    assert deployed.derive_sha256[:12] in str(refused.value)


def test_a_version_that_does_not_exist_is_not_found(shelf: Shelf) -> None:
    with pytest.raises(NotFound):
        version.load(shelf.registry(), shelf.problem, "v2")


@pytest.mark.parametrize("artifact", ["model", "encoding"])
@pytest.mark.parametrize("damage", ["flipped", "truncated", "gone", "pickled"])
def test_a_damaged_version_is_refused(shelf: Shelf, artifact: str, damage: str) -> None:
    bucket: Any = shelf.bucket.copy()
    name = getattr(shelf.manifest, artifact).name
    payload = bytearray(bucket.read(name))
    if damage == "flipped":
        payload[len(payload) // 2] ^= 1
    elif damage == "truncated":
        payload = payload[:-1]
    elif damage == "pickled":
        payload[:3] = b"\x80\x04\x95"
    bucket.delete(name) if damage == "gone" else bucket.put(name, bytes(payload))
    with pytest.raises(ArtifactError):
        version.load(Registry(bucket), shelf.problem, "v1")


def test_a_tampered_contract_is_refused(shelf: Shelf) -> None:
    bucket: Any = shelf.bucket.copy()
    name = "versions/v1/manifest.json"
    bucket.put(name, bucket.read(name).replace(b'"minutes"', b'"minutes; DROP"'))
    with pytest.raises(ContractError, match="DROP"):
        version.load(Registry(bucket), shelf.problem, "v1")
