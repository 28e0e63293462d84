# SPDX-License-Identifier: Apache-2.0
"""Whatever the model says, what is served keeps to the policy."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from typing import Any

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dropfit.contract import (
    Category,
    Contract,
    Deny,
    Label,
    Monotone,
    Number,
    Policy,
    Probability,
    Quantity,
    Target,
)
from dropfit.errors import ArtifactError
from dropfit.policy import Guard
from dropfit.rules import ABSTENTION

PRICE, RISK = Quantity(name="price"), Probability(name="sold")
ANIMAL = Label(name="animal", values=("cat", "cow", "dog"))
CLASSES = ANIMAL.values
KIND = Category(name="kind", values=("flat", "house"), missing=True)
AREA = Number(name="area", missing=True)
ROOMS = Number(name="rooms")
SEEN = {"area": (20.0, 220.0), "rooms": (2.0, 2.0)}
"""The range of training: 200 wide, and a constant."""


def contract(target: Target, policy: Policy) -> Contract:
    return Contract(
        name="homes",
        title="What is it?",
        features=(KIND, AREA),
        derived=(ROOMS,),
        target=target,
        key=("kind", "area"),
        policy=policy,
    )


def guard(target: Target, **policy: Any) -> Guard:
    return Guard(contract(target, Policy(**policy)), CLASSES if target == ANIMAL else (), SEEN)


def served(target: Target, answer: Any, features: Mapping[str, Any] | None = None, **policy: Any) -> Any:
    """Value and fired rules of one answer, which are the same by every door."""
    made, row = guard(target, **policy), features or {}
    one = made.one(row, answer)
    raw = np.array([answer if target == ANIMAL else [1 - answer, answer] if target == RISK else [answer]])
    for found in (made.few(raw.tolist(), [row]), made.apply(batch(row), raw)):
        assert (list(found.values), list(found.fired)) == ([one.value], [one.fired])
        if target == ANIMAL:
            assert list(found.probabilities[0] if one.probabilities else []) == (one.probabilities or [])
    return one.value, one.fired


def batch(row: Mapping[str, Any]) -> dict[str, Any]:
    """One instance as a row batch."""
    return {n: np.array([v], dtype=object if n == "kind" else np.float64) for n, v in row.items()}


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


# Any policy, any answer, any instance

NAMES = st.sampled_from(["a", "b", "c", "d"])
BOUND = st.floats(-1000, 1000) | st.integers(-5, 5)
KINDS = st.sampled_from(["flat", "house", None])
AREAS = st.sampled_from([-500.0, 0.0, 50.0, 99.0, 100.0, 123.4, 220.0, 1e6, None]) | st.floats(-1e3, 1e3)
INSTANCE = st.fixed_dictionaries({"kind": KINDS, "area": AREAS, "rooms": st.sampled_from([2.0, 3.0, None])})
WHEN = st.dictionaries(st.just("kind"), st.lists(KINDS, min_size=1, max_size=2).map(tuple))
RANGES = st.dictionaries(
    st.sampled_from(["area", "rooms"]),
    st.tuples(st.none() | st.floats(-100, 50), st.none() | st.floats(50, 300)).filter(
        lambda pair: pair != (None, None)
    ),
)


@st.composite
def spans(draw: Any, low: Any = BOUND) -> dict[str, Any]:
    pair = sorted(draw(st.tuples(low, low)))
    which = draw(st.sampled_from(["minimum", "maximum", "both"]))
    return {n: v for n, v in zip(("minimum", "maximum"), pair, strict=True) if which in (n, "both")}


@st.composite
def lines(draw: Any) -> tuple[tuple[float, float], ...]:
    xs = sorted(draw(st.lists(st.floats(-300, 300), min_size=2, max_size=4, unique=True)))
    ys = sorted(draw(st.lists(BOUND, min_size=len(xs), max_size=len(xs))), reverse=draw(st.booleans()))
    return tuple(zip(xs, ys, strict=True))


@st.composite
def number_rules(draw: Any) -> Any:
    if draw(st.booleans()):
        return Deny(name=draw(NAMES), when=draw(WHEN), ranges=draw(RANGES), **draw(spans()))
    which = draw(st.sampled_from(["minimum", "maximum"]))
    return Monotone(name=draw(NAMES), feature=draw(st.sampled_from(["area", "rooms"])), **{which: draw(lines())})


def label_rules() -> Any:
    labels = st.lists(st.sampled_from(CLASSES), min_size=1, max_size=2).map(tuple)
    return st.builds(Deny, name=NAMES, when=WHEN, ranges=RANGES, labels=labels)


@st.composite
def policies(draw: Any, target: Target) -> Policy:
    """Any policy, those included that the contract would refuse: the guard alone must hold."""
    label = isinstance(target, Label)
    rules = st.lists(label_rules() if label else number_rules(), max_size=3).map(tuple)
    share = st.none() | st.floats(0.3, 1)
    values = st.sampled_from(CLASSES) if label else st.floats(0, 1) | BOUND
    named: dict[str, Any] = {"rules": draw(rules), "fallback": draw(st.none() | values)}
    named["beyond"] = draw(st.none() | st.floats(0, 3))
    named["confidence"] = None if target == PRICE else draw(share)
    if not label:
        named["digits"] = draw(st.none() | st.integers(-3, 6))
        named |= draw(st.just({}) | spans())
    return Policy(**named)


@st.composite
def cases(draw: Any) -> Any:
    """A guard, its policy, instances, and a model's answer to each."""
    target = draw(st.sampled_from([PRICE, RISK, ANIMAL]))
    policy = draw(policies(target))
    instances = draw(st.lists(INSTANCE, min_size=1, max_size=6))
    number = st.floats(-2000, 2000) if target == PRICE else st.floats(0, 1)
    width = {PRICE: 1, RISK: 2, ANIMAL: 3}[target]
    rows = st.lists(
        st.lists(number, min_size=width, max_size=width), min_size=len(instances), max_size=len(instances)
    )
    raw = np.array(draw(rows), dtype=draw(st.sampled_from([np.float32, np.float64])))
    if target == ANIMAL:
        raw = raw / np.maximum(raw.sum(axis=1, keepdims=True), 1e-6)
    made = Guard(unchecked(target, policy), CLASSES if target == ANIMAL else (), SEEN)
    return made, policy, target, instances, raw


def unchecked(target: Target, policy: Policy) -> Any:
    """A contract that was not asked whether it makes sense."""
    made = contract(target, Policy())
    msgspec.structs.force_setattr(made, "policy", policy)
    return made


def columns(instances: list[dict[str, Any]]) -> dict[str, Any]:
    made: dict[str, Any] = {"kind": np.array([i["kind"] for i in instances], dtype=object)}
    for name in ("area", "rooms"):
        made[name] = np.array([i[name] for i in instances], dtype=np.float64)
    return made


def holds(rule: Deny, instance: dict[str, Any]) -> bool:
    """A Deny's condition, as its docstring says it."""
    for name, values in rule.when.items():
        if instance[name] not in values:
            return False
    for name, (low, high) in rule.ranges.items():
        value = instance[name]
        if value is None or (low is not None and value < low) or (high is not None and value > high):
            return False
    return True


def allowed(policy: Policy, target: Target, instance: dict[str, Any]) -> tuple[float, float, set[str]]:
    """The smallest and largest number, and the denied labels, as the policy's words say it."""
    low, high = (0.0, 1.0) if target == RISK else (-math.inf, math.inf)
    pairs: list[Any] = [(policy.minimum, policy.maximum)]
    denied: set[str] = set()
    for rule in policy.rules:
        if isinstance(rule, Monotone):
            x = instance[rule.feature]
            for points, loosest, place in ((rule.minimum, min, 0), (rule.maximum, max, 1)):
                if points:
                    xs, ys = zip(*points, strict=True)
                    bound = loosest(ys) if x is None else float(np.interp(x, xs, ys))
                    pairs.append((bound, None) if place == 0 else (None, bound))
        elif holds(rule, instance):
            pairs.append((rule.minimum, rule.maximum))
            denied |= set(rule.labels)
    for least, most in pairs:
        low = low if least is None else max(low, least)
        high = high if most is None else min(high, most)
    return low, high, denied


@given(cases())
def test_nothing_is_ever_served_that_the_policy_forbids(case: Any) -> None:
    guarded, policy, target, instances, raw = case
    found = guarded.few(raw.tolist(), instances)
    for place, (instance, value) in enumerate(zip(instances, found.values, strict=True)):
        low, high, denied = allowed(policy, target, instance)
        shares = found.probabilities[place] if found.probabilities else None
        if shares is not None:
            likeliest = CLASSES[max(range(3), key=shares.__getitem__)]
            assert likeliest not in denied
            assert all(share == 0 for name, share in zip(CLASSES, shares, strict=True) if name in denied)
        if value is None:
            assert re.search(ABSTENTION, ",".join(found.fired[place]))
            continue
        assert not re.search(ABSTENTION, ",".join(found.fired[place]))
        if isinstance(value, str):
            assert value not in denied
            assert value == likeliest or found.fired[place][-1] == "fallback"
        else:
            slack = 1e-9 * max(1.0, abs(value))  # numpy interpolates with other roundings
            assert low - slack <= value <= high + slack


@given(cases())
def test_a_request_and_a_table_are_told_the_same(case: Any) -> None:
    guarded, _, _, instances, raw = case
    online, batch = guarded.few(raw.tolist(), instances), guarded.apply(columns(instances), raw)
    assert online.values == batch.values.tolist()
    assert online.fired == batch.fired
    if online.probabilities is not None:
        assert [shares or [0.0] * 3 for shares in online.probabilities] == batch.probabilities.tolist()


@given(cases())
def test_applying_the_policy_to_what_is_served_changes_nothing(case: Any) -> None:
    guarded, _, target, instances, raw = case
    for instance, answer in zip(instances, raw.tolist(), strict=True):
        given_ = answer if target == ANIMAL else answer[-1]
        once = guarded.one(instance, given_)
        if once.value is None or "fallback" in once.fired:
            continue  # an abstention is no answer to apply anything to
        again = guarded.one(instance, once.probabilities if target == ANIMAL else once.value)
        assert again == (once.value, once.probabilities, ())


@given(st.lists(st.floats(allow_nan=False, allow_infinity=False), min_size=1, max_size=20))
def test_without_a_policy_a_quantity_passes_untouched(values: list[float]) -> None:
    raw = np.array(values).reshape(-1, 1)
    for found in (guard(PRICE).few(raw.tolist()), guard(PRICE).apply({}, raw)):
        assert list(found.values) == values
        assert found.fired == [()] * len(values)


@given(st.lists(st.floats(-2, 2, width=32), min_size=1, max_size=20))
def test_bounds_alone_are_kept_online_as_in_the_table(values: list[float]) -> None:
    raw = np.array([[1 - v, v] for v in values], dtype=np.float32)
    made = guard(RISK, minimum=0, maximum=1)
    online, batch = made.few(raw.tolist()), made.apply({}, raw)
    assert online.values == batch.values.tolist()
    assert online.fired == batch.fired
    assert all(0 <= value <= 1 for value in online.values)
    for answer, value, fired in zip(raw.tolist(), online.values, online.fired, strict=True):
        assert made.untouched(answer) == (None if fired else value)


def test_nothing_passes_untouched_where_more_than_bounds_is_to_be_looked_at() -> None:
    assert guard(RISK, digits=2).untouched([0.4, 0.6]) is None
    assert guard(RISK, confidence=0.5).untouched([0.4, 0.6]) is None
    assert guard(RISK).untouched([0.0, math.nan]) is None
    assert guard(PRICE).untouched([math.inf]) is None
