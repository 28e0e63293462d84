# SPDX-License-Identifier: Apache-2.0
"""Only a version that beats the constant is served, and the verdict says why."""

from __future__ import annotations

import pytest
from fakes import manifest, tea
from hypothesis import given
from hypothesis import strategies as st

from dropfit.contract import Gate, Quantity
from dropfit.gate import judge


def verdict(model: float, constant: float) -> bool:
    made = manifest("v1", metrics={"log_loss": model}, constant={"log_loss": constant})
    return judge(tea(), made).passed


@given(st.floats(0, 10), st.floats(0, 10))
def test_a_version_passes_exactly_when_it_loses_less_than_the_constant(model: float, constant: float) -> None:
    assert verdict(model, constant) == (model < constant)


@pytest.mark.parametrize(
    ("model", "constant"), [(float("nan"), 0.5), (0.5, float("nan")), (float("inf"), 0.5), (0.5, 0.5)]
)
def test_what_cannot_be_compared_does_not_pass(model: float, constant: float) -> None:
    assert not verdict(model, constant)


def test_the_reason_names_metric_values_rows_and_days() -> None:
    found = judge(tea(), manifest("v1"))
    assert found.version == "v1"
    assert found.reasons == (
        "log_loss 0.2000 on 60 rows of 2013-01-09 to 2013-01-10: better than the constant's 0.6000",
    )


def test_a_worse_version_is_told_that_it_is_not_better() -> None:
    found = judge(tea(), manifest("v1", metrics={"log_loss": 0.7}))
    assert not found.passed
    assert "not better than the constant's 0.6000" in found.reasons[0]


def test_the_gates_own_metric_decides() -> None:
    good_by_brier_alone = manifest(
        "v1", metrics={"log_loss": 0.9, "brier": 0.1}, constant={"log_loss": 0.6, "brier": 0.2}
    )
    assert judge(tea(gate=Gate(metric="brier")), good_by_brier_alone).passed
    assert not judge(tea(), good_by_brier_alone).passed


def test_a_quantity_is_judged_by_its_root_mean_square_error() -> None:
    problem = tea(target=Quantity(name="joy"))
    made = manifest("v1", problem, metrics={"rmse": 1.0, "mae": 9.0}, constant={"rmse": 2.0, "mae": 1.0})
    assert judge(problem, made).passed
