# SPDX-License-Identifier: Apache-2.0
"""The output policy of labels."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np

from .conditions import Array, Condition, Row
from .contract import Contract, Deny
from .decisions import NO_NUMBER, Decision, Fired, Guarded, far_out
from .errors import ArtifactError
from .rules import Interval

SMALLEST = 5e-324
"""The least probability that is one: a model that gives none to any allowed label has no confidence in it."""


class Labels:
    """Decides about labels; arguments as dropfit.policy.Guard's.

    Attributes:
        needs_features: whether anything depends on the instance.
    """

    def __init__(self, contract: Contract, classes: tuple[str, ...], ranges: Mapping[str, Interval]) -> None:
        policy = contract.policy
        self._classes = classes
        self._least = policy.confidence or SMALLEST
        self._fallback = None if policy.fallback is None else str(policy.fallback)
        self._rules = [(r.name, Condition(r), frozenset(r.labels)) for r in policy.rules if isinstance(r, Deny)]
        self._beyond = far_out(contract, ranges)
        self.needs_features = bool(self._rules or self._beyond)

    def untouched(self, answer: Sequence[float]) -> None:
        """There is always something to decide: which label."""

    def few(self, answers: Sequence[Sequence[float]], instances: Sequence[Row]) -> Guarded:
        """Predictions of a few rows, without numpy."""
        rows = instances if self.needs_features else [{}] * len(answers)
        made = [self.one(row, shares) for row, shares in zip(rows, answers, strict=True)]
        return Guarded(
            [decision.value for decision in made],
            [decision.probabilities for decision in made],
            [decision.fired for decision in made],
        )

    def one(self, features: Row, answer: Sequence[float]) -> Decision:
        """One answer of any source."""
        if not math.isfinite(sum(answer)):
            raise ArtifactError(NO_NUMBER)
        strange = [far.name for far in self._beyond if far.of(features)]
        return self._decide(list(answer), self._holding(features), strange)

    def _holding(self, features: Row) -> list[tuple[str, frozenset[str]]]:
        return [(name, labels) for name, condition, labels in self._rules if condition.holds(features)]

    def fallback(self, features: Row) -> Decision:
        """The fallback label, unless a rule forbids it there."""
        value = self._fallback
        if value is None:
            return Decision(None, None, ())
        forbidding = tuple(name for name, labels in self._holding(features) if value in labels)
        return Decision(None, None, forbidding) if forbidding else Decision(value, None, ("fallback",))

    def batch(self, columns: Row, raw: Array) -> Guarded:
        """Predictions of a row batch."""
        rows = len(raw)
        rules = [(name, labels, condition.mask(columns, rows)) for name, condition, labels in self._rules]
        far = [(number.name, number.over(columns, rows)) for number in self._beyond]
        touched: Array = raw.max(axis=1).astype(np.float64) < self._least
        for mask in (*(mask for _, _, mask in rules), *(mask for _, mask in far)):
            touched |= mask
        values = np.array(self._classes, dtype=object)[raw.argmax(axis=1)]
        fired: Fired = [()] * rows
        shares = raw.astype(np.float64) if touched.any() else raw
        for row in np.flatnonzero(touched).tolist():
            holding = [(name, labels) for name, labels, mask in rules if mask[row]]
            decision = self._decide(shares[row].tolist(), holding, [name for name, mask in far if mask[row]])
            values[row], fired[row] = decision.value, decision.fired
            shares[row] = decision.probabilities or 0.0
        return Guarded(values, shares, fired)

    def _decide(self, shares: list[float], holding: list[tuple[str, frozenset[str]]], strange: list[str]) -> Decision:
        """The decision about a label.

        Args:
            shares: probabilities in the order of the classes.
            holding: the rules that hold for this instance: name, labels they deny.
            strange: the names of the numbers that are far outside, as the reply says them.
        """
        if not holding and not strange and (top := max(shares)) >= self._least:
            return Decision(self._classes[shares.index(top)], shares, ())
        fired: list[str] = []
        denied: frozenset[str] = frozenset()
        left = list(range(len(shares)))
        for name, labels in holding:
            best = max(left, key=shares.__getitem__, default=-1)
            denied |= labels
            left = [place for place in left if self._classes[place] not in denied]
            if best >= 0 and best not in left:
                fired.append(name)
        hopeless = max((shares[place] for place in left), default=0.0) < SMALLEST
        shares = _shared(shares, left)
        if not left:
            fired.append("denied")
        elif hopeless or max(shares) < self._least:
            fired.append("confidence")
        elif not strange:
            return Decision(self._classes[shares.index(max(shares))], shares, tuple(fired))
        fired += strange
        kept = shares if left else None
        if self._fallback is not None and self._fallback not in denied:
            return Decision(self._fallback, kept, (*fired, "fallback"))
        return Decision(None, kept, tuple(fired))


def _shared(shares: list[float], left: list[int]) -> list[float]:
    """The probabilities once the denied labels have none, in equal parts where no other label had any.

    Probabilities of which nothing is taken stay as they are, to the last bit.
    """
    allowed = set(left)
    known = sum(shares[place] for place in left)
    if known >= SMALLEST and not any(share for place, share in enumerate(shares) if place not in allowed):
        return shares
    even = 1 / max(1, len(left))
    return [
        ((share / known if known >= SMALLEST else even) if place in allowed else 0.0)
        for place, share in enumerate(shares)
    ]
