# SPDX-License-Identifier: Apache-2.0
"""The cold-start answer: the mean prediction of a coarser group, for keys and categories that were never seen.

A group is a beginning of the key, as `Contract.backoff` declares it. Its mean is weighted by how often each key came
in the accepted data, because a new request of the group is most likely like those that came most often: unweighted, a
flight that went once a year would count as much as one that goes ten times a day. Where the predictions of the rows
are calibrated, so is their weighted mean.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from .contract import Columns, Contract
from .keys import SEPARATOR, normal
from .records import Row

Array = np.ndarray[Any, Any]


def group_key(values: Sequence[Any]) -> str:
    """The text of a group, for the job and for serving: how many columns of the key it fixes, a tab, their values.

    The values are written as in a key; the group of all keys is `0` and a tab.
    """
    return f"{len(values)}{SEPARATOR}{SEPARATOR.join(map(normal, values))}"


def groups(
    contract: Contract,
    keys: Columns,
    values: Array,
    weights: Array,
    classes: tuple[str, ...] = (),
    probabilities: Array | None = None,
) -> list[tuple[str, Row]]:
    """The mean prediction of every declared group, the coarsest first, and of one level the most frequent first.

    Args:
        contract: names the key and its back-off groups.
        keys: the key columns, shape (rows,) each. Their order decides the last bit of a mean: give them sorted.
        values: predictions, shape (rows,): float64 with NaN, or labels with None, where the policy left none. Such
            rows do not count, nor do labels without probabilities; a group of these alone is left out.
        weights: how often each key came, shape (rows,), above 0.
        classes: labels in the order of the probabilities, for a label target.
        probabilities: shape (rows, classes), for a label target.

    Returns:
        (group key, row): of a number the weighted mean; of a label the weighted mean of the probabilities, and the
        most probable label, the first of equals.
    """
    counts = np.array([value is not None and value == value for value in values.tolist()], dtype=bool)
    if probabilities is not None:
        counts &= probabilities.any(axis=1)
    weight = np.where(counts, weights, 0).astype(np.float64)
    means = np.asarray(values, dtype=np.float64)[:, None] if probabilities is None else probabilities
    weighted = np.where(counts[:, None], means, 0.0) * weight[:, None]
    found: list[tuple[str, Row]] = []
    member = np.zeros(len(values), dtype=np.int64)
    for size in range(max(map(len, contract.backoff), default=-1) + 1):
        if size:
            member = _refined(member, keys[contract.key[size - 1]])
        if contract.key[:size] in contract.backoff:
            columns = [keys[name] for name in contract.key[:size]]
            found += _level(columns, member, weighted, weight, classes)
    return found


def _refined(member: Array, column: Array) -> Array:
    """Each row's group when the groups are split by one more column."""
    codes: dict[Any, int] = {}  # values are told apart as `normal` does, in a third of its time
    values = [None if value != value else value for value in column.tolist()]
    split = np.array([codes.setdefault(value, len(codes)) for value in values], dtype=np.int64)
    refined: Array = np.unique(member * (len(codes) or 1) + split, return_inverse=True)[1]
    return refined


def _level(
    columns: Sequence[Array], member: Array, weighted: Array, weight: Array, classes: tuple[str, ...]
) -> list[tuple[str, Row]]:
    """The means of the groups that some rows belong to."""
    _, first = np.unique(member, return_index=True)
    total = np.bincount(member, weights=weight)
    sums = np.column_stack([np.bincount(member, weights=column) for column in weighted.T])
    found = []
    for group, row in enumerate(first.tolist()):
        if total[group] > 0:
            key = group_key([column[row] for column in columns])
            found.append((-total[group], key, _row((sums[group] / total[group]).tolist(), classes)))
    return [(key, row) for _, key, row in sorted(found, key=lambda group: group[:2])]


def _row(mean: list[float], classes: tuple[str, ...]) -> Row:
    if not classes:
        return Row(mean[0])
    return Row(classes[mean.index(max(mean))], (), tuple(mean))
