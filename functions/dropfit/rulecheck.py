# SPDX-License-Identifier: Apache-2.0
"""What is refused of an output policy when problem.py is loaded, with the rule named."""

from __future__ import annotations

import itertools
import math
import re
from collections.abc import Iterator, Sequence

from .conditions import Line
from .errors import ContractError
from .kinds import Category, Feature, Label, Number, Quantity, Target
from .rules import BUILT_IN, Deny, Monotone, Policy, bounds, rounded

NAME = re.compile(r"[A-Za-z][A-Za-z0-9_-]{0,62}\Z")


def check(policy: Policy, inputs: Sequence[Feature], target: Target) -> None:
    """Refuse a policy that does not fit its problem, naming the rule.

    Args:
        policy: of the problem.
        inputs: features and derived features.
        target: what is predicted.

    Raises:
        ContractError: listing all that is wrong.
    """
    names = [rule.name for rule in policy.rules]
    wrong = [f"rule {n!r}: letters, digits, _ and - only" for n in names if not NAME.match(n)]
    wrong += [f"rule {n}: the name is Dropfit's own" for n in names if n in BUILT_IN]
    wrong += [f"rule {n}: the name is given twice" for n in sorted({n for n in names if names.count(n) > 1})]
    known = {f.name: f for f in inputs}
    for rule in policy.rules:
        found = _denial(rule, known, target) if isinstance(rule, Deny) else _line(rule, known, target)
        wrong += [f"rule {rule.name}: {what}" for what in found]
    wrong += _settings(policy, inputs, target)
    if not wrong:  # what is left takes rules that are right by themselves
        wrong += _together(policy, target)
        wrong += _fallback(policy, target)
    if wrong:
        raise ContractError("policy: " + "; ".join(wrong))


def _settings(policy: Policy, inputs: Sequence[Feature], target: Target) -> Iterator[str]:
    if isinstance(target, Label):
        given = [n for n in ("minimum", "maximum", "digits") if getattr(policy, n) is not None]
        yield from (f"{n} is for numbers, and {target.name} is a label" for n in given)
    numbers = {n: getattr(policy, n) for n in ("minimum", "maximum", "confidence", "beyond")}
    yield from (f"{n} must be finite" for n, v in numbers.items() if v is not None and not math.isfinite(v))
    if policy.digits is not None and not -15 <= policy.digits <= 15:
        yield "digits lies between -15 and 15"
    if policy.confidence is not None:
        if isinstance(target, Quantity):
            yield f"confidence is for labels and probabilities, and {target.name} is a quantity"
        elif not 0 < policy.confidence <= 1:
            yield "confidence is a probability: more than 0, at most 1"
    if policy.max_shift is not None and not 0 < policy.max_shift <= 1:
        yield "max_shift lies above 0 and is 1 at most, or is None"
    if policy.beyond is not None:
        if policy.beyond < 0:
            yield "beyond is a share of a range's width: 0 or more"
        if not any(isinstance(f, Number) for f in inputs):
            yield "beyond needs a number among the features"


def _denial(rule: Deny, known: dict[str, Feature], target: Target) -> Iterator[str]:
    for name, values in rule.when.items():
        feature = known.get(name)
        if not isinstance(feature, Category):
            yield f"{name} is no category" if feature else f"there is no feature {name}"
            continue
        if not values:
            yield f"{name} has no values, so it never holds"
        strange = [v for v in values if v is not None and feature.values and v not in feature.values]
        yield from (f"{name} is never {v}" for v in strange)
    for name, (low, high) in rule.ranges.items():
        feature = known.get(name)
        if not isinstance(feature, Number):
            yield f"{name} is no number" if feature else f"there is no feature {name}"
        if low is None and high is None:
            yield f"{name} has no limit: leave it out"
        yield from _ordered(name, low, high)
    if isinstance(target, Label):
        if rule.minimum is not None or rule.maximum is not None or not rule.labels:
            yield f"{target.name} is a label: say which labels are denied, and nothing else"
        yield from (f"{label} is no label of {target.name}" for label in rule.labels if label not in target.values)
    elif rule.labels or (rule.minimum is None and rule.maximum is None):
        yield f"{target.name} is a number: give a minimum or a maximum, and no labels"
    yield from _ordered("the bound", rule.minimum, rule.maximum)


def _ordered(what: str, low: float | None, high: float | None) -> Iterator[str]:
    if any(v is not None and not math.isfinite(v) for v in (low, high)):
        yield f"{what} must be finite"
    elif low is not None and high is not None and low > high:
        yield f"{what}: {low:g} is above {high:g}"


def _line(rule: Monotone, known: dict[str, Feature], target: Target) -> Iterator[str]:
    feature = known.get(rule.feature)
    if not isinstance(feature, Number):
        yield f"{rule.feature} is no number" if feature else f"there is no feature {rule.feature}"
    if isinstance(target, Label):
        yield f"{target.name} is a label, and a monotone rule bounds numbers"
    if not rule.minimum and not rule.maximum:
        yield "give points of a minimum or of a maximum"
    for what, points in (("minimum", rule.minimum), ("maximum", rule.maximum)):
        xs, ys = [x for x, _ in points], [y for _, y in points]
        if len(points) == 1:
            yield f"the {what} has one point, and a line needs two"
        if not all(map(math.isfinite, (*xs, *ys))):
            yield f"the {what} must be finite"
        elif any(a >= b for a, b in itertools.pairwise(xs)):
            yield f"the {what}'s points must be in growing order of {rule.feature}"
        elif ys not in (sorted(ys), sorted(ys, reverse=True)):
            yield f"the {what} must rise or fall throughout"


def _together(policy: Policy, target: Target) -> Iterator[str]:
    """Rules that leave nothing to serve, alone or with what always holds."""
    always = [r for r in policy.rules if isinstance(r, Deny) and r.always]
    if isinstance(target, Label):
        never = {label for rule in always for label in rule.labels}
        for rule in policy.rules:
            if isinstance(rule, Deny) and never | set(rule.labels) >= set(target.values):
                yield f"rule {rule.name}: no label is left"
        return
    low, high = bounds(policy, target)
    low = max([low, *(r.minimum for r in always if r.minimum is not None)])
    high = min([high, *(r.maximum for r in always if r.maximum is not None)])
    if low > high:
        yield "no prediction is left between the bounds that always hold"
    for rule in policy.rules:
        least, most = _ends(rule) if isinstance(rule, Monotone) else (rule.minimum, rule.maximum)
        if (least is not None and least > high) or (most is not None and most < low):
            yield f"rule {rule.name}: no prediction is left between it and the bounds that always hold"
        if isinstance(rule, Monotone) and rule.minimum and rule.maximum:
            least_line, most_line = Line(rule.minimum), Line(rule.maximum)
            places = [x for x, _ in (*rule.minimum, *rule.maximum)]
            if any(least_line.at(x) > most_line.at(x) for x in places):
                yield f"rule {rule.name}: the minimum is above the maximum"


def _ends(rule: Monotone) -> tuple[float | None, float | None]:
    """The strictest bounds that a line ever sets."""
    return max((y for _, y in rule.minimum), default=None), min((y for _, y in rule.maximum), default=None)


def _fallback(policy: Policy, target: Target) -> Iterator[str]:
    value = policy.fallback
    if value is None:
        return
    if isinstance(target, Label):
        if value not in target.values:
            yield f"the fallback {value!r} is no label of {target.name}"
    elif isinstance(value, str) or not math.isfinite(value):
        yield f"the fallback {value!r} is no number, and {target.name} is one"
        return
    else:
        low, high = bounds(policy, target)
        if not low <= value <= high:
            yield f"the fallback {value:g} is out of the bounds"
        if policy.digits is not None and rounded(value, policy.digits) != value:
            yield f"the fallback {value:g} is not rounded to {policy.digits} digits"
    for rule in policy.rules:
        if isinstance(rule, Deny) and rule.always and _denies(rule, value):
            yield f"rule {rule.name}: it always denies the fallback {value}"


def _denies(rule: Deny, value: float | str) -> bool:
    if isinstance(value, str):
        return value in rule.labels
    too_small = rule.minimum is not None and value < rule.minimum
    return too_small or (rule.maximum is not None and value > rule.maximum)
