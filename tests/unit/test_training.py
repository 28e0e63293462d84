# SPDX-License-Identifier: Apache-2.0
"""Training judges on the newest block and then learns from everything."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from fakes import boosting_quantity, pots, tea
from hypothesis import given
from hypothesis import strategies as st

from dropfit import metrics, training
from dropfit.contract import Columns, Gate, Label, Probability, Quantity
from dropfit.encoding import length, take
from dropfit.errors import TrainingError
from dropfit.holdout import plan, without_duplicates
from dropfit.training import train

VERDICT = Label(name="verdict", values=("awful", "fair", "good", "never given"))
SEED = 3


@pytest.fixture(scope="module")
def trained() -> training.Trained:
    return train(tea(), pots())


def test_the_holdout_is_the_newest_fifth_of_the_days_and_only_that(trained: training.Trained) -> None:
    assert trained.holdout == {"first": "2013-01-09", "last": "2013-01-10", "method": "newest", "rows": 60}
    assert len(trained.sample) == 60


def test_a_model_that_can_learn_is_better_than_the_constant(trained: training.Trained) -> None:
    assert trained.metrics["log_loss"] < trained.constant["log_loss"]
    assert trained.metrics["brier"] < trained.constant["brier"]
    assert trained.metrics["auc"] > 0.9
    assert trained.constant["auc"] == 0.5


def test_the_served_model_was_fitted_on_all_rows(trained: training.Trained) -> None:
    assert trained.rows == 300


def test_the_holdout_is_judged_by_a_model_that_never_saw_it() -> None:
    rows = pots()
    held = plan(tea(), rows).mask
    rows["leaf"][held] = "only in the holdout"
    rows["drunk"][held] = 1.0 - rows["drunk"][held]  # what only the holdout says
    flipped = train(tea(), rows)
    assert flipped.metrics["log_loss"] > flipped.constant["log_loss"]
    assert "only in the holdout" in flipped.encoding.vocabularies["leaf"]


@given(st.lists(st.integers(0, 9), min_size=2, max_size=50), st.floats(0.01, 0.99))
def test_no_day_is_both_learned_from_and_judged_and_the_judged_ones_are_newest(days: list[int], share: float) -> None:
    times = np.datetime64("2013-01-01", "us") + np.array(days).astype("timedelta64[D]")
    held = plan(tea(gate=Gate(holdout_share=share)), {"brewed": times})
    judged, rest = times[held.mask], times[~held.mask]
    if held.method == "newest":
        assert len(judged) > 0
        assert len(rest) > 0
        assert rest.max() < judged.min()
        assert (held.first, held.last) == (str(judged.min())[:10], str(judged.max())[:10])
    else:
        assert len(set(days)) == 1


def test_rows_of_a_single_day_are_held_out_by_chance_and_the_same_ones_each_time() -> None:
    rows = {**pots(), "brewed": np.full(300, np.datetime64("2013-01-01", "us"))}
    first, second = plan(tea(), rows), plan(tea(), rows)
    assert first.method == "random"
    assert 20 < first.mask.sum() < 120
    np.testing.assert_array_equal(first.mask, second.mask)


def test_training_twice_on_the_same_rows_gives_the_same_model(trained: training.Trained) -> None:
    again = train(tea(), pots())
    assert again.metrics == trained.metrics
    np.testing.assert_array_equal(
        again.estimator.predict_proba(trained.sample), trained.estimator.predict_proba(trained.sample)
    )


def test_of_the_rows_of_one_event_the_one_uploaded_last_counts() -> None:
    rows = take(pots(4), np.array([0, 1, 2, 3]))
    rows["pot"] = np.array([7.0, 8.0, 7.0, 9.0])
    rows["minutes"] = np.array([1.0, 2.0, 3.0, 4.0])
    kept = without_duplicates(tea(), rows)
    assert dict(zip(kept["pot"].tolist(), kept["minutes"].tolist(), strict=True)) == {7: 3, 8: 2, 9: 4}


def test_days_tell_events_apart() -> None:
    rows = {
        **pots(2),
        "pot": np.array([1.0, 1.0]),
        "brewed": np.array(["2013-01-01", "2013-01-02"], "datetime64[us]"),
    }
    assert length(without_duplicates(tea(identity=("pot", "brewed")), rows)) == 2


def test_without_an_identity_every_row_counts() -> None:
    rows = {**pots(3), "pot": np.ones(3)}
    assert length(without_duplicates(tea(identity=()), rows)) == 3


@given(st.lists(st.integers(0, 5), min_size=1, max_size=30))
def test_dropping_duplicates_leaves_each_event_once_and_loses_none(events: list[int]) -> None:
    rows = {**pots(len(events)), "pot": np.array(events, dtype=np.float64)}
    kept = without_duplicates(tea(), rows)["pot"].tolist()
    assert sorted(kept) == sorted(set(events))


def test_too_few_rows_are_told_with_their_number_and_what_the_gate_wants() -> None:
    with pytest.raises(TrainingError, match=r"240 training rows and 60 holdout rows.*at least 1,000"):
        train(tea(gate=Gate(minimum_rows=1000)), pots())


@pytest.mark.parametrize("target", [Probability(name="drunk"), VERDICT])
def test_a_target_that_never_varies_is_told_by_name(target: Any) -> None:
    rows = pots(target=target)
    rows[target.name][:] = rows[target.name][0]
    with pytest.raises(TrainingError, match=target.name):
        train(tea(target=target), rows)


def test_a_target_that_varies_in_the_holdout_alone_is_a_training_error() -> None:
    rows = pots()
    rows["drunk"] = plan(tea(), rows).mask.astype(np.float64)
    with pytest.raises(TrainingError):
        train(tea(), rows)


def test_an_estimator_that_refuses_the_data_is_a_training_error() -> None:
    from sklearn.linear_model import LogisticRegression

    with pytest.raises(TrainingError, match="NaN"):
        train(tea(estimator=lambda inputs: LogisticRegression()), pots())


def test_a_label_has_the_classes_that_the_data_hold_in_the_declared_order() -> None:
    found = train(tea(target=VERDICT), pots(target=VERDICT))
    assert found.classes == ("awful", "fair", "good")
    assert found.width == 3
    assert set(found.metrics) == {"log_loss", "accuracy"}
    assert found.metrics["log_loss"] < found.constant["log_loss"]


def test_a_class_that_only_the_holdout_holds_has_probability_zero_there() -> None:
    rows = pots(target=VERDICT)
    held = plan(tea(target=VERDICT), rows).mask
    rows["verdict"][~held & (rows["verdict"] == "good")] = "fair"
    assert "good" in rows["verdict"][held]
    found = train(tea(target=VERDICT), rows)
    assert np.isfinite(found.metrics["log_loss"])
    assert found.width == 3


def test_a_quantity_is_judged_by_its_errors() -> None:
    target = Quantity(name="joy")
    found = train(tea(target=target, estimator=boosting_quantity), pots(target=target))
    assert set(found.metrics) == {"rmse", "mae", "r2"}
    assert (found.width, found.classes) == (0, ())
    assert found.metrics["rmse"] < found.constant["rmse"]


@given(st.integers(2, 4), st.integers(1, 30))
def test_a_perfect_model_loses_nothing(classes: int, rows: int) -> None:
    truth = np.random.default_rng(SEED).integers(0, classes, rows)
    target = VERDICT if classes > 2 else Probability(name="drunk")
    found = metrics.measure(target, truth, np.eye(classes)[truth])
    assert found["log_loss"] == pytest.approx(0, abs=1e-9)
    assert found.get("accuracy", 1.0) == 1.0
    assert found.get("brier", 0.0) == 0.0


@pytest.mark.parametrize("target", [Probability(name="drunk"), Quantity(name="joy")])
def test_the_constant_says_the_training_rows_average_for_every_row(target: Any) -> None:
    said = metrics.constant(target, np.array([0, 0, 0, 1]), 0 if isinstance(target, Quantity) else 2, 3)
    assert said[:, -1].tolist() == [0.25, 0.25, 0.25]


def test_a_holdout_of_one_class_has_no_auc_and_is_judged_all_the_same() -> None:
    found = metrics.measure(Probability(name="drunk"), np.zeros(3), np.tile([0.9, 0.1], (3, 1)))
    assert "auc" not in found
    assert found["brier"] == pytest.approx(0.01)


@pytest.mark.parametrize(
    ("gate", "target", "metric"),
    [
        (Gate(), Probability(name="drunk"), "log_loss"),
        (Gate(), Quantity(name="joy"), "rmse"),
        (Gate(metric="mae"), Quantity(name="joy"), "mae"),
    ],
)
def test_the_deciding_metric_is_the_gates_or_the_targets_usual_one(gate: Gate, target: Any, metric: str) -> None:
    assert metrics.deciding(gate, target) == metric


def beside_others(features: Columns) -> Columns:
    return {"strength": features["minutes"] - np.nanmean(features["minutes"])}


def in_turn(features: Columns) -> Columns:
    return {"strength": np.arange(len(features["minutes"]), dtype=np.float64)}


@pytest.mark.parametrize("derive", [beside_others, in_turn])
def test_a_derive_that_looks_at_other_rows_is_refused_by_name(derive: Any) -> None:
    with pytest.raises(TrainingError, match="another strength when other rows"):
        train(tea(derive=derive), pots())
