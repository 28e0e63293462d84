# SPDX-License-Identifier: Apache-2.0
"""Whatever the model says, what is served keeps to the policy."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from dropfit.contract import Policy
from dropfit.policy import apply

BOUND = st.one_of(st.none(), st.floats(-1e6, 1e6))
VALUES = st.lists(st.floats(allow_nan=False), max_size=20)


@given(BOUND, BOUND, VALUES)
def test_what_is_served_is_always_within_bounds(low: float | None, high: float | None, values: list[float]) -> None:
    assume(low is None or high is None or low <= high)
    kept, fired = apply(Policy(minimum=low, maximum=high), np.array(values))
    assert len(kept) == len(fired) == len(values)
    for value, served, rules in zip(values, kept.tolist(), fired, strict=True):
        assert low is None or served >= low
        assert high is None or served <= high
        assert bool(rules) == (served != value)


@given(VALUES)
def test_without_a_policy_predictions_pass_untouched(values: list[float]) -> None:
    kept, fired = apply(Policy(), np.array(values))
    assert kept.tolist() == values
    assert fired == [()] * len(values)


@given(BOUND, BOUND, VALUES)
def test_applying_a_policy_twice_is_applying_it_once(
    low: float | None, high: float | None, values: list[float]
) -> None:
    assume(low is None or high is None or low <= high)
    once, _ = apply(Policy(minimum=low, maximum=high), np.array(values))
    again, fired = apply(Policy(minimum=low, maximum=high), once)
    assert again.tolist() == once.tolist()
    assert fired == [()] * len(values)


def test_the_rule_that_fired_is_named_for_its_row_alone() -> None:
    kept, fired = apply(Policy(minimum=0, maximum=1), np.array([-1, 0, 0.5, 1, 2]))
    assert kept.tolist() == [0, 0, 0.5, 1, 1]
    assert fired == [("minimum",), (), (), (), ("maximum",)]


def test_rounding_is_form_and_fires_no_rule() -> None:
    kept, fired = apply(Policy(digits=2), np.array([0.126, 0.5]))
    assert kept.tolist() == [0.13, 0.5]
    assert fired == [(), ()]


@pytest.mark.parametrize(
    ("policy", "value"), [(Policy(minimum=0.124, digits=2), 0), (Policy(maximum=0.126, digits=2), 1)]
)
def test_rounding_does_not_leave_the_bounds(policy: Policy, value: float) -> None:
    kept, _ = apply(policy, np.array([value, 0.125]))
    assert policy.minimum is None or (kept >= policy.minimum).all()
    assert policy.maximum is None or (kept <= policy.maximum).all()


def test_labels_pass_untouched() -> None:
    labels = np.array(["good", "bad"], dtype=object)
    kept, fired = apply(Policy(minimum=0, maximum=1, digits=1), labels)
    assert kept.tolist() == ["good", "bad"]
    assert fired == [(), ()]


def test_the_callers_values_are_not_changed() -> None:
    values = np.array([-1.0, 2.0])
    apply(Policy(minimum=0, maximum=1, digits=1), values)
    assert values.tolist() == [-1.0, 2.0]
