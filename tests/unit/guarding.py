# SPDX-License-Identifier: Apache-2.0
"""A contract with a guard over it, and what that lets through: shared by the tests of the policy."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from dropfit.contract import Category, Contract, Label, Number, Policy, Probability, Quantity, Target
from dropfit.policy import Guard

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


def columns(instances: list[dict[str, Any]]) -> dict[str, Any]:
    made: dict[str, Any] = {"kind": np.array([i["kind"] for i in instances], dtype=object)}
    for name in ("area", "rooms"):
        made[name] = np.array([i[name] for i in instances], dtype=np.float64)
    return made
