# SPDX-License-Identifier: Apache-2.0
"""The safeguard on outputs: what may be served, whatever the model says.

One order for every source: the adopter's rules, the bounds, rounding (which never leaves a bound again), abstention,
fallback. What an instance may be served is decided in one place, `_number` or `_label`; a batch finds by numpy the
rows that are not served as they are, and asks for these alone.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from .conditions import Array, Beyond, Condition, Denial, Row, Slope
from .contract import Contract, Deny, Label, Probability
from .errors import ArtifactError
from .rules import EXACT, Interval, bounds, rounded

Fired = list[tuple[str, ...]]
"""Per prediction, the names of the rules that changed it, in order."""
LARGEST = sys.float_info.max


class Guarded(NamedTuple):
    """Predictions as they may be served.

    Attributes:
        values: per row; None where the policy abstains.
        probabilities: per row those of the classes, for a label target, else None. Denied labels have 0, and the rest
            sums to 1. Where every class is denied all are 0: leave them out of a reply.
        fired: per row, the rules that fired. Rounding is form and no rule.
    """

    values: Any
    probabilities: Any
    fired: Fired


class Decision(NamedTuple):
    """The same of one instance."""

    value: float | str | None
    probabilities: list[float] | None
    fired: tuple[str, ...]


class Guard:
    """A version's policy, made ready once.

    Args:
        contract: of the version.
        classes: labels in the order of the model's probabilities, for a label target.
        ranges: number -> smallest and largest training value (`Encoding.ranges`).

    Attributes:
        needs_features: whether a decision depends on the instance; else `few` need not be given any.
    """

    def __init__(
        self, contract: Contract, classes: tuple[str, ...] = (), ranges: Mapping[str, Interval] | None = None
    ) -> None:
        policy, target = contract.policy, contract.target
        self._classes = classes
        self._is_label = isinstance(target, Label)
        self._column = -1 if isinstance(target, Probability) else 0
        self._digits, self._confidence = policy.digits, policy.confidence
        given = policy.fallback
        self._fallback = given if given is None or isinstance(given, str) else float(given)
        self._low, self._high = bounds(policy, target)
        self._denials = [
            (r.name, Condition(r), frozenset(r.labels)) for r in policy.rules if isinstance(r, Deny) and r.labels
        ]
        self._limits = (
            [] if self._is_label else [Denial(r) if isinstance(r, Deny) else Slope(r) for r in policy.rules]
        )
        self._beyond = [
            Beyond(f.name, ranges[f.name], policy.beyond)
            for f in contract.inputs
            if policy.beyond is not None and ranges and f.name in ranges
        ]
        self.needs_features = bool(policy.rules or self._beyond)
        self._plain = (
            not (self.needs_features or self._is_label) and self._digits is None and self._confidence is None
        )
        # Comparing with these also finds what is no number at all.
        self._inside = max(self._low, -LARGEST), min(self._high, LARGEST)

    def apply(self, columns: Row, raw: Array) -> Guarded:
        """A batch.

        Args:
            columns: every feature, completed, and the derived ones, shape (rows,) each; may be empty unless
                `needs_features`.
            raw: what the model answers: probabilities (rows, classes), or values (rows, 1). No NaN.

        Returns:
            values: float64 of shape (rows,), or objects for labels and wherever something abstained; probabilities:
            shape (rows, classes).
        """
        return self._label_batch(columns, raw) if self._is_label else self._number_batch(columns, raw)

    def few(self, raw: Array, instances: Sequence[Row] = ()) -> Guarded:
        """The same of a request's few rows, as lists, in microseconds.

        Args:
            raw: as for `apply`.
            instances: one mapping per row (feature -> str, float or None), pinned and derived features included;
                needed if `needs_features`.

        Raises:
            ArtifactError: when the model's answer is no number.
        """
        answers: list[list[float]] = raw.tolist()
        if self._plain:
            values = [answer[self._column] for answer in answers]
            low, high = self._inside
            for value in values:
                if not low <= value <= high:
                    break
            else:
                return Guarded(values, None, [()] * len(values))
        if not all(math.isfinite(number) for answer in answers for number in answer):
            raise ArtifactError("the model answers no number")
        rows = instances if self.needs_features else [{}] * len(answers)
        made = [
            self.one(row, answer if self._is_label else answer[self._column])
            for row, answer in zip(rows, answers, strict=True)
        ]
        shares = [decision.probabilities for decision in made] if self._is_label else None
        return Guarded([decision.value for decision in made], shares, [decision.fired for decision in made])

    def one(self, features: Row, answer: float | Sequence[float]) -> Decision:
        """One answer of any source: a model's row, a group's mean.

        Args:
            features: feature -> str, float, or None where missing; pinned and derived ones where known. A feature
                that is not in it is unknown: whatever a rule might then deny is denied.
            answer: a number, or for a label target the probabilities in the order of the classes.
        """
        strange = [far.name for far in self._beyond if far.of(features)] if self._beyond else []
        if isinstance(answer, (int, float)):
            return self._number(answer, [(rule.name, *rule.of(features)) for rule in self._limits], strange)
        holding = [(name, labels) for name, condition, labels in self._denials if condition.holds(features)]
        return self._label(list(answer), holding, strange)

    def fallback(self, features: Row) -> Decision:
        """What is served where nothing else can answer: the fallback value, unless a rule forbids it there.

        Args:
            features: as for `one`.
        """
        value = self._fallback
        if value is None:
            return Decision(None, None, ())
        if isinstance(value, str):
            forbidding = [
                n for n, condition, labels in self._denials if value in labels and condition.holds(features)
            ]
        else:
            spans = [(rule.name, *rule.of(features)) for rule in self._limits]
            forbidding = [name for name, low, high in spans if not low <= value <= high]
        return Decision(None, None, tuple(forbidding)) if forbidding else Decision(value, None, ("fallback",))

    def _number(self, value: float, spans: Sequence[tuple[str, float, float]], strange: list[str]) -> Decision:
        """The decision about a number.

        Args:
            value: what was answered.
            spans: what each rule leaves for this instance: name, smallest, largest.
            strange: the names of the numbers that are far outside, as the reply says them.
        """
        fired: list[str] = []
        low, high = self._low, self._high
        for name, least, most in (*spans, ("minimum", low, math.inf), ("maximum", -math.inf, high)):
            if not least <= value <= most:
                value = least if value < least else most
                fired.append(name)
            low, high = max(low, least), min(high, most)
        if self._digits is not None:
            value = rounded(value, self._digits)
        value = min(max(value, low), high)
        if low > high:
            fired.append("denied")
        elif self._confidence is not None and max(value, 1 - value) < self._confidence:
            fired.append("confidence")
        elif not strange:
            return Decision(value, None, tuple(fired))
        fired += strange
        other = self._fallback
        if isinstance(other, float) and low <= other <= high:
            return Decision(other, None, (*fired, "fallback"))
        return Decision(None, None, tuple(fired))

    def _label(self, shares: list[float], holding: list[tuple[str, frozenset[str]]], strange: list[str]) -> Decision:
        """The decision about a label.

        Args:
            shares: probabilities in the order of the classes.
            holding: the rules that hold for this instance: name, labels they deny.
            strange: as for `_number`.
        """
        fired: list[str] = []
        denied: frozenset[str] = frozenset()
        left = list(range(len(shares)))
        for name, labels in holding:
            best = max(left, key=shares.__getitem__, default=-1)
            denied |= labels
            left = [place for place in left if self._classes[place] not in denied]
            if best >= 0 and best not in left:
                fired.append(name)
        known = sum(shares[place] for place in left)
        shares = _shared(shares, left, known)
        if not left:
            fired.append("denied")
        elif not known or (self._confidence is not None and max(shares) < self._confidence):
            fired.append("confidence")
        elif not strange:
            return Decision(self._classes[max(left, key=shares.__getitem__)], shares, tuple(fired))
        fired += strange
        kept = shares if left else None
        if isinstance(self._fallback, str) and self._fallback not in denied:
            return Decision(self._fallback, kept, (*fired, "fallback"))
        return Decision(None, kept, tuple(fired))

    def _number_batch(self, columns: Row, raw: Array) -> Guarded:
        values = raw[:, self._column].astype(np.float64)
        rows = len(values)
        spans = [(rule.name, *rule.over(columns, rows)) for rule in self._limits]
        low, high = np.full(rows, self._low), np.full(rows, self._high)
        for _, least, most in spans:
            low, high = np.maximum(low, least), np.minimum(high, most)
        served = values if self._digits is None else _rounded(values, self._digits)
        served = np.minimum(np.maximum(served, low), high)
        far = [(number.name, number.over(columns, rows)) for number in self._beyond]
        touched = np.logical_or.reduce([values < low, values > high, low > high, *(mask for _, mask in far)])
        if self._confidence is not None:
            touched |= np.maximum(served, 1 - served) < self._confidence
        fired: Fired = [()] * rows
        for row in np.flatnonzero(touched).tolist():
            there = [(name, float(least[row]), float(most[row])) for name, least, most in spans]
            decision = self._number(float(values[row]), there, [name for name, mask in far if mask[row]])
            if decision.value is None and served.dtype != object:
                served = served.astype(object)
            served[row], fired[row] = decision.value, decision.fired
        return Guarded(served, None, fired)

    def _label_batch(self, columns: Row, raw: Array) -> Guarded:
        rows = len(raw)
        rules = [(name, labels, condition.mask(columns, rows)) for name, condition, labels in self._denials]
        far = [(number.name, number.over(columns, rows)) for number in self._beyond]
        touched = np.zeros(rows, dtype=bool)
        for mask in (*(mask for _, _, mask in rules), *(mask for _, mask in far)):
            touched |= mask
        if self._confidence is not None:
            touched |= raw.max(axis=1).astype(np.float64) < self._confidence
        values = np.array(self._classes, dtype=object)[raw.argmax(axis=1)]
        fired: Fired = [()] * rows
        shares = raw.astype(np.float64) if touched.any() else raw
        for row in np.flatnonzero(touched).tolist():
            holding = [(name, labels) for name, labels, mask in rules if mask[row]]
            decision = self._label(shares[row].tolist(), holding, [name for name, mask in far if mask[row]])
            values[row], fired[row] = decision.value, decision.fired
            shares[row] = decision.probabilities or 0.0
        return Guarded(values, shares, fired)


def _shared(shares: list[float], left: list[int], known: float) -> list[float]:
    """Probabilities with those of the denied labels given to the places that are left."""
    allowed = set(left)
    if not any(share for place, share in enumerate(shares) if place not in allowed):
        return shares
    even = 1 / max(1, len(left))
    return [((share / known if known else even) if place in allowed else 0.0) for place, share in enumerate(shares)]


def _rounded(values: Array, digits: int) -> Array:
    """`rules.rounded` of an array."""
    scale = 10.0 ** abs(digits)
    with np.errstate(over="ignore"):
        scaled = values * scale if digits >= 0 else values / scale
        whole = np.rint(scaled)
        made: Array = np.where(np.abs(scaled) < EXACT, whole / scale if digits >= 0 else whole * scale, values)
    return made
