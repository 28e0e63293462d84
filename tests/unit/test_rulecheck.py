# SPDX-License-Identifier: Apache-2.0
"""A policy that does not fit its problem is refused when problem.py is loaded, with the rule named."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import msgspec
import pytest
from fakes import tea

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
from dropfit.errors import ContractError
from dropfit.policy import Guard

DRUNK, PRICE = Probability(name="drunk"), Quantity(name="price")
VERDICT = Label(name="verdict", values=("awful", "fair", "good"))
RISING = ((0, 1), (10, 5))


def refusal(target: Target, **policy: Any) -> str:
    with pytest.raises(ContractError) as refused:
        tea(target=target, policy=Policy(**policy))
    return str(refused.value)


def deny(**named: Any) -> dict[str, Any]:
    return {"rules": (Deny(name="rule_7", **named),)}


def line(**named: Any) -> dict[str, Any]:
    return {"rules": (Monotone(name="rule_7", **{"feature": "minutes", **named}),)}


RULES: list[tuple[Target, dict[str, Any], str]] = [
    (PRICE, deny(when={"sugar": ("lots",)}, minimum=1), "there is no feature sugar"),
    (PRICE, deny(ranges={"sugar": (1, 2)}, minimum=1), "there is no feature sugar"),
    (PRICE, deny(when={"minutes": ("1",)}, minimum=1), "minutes is no category"),
    (PRICE, deny(ranges={"leaf": (1, 2)}, minimum=1), "leaf is no number"),
    (PRICE, deny(when={"cup": ()}, minimum=1), "cup has no values"),
    (PRICE, deny(when={"cup": ("huge",)}, minimum=1), "cup is never huge"),
    (PRICE, deny(ranges={"minutes": (None, None)}, minimum=1), "minutes has no limit"),
    (PRICE, deny(ranges={"minutes": (2, 1)}, minimum=1), "minutes: 2 is above 1"),
    (PRICE, deny(minimum=2, maximum=1), "the bound: 2 is above 1"),
    (PRICE, deny(minimum=float("nan")), "the bound must be finite"),
    (PRICE, deny(), "give a minimum or a maximum"),
    (PRICE, deny(labels=("good",)), "price is a number"),
    (VERDICT, deny(minimum=1), "verdict is a label"),
    (VERDICT, deny(labels=("superb",)), "superb is no label of verdict"),
    (VERDICT, deny(when={"cup": ("small",)}, labels=VERDICT.values), "no label is left"),
    (VERDICT, line(minimum=RISING), "a monotone rule bounds numbers"),
    (PRICE, line(), "give points"),
    (PRICE, line(feature="leaf", minimum=RISING), "leaf is no number"),
    (PRICE, line(feature="sugar", minimum=RISING), "there is no feature sugar"),
    (PRICE, line(minimum=((0, 1),)), "the minimum has one point"),
    (PRICE, line(maximum=((0, 1), (0, 2))), "the maximum's points must be in growing order of minutes"),
    (PRICE, line(maximum=((0, 1), (1, 3), (2, 2))), "the maximum must rise or fall throughout"),
    (PRICE, line(maximum=((0, 1), (1, float("inf")))), "the maximum must be finite"),
    (PRICE, line(minimum=RISING, maximum=((0, 3), (10, 4))), "the minimum is above the maximum"),
    (PRICE, {**line(minimum=RISING), "maximum": 4}, "no prediction is left between it and the bounds"),
    (PRICE, {**deny(ranges={"minutes": (1, 2)}, maximum=4), "minimum": 5}, "no prediction is left between it and"),
    (DRUNK, deny(ranges={"minutes": (1, 2)}, minimum=1.5), "no prediction is left between it and the bounds"),
    (PRICE, {**deny(maximum=4), "fallback": 5}, "it always denies the fallback 5"),
    (VERDICT, {**deny(labels=("good",)), "fallback": "good"}, "it always denies the fallback good"),
]


@pytest.mark.parametrize(("target", "policy", "why"), RULES, ids=[why for _, _, why in RULES])
def test_a_rule_that_cannot_be_meant_is_refused_by_name(target: Target, policy: dict[str, Any], why: str) -> None:
    refused = refusal(target, **policy)
    assert "rule rule_7: " in refused
    assert why in refused


SETTINGS: list[tuple[Target, dict[str, Any], str]] = [
    (VERDICT, {"minimum": 0}, "minimum is for numbers, and verdict is a label"),
    (VERDICT, {"digits": 0}, "digits is for numbers, and verdict is a label"),
    (PRICE, {"confidence": 0.5}, "confidence is for labels and probabilities, and price is a quantity"),
    (DRUNK, {"confidence": 1.5}, "confidence is a probability"),
    (VERDICT, {"confidence": 0.0}, "confidence is a probability"),
    (PRICE, {"beyond": -1.0}, "beyond is a share"),
    (PRICE, {"minimum": float("inf")}, "minimum must be finite"),
    (PRICE, {"digits": 400}, "digits lies between"),
    (VERDICT, {"fallback": "superb"}, "the fallback 'superb' is no label of verdict"),
    (VERDICT, {"fallback": 1.0}, "the fallback 1.0 is no label of verdict"),
    (PRICE, {"fallback": "good"}, "the fallback 'good' is no number"),
    (PRICE, {"fallback": float("nan")}, "the fallback nan is no number"),
    (PRICE, {"minimum": 1, "fallback": 0}, "the fallback 0 is out of the bounds"),
    (DRUNK, {"fallback": 1.5}, "the fallback 1.5 is out of the bounds"),
    (PRICE, {"digits": 0, "fallback": 0.5}, "the fallback 0.5 is not rounded to 0 digits"),
    (DRUNK, {"minimum": 2}, "no prediction is left between the bounds"),
]


@pytest.mark.parametrize(("target", "policy", "why"), SETTINGS, ids=[why for _, _, why in SETTINGS])
def test_a_setting_that_does_not_fit_is_refused_by_name(target: Target, policy: dict[str, Any], why: str) -> None:
    assert why in refusal(target, **policy)


@pytest.mark.parametrize("name", ["minimum", "maximum", "confidence", "fallback", "denied", "beyond"])
def test_a_rule_cannot_have_a_name_that_is_dropfits_own(name: str) -> None:
    assert f"rule {name}: the name is Dropfit's own" in refusal(PRICE, rules=(Deny(name=name, minimum=1),))


@pytest.mark.parametrize("name", ["", "a,b", "beyond:leaf", "two words", "x" * 64])
def test_a_rules_name_is_one_word(name: str) -> None:
    assert f"rule {name!r}: letters" in refusal(PRICE, rules=(Deny(name=name, minimum=1),))


def test_two_rules_cannot_have_one_name() -> None:
    rules = (Deny(name="cheap", minimum=1), Deny(name="cheap", maximum=9))
    assert "rule cheap: the name is given twice" in refusal(PRICE, rules=rules)


def test_rules_that_always_hold_cannot_deny_every_label_together() -> None:
    rules = (Deny(name="a", labels=("awful", "fair")), Deny(name="b", when={"cup": ("small",)}, labels=("good",)))
    assert "rule b: no label is left" in refusal(VERDICT, rules=rules)


def test_everything_that_is_wrong_is_said_at_once() -> None:
    refused = refusal(PRICE, rules=(Deny(name="a"), Monotone(name="b", feature="leaf")), confidence=0.5)
    for what in ("rule a: ", "rule b: leaf is no number", "rule b: give points", "confidence"):
        assert what in refused


def test_a_number_far_outside_needs_a_number() -> None:
    plain = tea().contract
    with pytest.raises(ContractError, match="beyond needs a number among the features"):
        Contract(
            name="tea",
            title="?",
            features=(plain.feature("leaf"),),
            key=("leaf",),
            target=PRICE,
            policy=Policy(beyond=1.0),
        )


def test_a_policy_travels_in_the_manifest() -> None:
    rules = (
        Deny(name="a", when={"cup": ("small", None)}, ranges={"strength": (1, None)}, maximum=9),
        Monotone(name="b", feature="minutes", minimum=RISING),
    )
    contract = tea(target=PRICE, policy=Policy(rules=rules, minimum=0, digits=2, beyond=0.5, fallback=2)).contract
    assert msgspec.json.decode(msgspec.json.encode(contract), type=Contract) == contract


def test_rules_may_speak_of_derived_features() -> None:
    assert isinstance(tea().inputs[-1], Number)
    assert tea(target=PRICE, policy=Policy(rules=(Monotone(name="b", feature="strength", maximum=RISING),)))


def documented() -> list[Policy]:
    """The policies that docs/adapt.md shows, as its reader would write them."""
    page = (Path(__file__).parents[2] / "docs" / "adapt.md").read_text()
    section = page.split("## The policy\n")[1].split("\n## ")[0]
    names: dict[str, Any] = {}
    found = []
    for block in re.findall(r"^```python\n(.*?)^```", section, re.M | re.S):
        exec(block, names)  # noqa: S102 (our own page)
        found.append(names["policy"])
    return found


def test_the_documents_house_price_and_cow_are_as_they_say() -> None:
    homes, animals = documented()
    kind, area, weight = Category(name="kind"), Number(name="area"), Number(name="weight_kg")
    price = Contract(
        name="homes",
        title="?",
        features=(kind, area),
        key=("kind", "area"),
        target=Quantity(name="price"),
        policy=homes,
    )
    guard = Guard(price, ranges={"area": (20.0, 220.0)})
    assert guard.one({"kind": "house", "area": 120.0}, -5000.0).value == 0
    assert guard.one({"kind": "house", "area": 120.0}, 312_345.0).value == 312_300
    assert guard.one({"kind": "garage", "area": 20.0}, 99_000.0) == (80_000, None, ("garages_are_cheap",))
    assert guard.one({"kind": "house", "area": 20.0}, 9e6) == (400_000, None, ("size_carries_price",))
    assert guard.one({"kind": "house", "area": 400.0}, 9e5) == (None, None, ("beyond:area",))
    labels = ("cat", "cow", "dog", "unknown")
    animal = Contract(
        name="animals",
        title="?",
        features=(weight,),
        key=("weight_kg",),
        target=Label(name="animal", values=labels),
        policy=animals,
    )
    guard = Guard(animal, labels[:3])
    assert guard.one({"weight_kg": 600.0}, [0.5, 0.25, 0.25]) == ("cow", [0.0, 1.0, 0.0], ("no_cow_is_a_cat",))
    assert guard.one({"weight_kg": 5.0}, [0.7, 0.2, 0.1]).value == "cat"
    assert guard.one({"weight_kg": 5.0}, [0.5, 0.3, 0.2])[::2] == ("unknown", ("confidence", "fallback"))
