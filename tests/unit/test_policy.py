# SPDX-License-Identifier: Apache-2.0
"""Whatever the model says, what is served keeps to the policy."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from guarding import ANIMAL, PRICE, RISK, columns, contract, guard, served

from dropfit.contract import Deny, Monotone, Policy, Target
from dropfit.errors import ArtifactError
from dropfit.policy import Guard

NO_CAT = Deny(name="no_cow_is_a_cat", ranges={"area": (100, None)}, labels=("cat",))
FLATS = Deny(name="flats", when={"kind": ("flat",)}, minimum=50, maximum=500)
BY_AREA = Monotone(name="by_area", feature="area", minimum=((50, 100), (150, 300)), maximum=((50, 1000), (150, 9000)))


# One rule at a time


def test_a_price_below_zero_is_raised_and_the_reply_says_so() -> None:
    assert served(PRICE, -5.0, minimum=0) == (0.0, ("minimum",))
    assert served(PRICE, 7.0, minimum=0, maximum=6) == (6.0, ("maximum",))
    assert served(PRICE, 5.0, minimum=0, maximum=6) == (5.0, ())


def test_a_probability_lies_between_0_and_1_without_being_asked_to() -> None:
    assert served(RISK, 1.0000001) == (1.0, ("maximum",))
    assert served(RISK, -0.1, minimum=-3) == (0.0, ("minimum",))


def test_a_denied_label_is_not_served_nor_has_it_any_probability() -> None:
    value, shares, fired = guard(ANIMAL, rules=(NO_CAT,)).one({"area": 400.0}, [0.5, 0.375, 0.125])
    assert (value, shares, fired) == ("cow", [0.0, 0.75, 0.25], ("no_cow_is_a_cat",))


def test_a_rule_that_changes_no_label_takes_the_probability_and_does_not_fire() -> None:
    value, shares, fired = guard(ANIMAL, rules=(NO_CAT,)).one({"area": 400.0}, [0.25, 0.5, 0.25])
    assert (value, fired) == ("cow", ())
    assert shares == [0.0, pytest.approx(2 / 3), pytest.approx(1 / 3)]


@pytest.mark.parametrize("features", [{"area": 99.9}, {"area": None}, {"area": math.nan}])
def test_a_rule_whose_condition_is_not_fulfilled_or_missing_changes_nothing(features: dict[str, Any]) -> None:
    assert served(ANIMAL, [0.5, 0.375, 0.125], features, rules=(NO_CAT,)) == ("cat", ())


def test_a_condition_can_hold_for_the_missing_ones_too() -> None:
    rule = Deny(name="no_cat", when={"kind": ("house", None)}, labels=("cat",))
    assert served(ANIMAL, [0.5, 0.375, 0.125], {"kind": None}, rules=(rule,)) == ("cow", ("no_cat",))
    assert served(ANIMAL, [0.5, 0.375, 0.125], {"kind": "flat"}, rules=(rule,)) == ("cat", ())


def test_every_part_of_a_condition_must_hold() -> None:
    rule = Deny(name="big_flats", when={"kind": ("flat",)}, ranges={"area": (100, 200)}, maximum=10)
    for kind, area, value in (("flat", 150.0, 10), ("house", 150.0, 99), ("flat", 99.0, 99), ("flat", 201.0, 99)):
        assert served(PRICE, 99.0, {"kind": kind, "area": area}, rules=(rule,))[0] == value


def test_a_rule_bounds_a_number_where_it_holds() -> None:
    assert served(PRICE, 700.0, {"kind": "flat"}, rules=(FLATS,)) == (500.0, ("flats",))
    assert served(PRICE, 7.0, {"kind": "flat"}, rules=(FLATS,)) == (50.0, ("flats",))
    assert served(PRICE, 700.0, {"kind": "house"}, rules=(FLATS,)) == (700.0, ())
    assert served(RISK, 0.9, {"kind": "flat"}, rules=(Deny(name="r", when={"kind": ("flat",)}, maximum=0.5),)) == (
        0.5,
        ("r",),
    )


@pytest.mark.parametrize(
    ("area", "least"), [(0.0, 100), (50.0, 100), (100.0, 200), (150.0, 300), (1e9, 300), (None, 100), (math.nan, 100)]
)
def test_a_bound_rises_with_a_number_and_is_loosest_where_that_is_missing(area: Any, least: float) -> None:
    assert served(PRICE, 1.0, {"area": area}, rules=(BY_AREA,)) == (least, ("by_area",))


def test_a_feature_that_nobody_knows_counts_against_the_prediction() -> None:
    """Behind a group's mean a derived feature is unknown: what a rule might deny is denied."""
    assert served(ANIMAL, [0.5, 0.375, 0.125], {}, rules=(NO_CAT,)) == ("cow", ("no_cow_is_a_cat",))
    assert served(PRICE, 200.0, {}, rules=(BY_AREA,)) == (300.0, ("by_area",))
    assert served(PRICE, 2000.0, {}, rules=(BY_AREA,)) == (1000.0, ("by_area",))


def test_rounding_is_form_and_fires_no_rule() -> None:
    assert served(PRICE, 0.126, digits=2) == (0.13, ())
    assert served(PRICE, 1251.0, digits=-2) == (1300.0, ())


def test_rounding_does_not_leave_any_bound() -> None:
    assert served(PRICE, 0.0, minimum=0.124, digits=2) == (0.124, ("minimum",))
    assert served(PRICE, 1.0, maximum=0.126, digits=2) == (0.126, ("maximum",))
    assert served(
        PRICE, 0.4, {"kind": "flat"}, rules=(Deny(name="r", when={"kind": ("flat",)}, minimum=0.4),), digits=0
    ) == (0.4, ())


@pytest.mark.parametrize("value", [0.123, 0.127])
def test_rounding_does_not_leave_a_bound_that_did_not_fire(value: float) -> None:
    assert served(PRICE, value, minimum=0.123, maximum=0.127, digits=2) == (value, ())


@pytest.mark.parametrize("value", [1.7e308, -1.7e308, 2.0**52 + 1, 9007199254740993.0])
@pytest.mark.parametrize("digits", [-2, 0, 15])
def test_numbers_too_large_to_have_decimals_are_rounded_once(value: float, digits: int) -> None:
    once = served(PRICE, value, digits=digits)[0]
    assert math.isclose(once, value, rel_tol=1e-13)
    assert served(PRICE, once, digits=digits) == (once, ())


def test_the_policy_abstains_where_the_model_is_not_sure() -> None:
    assert served(ANIMAL, [0.5, 0.375, 0.125], confidence=0.6) == (None, ("confidence",))
    assert served(ANIMAL, [0.7, 0.2, 0.1], confidence=0.6) == ("cat", ())
    assert served(RISK, 0.5, confidence=0.75) == (None, ("confidence",))
    assert served(RISK, 0.25, confidence=0.75) == (0.25, ())


def test_the_policy_abstains_far_outside_of_what_training_saw() -> None:
    assert served(PRICE, 5.0, {"area": 320.0}, beyond=0.5) == (5.0, ())
    assert served(PRICE, 5.0, {"area": 320.1}, beyond=0.5) == (None, ("beyond:area",))
    assert served(PRICE, 5.0, {"area": -80.1, "rooms": 3.0}, beyond=0.5) == (None, ("beyond:area", "beyond:rooms"))
    assert served(ANIMAL, [0.7, 0.2, 0.1], {"area": 900.0}, beyond=0.5) == (None, ("beyond:area",))
    assert served(RISK, 0.5, {"area": None, "rooms": math.nan}, beyond=0.5) == (0.5, ())


def test_a_version_that_knows_no_ranges_does_not_abstain_by_them() -> None:
    made = Guard(contract(PRICE, Policy(beyond=0.5)))
    assert made.one({"area": 1e9}, 5.0).value == 5.0


def test_a_fallback_is_served_instead_of_an_abstention_and_named_after_the_reason() -> None:
    assert served(PRICE, 5.0, {"area": 900.0}, beyond=0.5, fallback=99) == (99.0, ("beyond:area", "fallback"))
    assert served(ANIMAL, [0.5, 0.375, 0.125], confidence=0.6, fallback="dog") == ("dog", ("confidence", "fallback"))
    assert served(RISK, 0.5, confidence=0.75, fallback=0.0) == (0.0, ("confidence", "fallback"))


def test_a_fallback_that_a_rule_forbids_there_is_not_served() -> None:
    features = {"kind": "flat", "area": 900.0}
    assert served(PRICE, 60.0, features, rules=(FLATS,), beyond=0.5, fallback=999) == (None, ("beyond:area",))
    assert served(PRICE, 200.0, features, rules=(BY_AREA,), beyond=0.5, fallback=2) == (
        None,
        ("by_area", "beyond:area"),
    )
    assert served(ANIMAL, [0.1, 0.5, 0.4], features, rules=(NO_CAT,), confidence=0.9, fallback="cat") == (
        None,
        ("confidence",),
    )


def test_nothing_is_served_where_rules_leave_nothing() -> None:
    rules = (FLATS, Deny(name="large", ranges={"area": (100, None)}, minimum=600))
    features = {"kind": "flat", "area": 150.0}
    assert served(PRICE, 10.0, features, rules=rules, fallback=55) == (None, ("flats", "large", "denied"))
    both = (NO_CAT, Deny(name="no_other", when={"kind": ("flat",)}, labels=("cow", "dog")))
    value, shares, fired = guard(ANIMAL, rules=both).one(features, [0.5, 0.375, 0.125])
    assert (value, shares, fired) == (None, None, ("no_cow_is_a_cat", "no_other", "denied"))


def test_a_model_that_gives_the_allowed_labels_nothing_is_not_believed() -> None:
    value, shares, fired = guard(ANIMAL, rules=(NO_CAT,)).one({"area": 400.0}, [1.0, 0.0, 0.0])
    assert (value, shares, fired) == (None, [0.0, 0.5, 0.5], ("no_cow_is_a_cat", "confidence"))


def test_the_fallback_alone_is_served_unless_a_rule_forbids_it() -> None:
    prices = guard(PRICE, rules=(FLATS,), fallback=10)
    assert prices.fallback({"kind": "house"}) == (10.0, None, ("fallback",))
    assert prices.fallback({"kind": "flat"}) == (None, None, ("flats",))
    assert prices.fallback({}) == (None, None, ("flats",))
    animals = guard(ANIMAL, rules=(NO_CAT,), fallback="cat")
    assert animals.fallback({"area": 5.0}) == ("cat", None, ("fallback",))
    assert animals.fallback({"area": 500.0}) == (None, None, ("no_cow_is_a_cat",))
    assert guard(PRICE).fallback({}) == (None, None, ())


def test_a_label_that_training_never_saw_can_be_the_fallback() -> None:
    made = Guard(contract(ANIMAL, Policy(confidence=0.9, fallback="dog")), ("cat", "cow"))
    assert made.one({}, [0.5, 0.5]).value == "dog"


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("target", [PRICE, RISK, ANIMAL], ids=lambda t: type(t).__name__)
def test_an_answer_that_is_no_number_is_never_served_to_a_request(target: Target, bad: float) -> None:
    raw = np.array([[0.5] * 3, [bad] * 3])
    with pytest.raises(ArtifactError, match="no number"):
        guard(target).few(raw.tolist())
    with pytest.raises(ArtifactError, match="no number"):
        guard(target).one({}, [bad, 0.5, 0.5] if target == ANIMAL else bad)


def test_the_models_answer_is_not_changed() -> None:
    raw = np.array([[-1.0], [2.0]])
    guard(PRICE, minimum=0, maximum=1, digits=1).apply({}, raw)
    assert raw.tolist() == [[-1.0], [2.0]]
    shares = np.array([[0.5, 0.375, 0.125]])
    guard(ANIMAL, rules=(Deny(name="never", labels=("cat",)),)).apply({}, shares)
    assert shares.tolist() == [[0.5, 0.375, 0.125]]


def test_what_nothing_touches_keeps_its_kind() -> None:
    found = guard(PRICE, minimum=0, beyond=0.5).apply(
        columns([{"kind": "flat", "area": 50.0, "rooms": 2.0}]), np.ones((1, 1), np.float32)
    )
    assert found.values.dtype == np.float64
    shares = guard(ANIMAL).apply({}, np.array([[0.5, 0.375, 0.125]], np.float32)).probabilities
    assert shares.dtype == np.float32
