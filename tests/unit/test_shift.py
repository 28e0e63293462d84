# SPDX-License-Identifier: Apache-2.0
"""How far predictions lie from others: the textbook's numbers, on bins."""

from __future__ import annotations

import collections

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dropfit.contract import ContractError, Label, Policy
from dropfit.shift import ABSTAINED, Count, kolmogorov, total_variation

from fakes import tea  # isort: skip

VALUES = st.lists(st.integers(0, 9), min_size=1, max_size=40)


def counts(before: list[int], after: list[int]) -> list[Count]:
    first, second = collections.Counter(before), collections.Counter(after)
    return [Count(value, first[value], second[value]) for value in {*before, *after}]


@given(VALUES, VALUES)
def test_the_largest_difference_of_the_cumulative_distributions(before: list[int], after: list[int]) -> None:
    def share(values: list[int], at: int) -> float:
        return float((np.array(values) <= at).mean())

    largest = max(abs(share(before, at) - share(after, at)) for at in range(10))
    assert kolmogorov(counts(before, after)) == pytest.approx(largest)


@given(VALUES, VALUES)
def test_it_is_never_more_than_the_total_variation_and_both_lie_between_0_and_1(
    before: list[int], after: list[int]
) -> None:
    found = counts(before, after)
    assert 0 <= kolmogorov(found) <= total_variation(found) + 1e-12 <= 1 + 2e-12


@given(VALUES)
def test_a_table_of_three_times_the_rows_is_alike_when_its_shares_are(values: list[int]) -> None:
    found = counts(values, values * 3)
    assert kolmogorov(found) == total_variation(found) == pytest.approx(0)


def test_predictions_that_are_all_equal_are_far_from_any_that_are_not() -> None:
    spread = [Count(place, 10, 1000 if place == 50 else 0) for place in range(100)]
    assert kolmogorov(spread) > 0.49


def test_labels_that_changed_places_are_far_apart_and_their_order_does_not_matter() -> None:
    assert total_variation([Count(0, 90, 10), Count(1, 10, 90)]) == pytest.approx(0.8)
    assert total_variation([Count(1, 10, 90), Count(0, 90, 10)]) == pytest.approx(0.8)


def test_abstentions_count_as_a_value() -> None:
    assert kolmogorov([Count(ABSTAINED, 0, 90), Count(3, 100, 10)]) == pytest.approx(0.9)
    assert total_variation([Count(ABSTAINED, 0, 90), Count(3, 100, 10)]) == pytest.approx(0.9)


def test_an_empty_table_is_as_far_as_can_be() -> None:
    assert kolmogorov([Count(0, 5, 0)]) == 1
    assert kolmogorov([]) == 0


@pytest.mark.parametrize("limit", [0.0, -0.1, 1.5, float("nan")])
def test_a_limit_that_is_none_is_refused(limit: float) -> None:
    with pytest.raises(ContractError, match="max_shift"):
        tea(policy=Policy(max_shift=limit))


def test_a_limit_is_not_written_down_where_it_is_the_usual_one() -> None:
    import msgspec

    assert b"max_shift" not in msgspec.json.encode(Policy())
    assert msgspec.json.decode(b"{}", type=Policy).max_shift == 0.4
    assert msgspec.json.decode(msgspec.json.encode(Policy(max_shift=None)), type=Policy).max_shift is None
    tea(target=Label(name="verdict", values=("a", "b")), policy=Policy(max_shift=1.0))
