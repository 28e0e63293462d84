# SPDX-License-Identifier: Apache-2.0
"""What the output policy says of predictions: of one instance, and of many."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from .conditions import Beyond
from .contract import Contract
from .rules import Interval

NO_NUMBER = "the model answers no number"
Fired = list[tuple[str, ...]]
"""Per prediction, the names of the rules that changed it, in order."""


class Guarded(NamedTuple):
    """Predictions as they may be served.

    Attributes:
        values: per row; None where the policy abstains.
        probabilities: per row those of the classes, for a label target, else None. Denied labels have 0, and the rest
            sums to 1. Where every class is denied there are none: zeros in an array, None in a list.
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


def far_out(contract: Contract, ranges: Mapping[str, Interval]) -> list[Beyond]:
    """What the policy's `beyond` says of each number that training saw."""
    share = contract.policy.beyond
    if share is None:
        return []
    return [Beyond(f.name, ranges[f.name], share) for f in contract.inputs if f.name in ranges]
