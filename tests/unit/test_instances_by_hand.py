# SPDX-License-Identifier: Apache-2.0
"""The decoder takes exactly what keeps the contract, told once more, slowly, and within any bounds."""

from __future__ import annotations

from typing import Any

import pytest
from fakes import LEAF
from hypothesis import given
from hypothesis import strategies as st
from tea_requests import CONTRACT, GOOD, asking, batch, refused

from dropfit.contract import Contract, Number, Quantity
from dropfit.errors import BadRequest
from dropfit.instances import InstanceDecoder

ANY = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-3, 70),
    st.floats(-3, 70),
    st.sampled_from(["assam", "small", "large", "", "x" * 13, "5"]),
    st.just([]),
)
NAMES = st.sampled_from([*(f.name for f in CONTRACT.features), "sugar"])


def by_hand(instance: Any) -> bool:
    """Whether an instance keeps the contract, spelled out once more, slowly."""
    if not isinstance(instance, dict) or set(instance) - {f.name for f in CONTRACT.features}:
        return False
    leaf, spoons, cup = (instance.get(n) for n in ("leaf", "spoons", "cup"))
    numbers = {"minutes": 60, "warmth": 100}
    return (
        isinstance(leaf, str)
        and 1 <= len(leaf) <= 12
        and isinstance(spoons, (int, float))
        and not isinstance(spoons, bool)
        and isinstance(spoons, int)
        and 0 <= spoons <= 9
        and cup in (None, "small", "large")
        and all(
            instance.get(n) is None
            or (
                isinstance(instance[n], (int, float))
                and not isinstance(instance[n], bool)
                and 0 <= instance[n] <= most
            )
            for n, most in numbers.items()
        )
    )


INSTANCE = st.one_of(
    st.dictionaries(NAMES, ANY, max_size=6),
    st.builds(lambda more: {**GOOD, **more}, st.dictionaries(NAMES, ANY, max_size=2)),
    ANY,
)


@given(st.lists(INSTANCE, min_size=1, max_size=4))
def test_the_fast_way_takes_exactly_what_the_slow_way_finds_nothing_wrong_with(instances: list[Any]) -> None:
    wrong = {n for n, instance in enumerate(instances) if not by_hand(instance)}
    if wrong:
        error = refused(asking(*instances))
        assert {int(field.split("[")[1].split("]")[0]) for field in error.fields} == wrong
        return
    for name, values in batch(asking(*instances)).items():
        asked = [instance.get(name) for instance in instances]
        assert [None if v is None or v != v else v for v in values.tolist()] == asked


BOUNDS = st.one_of(st.none(), st.integers(-5, 5).map(float))


def takes(feature: Number, value: float) -> bool:
    contract = Contract(
        name="c", title="t", features=(LEAF, feature), target=Quantity(name="y"), key=("leaf", feature.name)
    )
    try:
        InstanceDecoder(contract, 1).decode(asking({"leaf": "a", feature.name: value}))
    except BadRequest:
        return False
    return True


@given(BOUNDS, BOUNDS, st.booleans(), st.integers(-7, 7))
def test_a_request_may_hold_exactly_the_numbers_that_are_within_the_declared_bounds(
    low: float | None, high: float | None, whole: bool, value: int
) -> None:
    fits = (low is None or value >= low) and (high is None or value <= high)
    assert takes(Number(name="n", minimum=low, maximum=high, integer=whole), value) == fits


@pytest.mark.parametrize(("low", "high", "value"), [(0.5, None, 0), (None, -0.5, 0)])
def test_a_fractional_bound_of_a_whole_number_is_kept(low: float | None, high: float | None, value: int) -> None:
    assert not takes(Number(name="n", minimum=low, maximum=high, integer=True), value)
