# SPDX-License-Identifier: Apache-2.0
"""Any policy, any answer, any instance: what is served keeps to the policy, by every door."""

from __future__ import annotations

import math
import re
from typing import Any

import msgspec
import numpy as np
from guarding import ANIMAL, CLASSES, PRICE, RISK, SEEN, columns, contract, guard
from hypothesis import given
from hypothesis import strategies as st

from dropfit.contract import Deny, Label, Monotone, Policy, Target
from dropfit.policy import Guard
from dropfit.rules import ABSTENTION

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
