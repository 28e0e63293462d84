# SPDX-License-Identifier: Apache-2.0
"""The cold-start answer: the mean prediction of a coarser group, for keys and categories that were never seen.

A group is a beginning of the key, as `Contract.backoff` declares it. Its mean is weighted by how often each key came
in the accepted data, because a new request of the group is most likely like those that came most often: unweighted, a
flight that went once a year would count as much as one that goes ten times a day. Where the predictions of the rows
are calibrated, so is their weighted mean.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from .contract import Contract
from .keys import SEPARATOR, normal
from .records import Row

if TYPE_CHECKING:
    from .keyset import Axes

Array = np.ndarray[Any, Any]
CHUNK = 8_192
"""Groups whose rows are made at a time."""


def group_key(values: Sequence[Any]) -> str:
    """The text of a group, for the job and for serving: how many columns of the key it fixes, a tab, their values.

    The values are written as in a key; the group of all keys is `0` and a tab.
    """
    return f"{len(values)}{SEPARATOR}{SEPARATOR.join(map(normal, values))}"


class Groups:
    """The mean prediction of every declared group, summed one column of predictions at a time.

    Args:
        contract: names the key and its back-off groups.
        axes: of the key's columns.
        numbers: the keys, shape (keys,). Their order decides the last bit of a mean: give one and the same.
        weights: how often each key came, shape (keys,); 0 for one whose prediction does not count, because the policy
            left none. A group of these alone is left out.
        classes: labels in the order of their probabilities, for a label target.
        most: so many groups at most are worth making, the coarsest first, and of one level the most frequent.
    """

    def __init__(
        self,
        contract: Contract,
        axes: Axes,
        numbers: Array,
        weights: Array,
        classes: tuple[str, ...] = (),
        most: int = 2**31,
    ) -> None:
        self._axes, self._classes = axes, classes
        self._weights = np.asarray(weights, dtype=np.float64)
        self._levels: list[_Level] = []
        self.count = 0
        """Groups there are, those beyond `most` included."""
        self._counting = self._weights > 0
        for columns in sorted(map(len, contract.backoff)):
            begun, member = _members(axes.beginnings(numbers, columns))
            total = np.bincount(member, weights=self._weights, minlength=len(begun))
            kept = np.argsort(-total, kind="stable")[: int((total > 0).sum())]
            kept, self.count = kept[: max(0, most - self.count)], self.count + len(kept)
            sums = np.empty((len(kept), len(classes) or 1))
            self._levels.append(_Level(columns, begun[kept], kept, member, total[kept], sums))

    def add(self, column: Array, place: int = 0) -> None:
        """The predictions of all keys: a number's, or the probabilities of the class at that place.

        Args:
            column: float64, shape (keys,); NaN where it does not count.
            place: of the class.
        """
        weighted = np.where(self._counting, column, 0.0)
        weighted *= self._weights
        for level in self._levels:
            level.sums[:, place] = np.bincount(level.member, weights=weighted)[level.kept]

    def __iter__(self) -> Iterator[tuple[str, Row]]:
        """(group key, row), the coarsest first, of one level the most frequent first.

        A row is of a number the weighted mean; of a label the weighted mean of the probabilities, and the most
        probable label, the first of equals.
        """
        for level in self._levels:
            for begin in range(0, len(level.kept), CHUNK):
                part = slice(begin, begin + CHUNK)
                means = (level.sums[part] / level.total[part, None]).tolist()
                keys = self._axes.texts(level.begun[part], level.columns)
                for key, mean in zip(keys, means, strict=True):
                    yield f"{level.columns}{SEPARATOR}{key}", _row(mean, self._classes)


def _members(beginnings: Array) -> tuple[Array, Array]:
    """The groups' numbers, ascending, and of each key its group's place among them: int32, shape (keys,)."""
    span = int(beginnings.max(initial=0)) + 1
    if span > 4 * len(beginnings) + CHUNK:
        begun, member = np.unique(beginnings, return_inverse=True)
        return begun, member.astype(np.int32)
    there = np.zeros(span, dtype=bool)  # no sorting where the numbers are dense: a fifth of the memory
    there[beginnings] = True
    return np.flatnonzero(there), (np.cumsum(there, dtype=np.int32) - 1)[beginnings]


class _Level(NamedTuple):
    """The groups of one length, the most frequent first.

    Attributes:
        columns: how many columns of the key they fix.
        begun: their numbers, shape (groups,).
        kept: their places among all of the level, shape (groups,).
        member: int32, shape (keys,): of each key its group's place among all of the level.
        total: of the weights, shape (groups,).
        sums: of the weighted predictions, shape (groups, classes or 1).
    """

    columns: int
    begun: Array
    kept: Array
    member: Array
    total: Array
    sums: Array


def _row(mean: list[float], classes: tuple[str, ...]) -> Row:
    if not classes:
        return Row(mean[0])
    return Row(classes[mean.index(max(mean))], (), tuple(mean))
