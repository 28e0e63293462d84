# SPDX-License-Identifier: Apache-2.0
"""A version is loaded whole and checked, or refused."""

from __future__ import annotations

import importlib.metadata
from typing import Any

import msgspec
import numpy as np
import pytest
from fakes import Shelf, shelve, tea

from dropfit import libraries, probe, skops_model, training, version
from dropfit.contract import Columns, Deny, Policy, Probability
from dropfit.encoding import Encoder, take
from dropfit.errors import ArtifactError, NotFound
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
    scorer = Scorer(strict, loaded.encoder, loaded.model, ())
    free, bound = loaded.score(shelf.rows), scorer.score(shelf.rows)
    assert bound.values.min() == 0.5
    assert [f == ("minimum",) for f in bound.fired] == (free.values < 0.5).tolist()


def test_the_scorer_abstains_beyond_what_the_version_was_trained_on(shelf: Shelf) -> None:
    loaded = version.load(shelf.registry(), shelf.problem, "v1").scorer
    careful = msgspec.structs.replace(loaded.contract, policy=Policy(beyond=0.1))
    scorer = Scorer(careful, loaded.encoder, loaded.model, ())
    rows = take(shelf.rows, np.arange(3))
    rows["minutes"] = np.array([5.0, 9.8, 10.0])  # trained on 0 to 9
    free, found = loaded.score(rows), scorer.score(rows)
    assert found.values.tolist() == [*free.values.tolist()[:2], None]
    assert found.fired[:2] == [(), ()]
    assert found.fired[2][0] == "beyond:minutes"


def test_a_rule_may_speak_of_what_is_pinned_or_derived(shelf: Shelf) -> None:
    loaded = version.load(shelf.registry(), shelf.problem, "v1").scorer
    rows = take(shelf.rows, np.arange(20))
    warmest = rows["warmth"] == rows["warmth"].max()
    strength = loaded.encoder.everything(rows)["strength"]
    middle = float(np.nanmedian(strength))
    warm = Deny(name="warm", ranges={"warmth": (float(rows["warmth"].max()), None)}, minimum=1.0)
    strong = Deny(name="strong", ranges={"strength": (middle, None)}, minimum=1.0)
    asked = {**rows, "warmth": np.full(20, np.nan)}  # left out: the version knows it
    for rule, holds in ((warm, warmest), (strong, strength >= middle)):
        contract = msgspec.structs.replace(loaded.contract, policy=Policy(rules=(rule,)))
        found = Scorer(contract, loaded.encoder, loaded.model, ()).score(asked)
        assert (found.values == 1.0).tolist() == holds.tolist()
        assert [fired == (rule.name,) for fired in found.fired] == holds.tolist()


def test_a_version_trained_with_another_derive_function_is_refused_with_both_named(shelf: Shelf) -> None:
    deployed = tea(derive=other_derive)
    with pytest.raises(ArtifactError) as refused:
        version.load(shelf.registry(), deployed, "v1")
    assert shelf.problem.derive_sha256[:12] in str(refused.value)
    assert deployed.derive_sha256[:12] in str(refused.value)


def test_a_version_without_derived_features_needs_no_derive_and_outlives_the_first_one() -> None:
    plain = shelve(Probability(name="drunk"), derived=(), derive=None)

    def first_derive(features: Columns) -> Columns:
        raise KeyError("a feature that the version does not know")

    deployed = tea(derive=first_derive)
    before, after = (version.load(plain.registry(), problem, "v1") for problem in (plain.problem, deployed))
    np.testing.assert_array_equal(after.scorer.score(plain.rows).values, before.scorer.score(plain.rows).values)


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
    with pytest.raises(ArtifactError, match="seal"):
        version.load(Registry(bucket), shelf.problem, "v1")


def republished(shelf: Shelf, **changes: Any) -> Registry:
    """The same version, with other things said in its manifest."""
    bucket: Any = shelf.bucket.copy()
    bucket.delete("versions/v1/manifest.json")
    registry = Registry(bucket)
    registry.publish(msgspec.structs.replace(shelf.manifest, **changes))
    return registry


def test_a_version_whose_libraries_are_those_that_run_is_served(shelf: Shelf) -> None:
    assert libraries.check(shelf.manifest, "onnxruntime") == []


def test_another_onnxruntime_that_gives_the_same_answers_serves(shelf: Shelf) -> None:
    registry = republished(shelf, libraries={"onnxruntime": "1.2.3"})
    assert version.load(registry, shelf.problem, "v1").scorer.score(shelf.rows).values.shape == (300,)


def other_answers(shelf: Shelf) -> bytes:
    """A probe whose answers are not the model's."""
    honest = msgspec.json.decode(shelf.registry().read_artifact(shelf.manifest.probe), type=probe.Probe)
    outputs = np.frombuffer(honest.outputs, "<f8") + 0.01
    return msgspec.json.encode(msgspec.structs.replace(honest, outputs=outputs.tobytes()))


def test_another_onnxruntime_that_answers_otherwise_is_refused_with_the_mismatch_named(shelf: Shelf) -> None:
    registry = republished(shelf)
    changed = registry.add_artifact("v1", "probe", ".json", other_answers(shelf))
    registry = republished(shelf._replace(bucket=registry._bucket), probe=changed, libraries={"onnxruntime": "1.2.3"})
    with pytest.raises(ArtifactError) as refused:
        version.load(registry, shelf.problem, "v1")
    for part in ("otherwise than when it was made", "onnxruntime 1.2.3", importlib.metadata.version("onnxruntime")):
        assert part in str(refused.value)


def test_a_model_that_answers_otherwise_on_this_machine_is_refused_though_the_libraries_match(shelf: Shelf) -> None:
    registry = republished(shelf)
    changed = registry.add_artifact("v1", "probe", ".json", other_answers(shelf))
    registry = republished(shelf._replace(bucket=registry._bucket), probe=changed)
    with pytest.raises(ArtifactError, match=r"64 of 64 rows of its probe"):
        version.load(registry, shelf.problem, "v1")


def test_another_library_without_a_probe_to_prove_itself_by_is_refused(shelf: Shelf) -> None:
    with pytest.raises(ArtifactError, match=r"no probe.*onnxruntime unknown"):
        version.load(republished(shelf, probe=None, libraries={}), shelf.problem, "v1")


def test_another_scikit_learn_never_opens_a_fitted_estimator(shelf: Shelf, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(skops_model, "load", lambda payload: pytest.fail("it was opened"))
    registry = republished(shelf, runtime="skops", libraries={"scikit-learn": "1.2.3"})
    with pytest.raises(ArtifactError, match=r"refused: it was made with scikit-learn 1\.2\.3, here is \d"):
        version.load(registry, shelf.problem, "v1")


@pytest.mark.parametrize("payload", [b"", b"{}", b'{"matrix":"AAAA","inputs":0,"outputs":"","columns":1}'])
def test_what_is_no_probe_is_refused(shelf: Shelf, payload: bytes) -> None:
    with pytest.raises(ArtifactError):
        probe.check(payload, lambda matrix: matrix)


def test_an_answer_of_nan_where_there_was_a_number_fails_the_probe(shelf: Shelf) -> None:
    asked = probe.make(lambda matrix: matrix[:, :1], np.ones((100, 3), dtype=np.float32))
    probe.check(asked, lambda matrix: matrix[:, :1])
    with pytest.raises(ArtifactError, match="64 of 64"):
        probe.check(asked, lambda matrix: matrix[:, :1] * np.nan)


def test_the_model_that_was_judged_can_be_asked_too(shelf: Shelf) -> None:
    judged = version.load_judged(shelf.registry(), shelf.problem, shelf.manifest)
    assert judged is not None
    assert judged.score(shelf.rows).values.shape == (300,)
    without = msgspec.structs.replace(shelf.manifest, trial=None)
    assert version.load_judged(shelf.registry(), shelf.problem, without) is None
