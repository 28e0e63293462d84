# SPDX-License-Identifier: Apache-2.0
"""How a model errs, for people: calibration, residuals, confusion, and what each feature is worth. Pure."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from .comparison import losses, value
from .contract import Columns, Contract, Label, Quantity, Target
from .encoding import length, take
from .verdict import Bin, Importance

Array = np.ndarray[Any, Any]
BINS = 10
ROWS, REPEATS = 5_000, 3
"""Permutation importance looks at so many holdout rows, so often."""
SPREAD = (5, 25, 50, 75, 95)
"""Percentiles of a bin's residuals."""


def calibration(target: Target, truth: Array, raw: Array) -> tuple[Bin, ...]:
    """What was predicted beside what happened, in ten bins of equally many rows, smallest prediction first.

    Of a label it is the probability of the most probable class beside the share of rows where that was right; of a
    quantity each bin also has the percentiles SPREAD of its residuals, predicted minus observed.
    """
    if isinstance(target, Quantity):
        predicted, observed = raw[:, 0], truth
    elif isinstance(target, Label):
        predicted, observed = raw.max(axis=1), raw.argmax(axis=1) == truth
    else:
        predicted, observed = raw[:, 1], truth
    found = []
    for rows in np.array_split(np.argsort(predicted, kind="stable"), min(BINS, len(truth))):
        apart = np.percentile(predicted[rows] - observed[rows], SPREAD) if isinstance(target, Quantity) else []
        means = float(predicted[rows].mean()), float(observed[rows].mean())
        found.append(Bin(len(rows), *means, tuple(float(v) for v in apart)))
    return tuple(found)


def confusion(target: Target, truth: Array, raw: Array) -> tuple[tuple[int, ...], ...]:
    """Rows by their class (down) and the most probable one (across); nothing of a quantity."""
    if isinstance(target, Quantity):
        return ()
    width = raw.shape[1]
    counts = np.bincount(truth * width + raw.argmax(axis=1), minlength=width * width).reshape(width, width)
    return tuple(tuple(int(n) for n in row) for row in counts)


def importance(
    contract: Contract, metric: str, columns: Columns, truth: Array, raw: Callable[[Columns], Array], seed: int
) -> tuple[Importance, ...]:
    """By how much the loss grows when a feature's values are shuffled among the rows, most important first.

    Permutation importance (Breiman, Random Forests, 2001, section 10; scikit-learn's user guide 4.2), of the features
    of a request: what derives from a feature is derived again from the shuffled one.

    Args:
        contract: for the features.
        metric: what is measured.
        columns: the holdout rows.
        truth: their target, shape (rows,).
        raw: features -> the model's raw output.
        seed: of the shuffling, and of the choice of rows when there are more than ROWS.
    """
    chance = np.random.default_rng(seed)
    if len(truth) > ROWS:
        some = np.sort(chance.choice(len(truth), ROWS, replace=False))
        columns, truth = take(columns, some), truth[some]
    usual = float(value(metric, losses(metric, truth, raw(columns)).mean()))
    found = []
    for feature in contract.features:
        grown = []
        for _ in range(REPEATS):
            mixed = {**columns, feature.name: columns[feature.name][chance.permutation(length(columns))]}
            grown.append(float(value(metric, losses(metric, truth, raw(mixed)).mean())) - usual)
        found.append(Importance(feature.name, float(np.mean(grown)), float(np.std(grown))))
    return tuple(sorted(found, key=lambda i: -i.increase))
