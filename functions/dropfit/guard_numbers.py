# SPDX-License-Identifier: Apache-2.0
"""The output policy of numbers and probabilities."""

from __future__ import annotations

import math
import sys
from collections.abc import Mapping, Sequence

import numpy as np

from .conditions import Array, Denial, Row, Slope
from .contract import Contract, Deny, Probability
from .decisions import NO_NUMBER, Decision, Fired, Guarded, far_out
from .errors import ArtifactError
from .rules import EXACT, Interval, bounds, rounded

LARGEST = sys.float_info.max


class Numbers:
    """Decides about numbers; arguments as dropfit.policy.Guard's.

    Attributes:
        needs_features: whether anything depends on the instance.
    """

    def __init__(self, contract: Contract, ranges: Mapping[str, Interval]) -> None:
        policy = contract.policy
        self._low, self._high = bounds(policy, contract.target)
        self._column = -1 if isinstance(contract.target, Probability) else 0
        self._digits, self._confidence = policy.digits, policy.confidence
        self._fallback = None if policy.fallback is None else float(policy.fallback)
        self._rules = [Denial(r) if isinstance(r, Deny) else Slope(r) for r in policy.rules]
        self._beyond = far_out(contract, ranges)
        self.needs_features = bool(self._rules or self._beyond)
        self._plain = not self.needs_features and self._digits is None and self._confidence is None
        # What does not lie between these is out of bounds, or no number at all.
        self._inside = max(self._low, -LARGEST), min(self._high, LARGEST)

    def untouched(self, answer: Sequence[float]) -> float | None:
        """The value of an answer that is served as it is; None where there is more to decide than two comparisons."""
        value = answer[self._column]
        return value if self._plain and self._inside[0] <= value <= self._inside[1] else None

    def few(self, answers: Sequence[Sequence[float]], instances: Sequence[Row]) -> Guarded:
        """Predictions of a few rows: without numpy, whose every call costs as much as deciding about ten rows."""
        values = [answer[self._column] for answer in answers]
        if self._plain:
            low, high = self._inside
            for value in values:
                if not low <= value <= high:
                    break
            else:
                return Guarded(values, None, [()] * len(values))
        rows = instances if self.needs_features else [{}] * len(values)
        made = [self.one(row, value) for row, value in zip(rows, values, strict=True)]
        return Guarded([decision.value for decision in made], None, [decision.fired for decision in made])

    def one(self, features: Row, answer: float) -> Decision:
        """One answer of any source."""
        if not math.isfinite(answer):
            raise ArtifactError(NO_NUMBER)
        strange = [far.name for far in self._beyond if far.of(features)]
        return self._decide(answer, [(rule.name, *rule.of(features)) for rule in self._rules], strange)

    def fallback(self, features: Row) -> Decision:
        """The fallback value, unless a rule forbids it there."""
        value = self._fallback
        if value is None:
            return Decision(None, None, ())
        spans = [(rule.name, *rule.of(features)) for rule in self._rules]
        forbidding = tuple(name for name, low, high in spans if not low <= value <= high)
        return Decision(None, None, forbidding) if forbidding else Decision(value, None, ("fallback",))

    def batch(self, columns: Row, raw: Array) -> Guarded:
        """Predictions of a row batch."""
        values = raw[:, self._column].astype(np.float64)
        rows = len(values)
        spans = [(rule.name, *rule.over(columns, rows)) for rule in self._rules]
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
            decision = self._decide(float(values[row]), there, [name for name, mask in far if mask[row]])
            if decision.value is None and served.dtype != object:
                served = served.astype(object)
            served[row], fired[row] = decision.value, decision.fired
        return Guarded(served, None, fired)

    def _decide(self, value: float, spans: Sequence[tuple[str, float, float]], strange: list[str]) -> Decision:
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


def _rounded(values: Array, digits: int) -> Array:
    """`rules.rounded` of an array."""
    scale = 10.0 ** abs(digits)
    with np.errstate(over="ignore"):
        scaled = values * scale if digits >= 0 else values / scale
        whole = np.rint(scaled)
        made: Array = np.where(np.abs(scaled) < EXACT, whole / scale if digits >= 0 else whole * scale, values)
    return made
