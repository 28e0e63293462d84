# SPDX-License-Identifier: Apache-2.0
"""A version is served if it beats the constant and is not worse than what is served; the verdict says why."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from fakes import pots, tea
from hypothesis import given, settings
from hypothesis import strategies as st

from dropfit import documents
from dropfit.contract import Gate, Problem, Quantity
from dropfit.errors import ContractError
from dropfit.gate import Contest, Rival, judge
from dropfit.verdict import Report

ROWS, BLOCKS = 400, 8
HOLDOUT: dict[str, str | int] = {
    "first": "2013-01-09",
    "last": "2013-01-16",
    "method": "newest",
    "rows": ROWS,
    "blocks": BLOCKS,
}
GATE = Gate(minimum_rows=10, slices=("leaf",), slice_rows=20)


def saying(positive: Any) -> Any:
    """Raw output of a model that says these probabilities."""
    positive = np.broadcast_to(np.asarray(positive, dtype=np.float64), (ROWS,))
    return np.column_stack([1 - positive, positive])


def model(confidence: float, seed: int = 0) -> Any:
    """A model that gives the right answer so much probability, more or less."""
    chance = np.random.default_rng(seed)
    right = np.clip(confidence + chance.normal(0, 0.05, ROWS), 0.01, 0.99)
    return saying(np.where(pots(ROWS)["drunk"] == 1, right, 1 - right))


def contest(challenger: Any, champion: Any = None, represented: Any = "final", **changes: Any) -> Contest:
    rows = pots(ROWS)
    rival = Rival() if champion is None else Rival("v1", represented, "it was fitted on none of them", champion)
    usual = {
        "version": "v2",
        "holdout": HOLDOUT,
        "columns": rows,
        "truth": rows["drunk"].astype(int),
        "blocks": np.arange(ROWS) * BLOCKS // ROWS,
        "classes": (),
        "challenger": challenger,
        "constant": saying(0.5),
        "rival": rival,
    }
    return Contest(**(usual | changes))


def verdict(made: Contest, **changes: Any) -> Report:
    return judge(tea(**({"gate": GATE} | changes)), made)


@given(st.floats(0.05, 0.95), st.floats(0.05, 0.95))
@settings(max_examples=40)
def test_without_a_served_version_it_passes_exactly_when_it_loses_less_than_the_constant(
    ours: float, constant: float
) -> None:
    truth = np.ones(ROWS, dtype=int)
    found = verdict(contest(saying(ours), truth=truth, constant=saying(constant)))
    assert found.passed == (found.scores["challenger"]["log_loss"] < found.scores["constant"]["log_loss"])
    assert (found.champion, found.represented, found.difference) == ("", "first", None)


def test_the_first_reason_names_metric_values_rows_and_days() -> None:
    found = verdict(contest(saying(0.5), constant=saying(0.4)))
    assert found.reasons[0].startswith("log_loss 0.6931 on 400 rows of 2013-01-09 to 2013-01-16: better than the")


def test_a_model_that_answers_no_number_never_passes() -> None:
    rows = pots(ROWS)
    made = contest(rows["minutes"][:, None] * np.nan, constant=np.zeros((ROWS, 1)), truth=rows["minutes"])
    with pytest.raises(ValueError, match="NaN"):
        verdict(made, target=Quantity(name="joy"))


def test_the_same_model_again_passes_as_equal() -> None:
    found = verdict(contest(model(0.7), model(0.7)))
    assert found.passed
    assert found.difference is not None
    assert (found.difference.value, found.difference.low, found.difference.high) == (0.0, 0.0, 0.0)
    assert "equal within tolerance to the served v1" in found.reasons[1]


def test_a_better_model_passes_and_the_reason_says_by_how_much() -> None:
    found = verdict(contest(model(0.8), model(0.7)))
    assert found.passed
    assert found.reasons[1].startswith("better than the served v1: it has 0.36")
    assert "95% interval" in found.reasons[1]
    assert found.difference is not None
    assert found.difference.high < 0


def test_a_worse_model_is_kept_though_it_beats_the_constant() -> None:
    found = verdict(contest(model(0.65), model(0.7)))
    assert not found.passed
    assert "better than the constant" in found.reasons[0]
    assert "worse than the served v1" in found.reasons[1]


@pytest.mark.parametrize(("tolerance", "passes"), [(0.0, False), (0.5, True)])
def test_the_tolerance_is_the_contracts(tolerance: float, passes: bool) -> None:
    gate = Gate(minimum_rows=10, tolerance=tolerance)
    assert verdict(contest(model(0.65), model(0.7)), gate=gate).passed is passes


def test_a_model_that_is_better_on_the_whole_is_kept_when_one_slice_is_worse_and_the_slice_is_named() -> None:
    sencha = pots(ROWS)["leaf"] == "sencha"
    mixed = np.where(sencha[:, None], model(0.55), model(0.9))
    found = verdict(contest(mixed, model(0.7)))
    assert found.difference is not None
    assert found.difference.value < 0
    assert not found.passed
    assert "leaf is sencha" in found.reasons[2]
    assert [(s.feature, s.value) for s in found.slices if s.worse] == [("leaf", "sencha")]


def test_a_trial_that_stands_for_the_served_version_is_told_as_such() -> None:
    found = verdict(contest(model(0.7), model(0.7), "trial"))
    assert found.represented == "trial"
    assert "its trial has" in found.reasons[1]


def test_what_cannot_be_compared_for_want_of_rows_is_kept_with_what_to_upload() -> None:
    made = contest(model(0.9), rival=Rival("v1", "none", "only 3 rows of 1 days are new to it. Upload days"))
    found = verdict(made)
    assert not found.passed
    assert "not compared with v1, which stays" in found.reasons[1]
    assert "Upload days" in found.reasons[1]


def test_beside_a_served_version_that_answers_another_question_the_constant_decides_and_it_is_said() -> None:
    made = contest(model(0.9), rival=Rival("v1", "other", "it predicts the quantity joy"))
    found = verdict(made)
    assert found.passed
    assert "the constant alone decides" in found.reasons[1]
    assert not verdict(contest(saying(0.5), rival=made.rival)).passed


def test_the_gates_own_metric_decides() -> None:
    rare = np.where(np.arange(ROWS) == 0, 1e-9, 0.9)  # one answer that is certain and wrong
    truth = np.ones(ROWS, dtype=int)
    made = contest(saying(rare), saying(0.87), truth=truth)
    assert not verdict(made).passed
    assert verdict(made, gate=Gate(minimum_rows=10, metric="brier")).passed


def test_a_quantity_is_judged_by_its_root_mean_square_error() -> None:
    truth = np.linspace(0, 1, ROWS)
    close, far = (truth + 0.1)[:, None], (truth + 0.2)[:, None]
    made = contest(close, far, truth=truth, constant=np.full((ROWS, 1), 0.5))
    found = verdict(made, target=Quantity(name="joy"))
    assert found.passed
    assert found.difference is not None
    assert found.difference.value == pytest.approx(-0.1)
    assert found.confusion == ()
    assert all(len(b.residuals) == 5 for b in found.calibration)


def test_the_report_comes_back_from_storage_as_it_was() -> None:
    found = verdict(contest(model(0.65), model(0.7)))
    assert documents.decode(documents.encode(found), Report) == found


def test_a_report_of_before_is_read_too() -> None:
    old = b'{"version": "v1", "passed": true, "reasons": ["because"], "judged_at": "2013-02-01T00:00:00Z"}'
    assert documents.decode(old, Report).represented == "first"


def test_calibration_and_confusion_count_every_row() -> None:
    found = verdict(contest(model(0.7)))
    assert sum(b.rows for b in found.calibration) == sum(map(sum, found.confusion)) == ROWS
    assert [b.predicted for b in found.calibration] == sorted(b.predicted for b in found.calibration)
    assert found.classes == ("0", "1")


def test_slices_must_be_features() -> None:
    with pytest.raises(ContractError, match="slices must be features; pot are none"):
        tea(gate=Gate(slices=("pot",)))


@pytest.mark.parametrize(
    "wrong", [{"tolerance": -0.1}, {"tolerance": 1.0}, {"slice_tolerance": 2}, {"slice_rows": 0}]
)
def test_a_gate_that_cannot_judge_is_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ContractError):
        Gate(**wrong)


def test_the_default_problem_watches_its_slices() -> None:
    from dropfit.problem import problem

    assert isinstance(problem, Problem)
    assert problem.gate.slices
