# SPDX-License-Identifier: Apache-2.0
"""How far the predictions of a table lie from those of another: one number from 0 (alike) to 1 (nothing in common).

Both measures are metrics between distributions, and compare tables of unlike sizes: A. L. Gibbs and F. E. Su, "On
choosing and bounding probability metrics", International Statistical Review 70 (2002).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

BINS = 100
"""Numbers are counted between so many quantiles of the older table: what is measured is exact to 1 / BINS."""
ABSTAINED = -1
"""Where predictions that the policy withheld are counted, as if they were smaller than every number."""


class Count(NamedTuple):
    """How often a prediction occurs.

    Attributes:
        place: of a number its bin, counted from 0; of a label nothing is to be read from it.
        before: rows of the older table.
        after: rows of the newer one.
    """

    place: int
    before: int
    after: int


def kolmogorov(counts: Sequence[Count]) -> float:
    """The largest difference of the two cumulative distributions: the statistic of Kolmogorov and Smirnov.

    An abstention is a value too, below all others.
    """
    before, after = (sum(c.before for c in counts), sum(c.after for c in counts))
    largest, below, under = 0.0, 0, 0
    for count in sorted(counts):
        below += count.before
        under += count.after
        largest = max(largest, abs(_share(below, before) - _share(under, after)))
    return largest


def total_variation(counts: Sequence[Count]) -> float:
    """The share of rows that would have to be given another label, an abstention being one."""
    before, after = (sum(c.before for c in counts), sum(c.after for c in counts))
    return sum(abs(_share(c.before, before) - _share(c.after, after)) for c in counts) / 2


def _share(part: int, whole: int) -> float:
    return part / whole if whole else 0.0
