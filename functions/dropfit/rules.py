# SPDX-License-Identifier: Apache-2.0
"""The words an output policy is written in. Import them from dropfit.contract; dropfit.policy applies them."""

from __future__ import annotations

import math

import msgspec

from .kinds import Probability, Target, ordered

Points = tuple[tuple[float, float], ...]
Interval = tuple[float, float]

BUILT_IN = ("minimum", "maximum", "confidence", "beyond", "denied", "fallback")
"""Names that the reply gives to what is no rule of the adopter's."""
EXACT = 2.0**50
"""Scaled numbers beyond it are whole anyway."""
ABSTENTION = r"(^|,)(confidence|denied|beyond:[A-Za-z0-9_]+)$"
"""Fired rules, joined by commas, end like this exactly where nothing is served. RE2 and Python read it alike."""


class Deny(msgspec.Struct, frozen=True, kw_only=True, tag="deny", omit_defaults=True):
    """What may not be served where a condition holds. Without a condition it holds always.

    A missing value fulfils a condition only where `when` lists None.

    Attributes:
        name: what the reply says when the rule changed the prediction.
        when: category -> the values for which the rule holds; None stands for missing.
        ranges: number -> (smallest, largest) for which it holds, inclusive; None is no limit.
        labels: labels that are not served there; the most probable of the others is.
        minimum: smaller predictions are raised to it there.
        maximum: larger predictions are lowered to it there.
    """

    name: str
    when: dict[str, tuple[str | None, ...]] = {}
    ranges: dict[str, tuple[float | None, float | None]] = {}
    labels: tuple[str, ...] = ()
    minimum: float | None = None
    maximum: float | None = None

    @property
    def always(self) -> bool:
        """Whether it has no condition."""
        return not self.when and not self.ranges


class Monotone(msgspec.Struct, frozen=True, kw_only=True, tag="monotone", omit_defaults=True):
    """Bounds that rise, or fall, with a number: straight lines between points, constant beyond the ends.

    Where the number is missing the loosest bound of the line holds.

    Attributes:
        name: what the reply says when the rule changed the prediction.
        feature: the number.
        minimum: points (number, smallest prediction).
        maximum: points (number, largest prediction).
    """

    name: str
    feature: str
    minimum: Points = ()
    maximum: Points = ()


Rule = Deny | Monotone


class Policy(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What may be served, whatever the model says. Applied in this order: rules, bounds, rounding, abstention.

    Attributes:
        rules: what may not be served under a condition.
        minimum: smaller predictions are raised to it, and the reply says `minimum`. A probability's is 0 at least.
        maximum: larger predictions are lowered to it, and the reply says `maximum`. A probability's is 1 at most.
        digits: predictions are rounded to so many decimals, never out of a bound again.
        confidence: abstain where the most probable label, or of a probability p the larger of p and 1 - p, is less
            probable than this (0 to 1).
        beyond: abstain where a number lies further outside the range seen in training than so many widths of it.
        fallback: what is served instead of an abstention, unless a rule forbids it there, and where nothing else
            can answer. Without it the value is null.
        max_shift: a table waits for a person when its predictions lie further than this (0 to 1) from those of the
            served one: Kolmogorov-Smirnov statistic of numbers, total variation of labels. None is no limit.
    """

    rules: tuple[Rule, ...] = ()
    minimum: float | None = None
    maximum: float | None = None
    digits: int | None = None
    confidence: float | None = None
    beyond: float | None = None
    fallback: float | str | None = None
    max_shift: float | None = 0.4

    def __post_init__(self) -> None:
        """Refuse bounds that nothing can keep."""
        ordered("policy", self.minimum, self.maximum)


def bounds(policy: Policy, target: Target) -> Interval:
    """The smallest and the largest prediction of all, infinite where there is no bound."""
    least, most = (0.0, 1.0) if isinstance(target, Probability) else (-math.inf, math.inf)
    low = least if policy.minimum is None else max(float(policy.minimum), least)
    return low, most if policy.maximum is None else min(float(policy.maximum), most)


def rounded(value: float, digits: int) -> float:
    """A number to so many decimals, ties to even, negative digits to tens: always the same of what it gave once."""
    scale = 10.0 ** abs(digits)
    scaled = value * scale if digits >= 0 else value / scale
    if not -EXACT < scaled < EXACT:
        return value
    return round(scaled) / scale if digits >= 0 else round(scaled) * scale
