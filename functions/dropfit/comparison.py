# SPDX-License-Identifier: Apache-2.0
"""Two models on the same rows: the difference of their losses, and how far chance may have moved it. Pure.

Rows of one day share what no model saw (weather, a strike), so not rows but whole time blocks are drawn again: the
paired bootstrap (Efron and Tibshirani, An Introduction to the Bootstrap, 1993) over blocks (Kuensch, The jackknife
and the bootstrap for general stationary observations, 1989; for clusters Cameron, Gelbach and Miller, Bootstrap-based
improvements for inference with clustered errors, 2008). With a handful of blocks percentiles are too narrow, so the
interval is the t interval with the bootstrap's standard error (Hesterberg, What Teachers Should Know About the
Bootstrap, 2015).
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from .contract import Category, Columns, Contract, Target
from .verdict import Difference, Slice

Array = np.ndarray[Any, Any]
RESAMPLES = 2000
LEVEL = 0.95


def losses(metric: str, truth: Array, raw: Array) -> Array:
    """What each row costs, shape (rows,), float64; the mean (of rmse its root) is the metric of dropfit.metrics.

    Args:
        metric: log_loss, brier, rmse or mae.
        truth: shape (rows,): 0/1, class positions, or values.
        raw: shape (rows, classes) of probabilities, or (rows, 1) of values.
    """
    raw = raw.astype(np.float64)
    if metric in ("rmse", "mae"):
        apart = raw[:, 0] - truth
        return np.asarray(apart**2 if metric == "rmse" else np.abs(apart))
    said = raw / raw.sum(axis=1, keepdims=True)
    if metric == "brier":
        return np.asarray((said[:, 1] - truth) ** 2)
    tiny = np.finfo(np.float64).eps  # where scikit-learn's log_loss clips too
    return np.asarray(-np.log(np.clip(said[np.arange(len(truth)), truth], tiny, 1.0)))


def value(metric: str, mean: Any) -> Any:
    """The metric of a mean loss."""
    return np.sqrt(mean) if metric == "rmse" else mean


def compare(
    metric: str, challenger: Array, champion: Array, blocks: Array, seed: int, level: float = LEVEL
) -> Difference | None:
    """Challenger minus champion, with its interval; None when there are fewer than two blocks.

    Args:
        metric: which.
        challenger: loss of each row, shape (rows,).
        champion: the same of the other.
        blocks: the time block of each row, shape (rows,).
        seed: of the resampling.
        level: of the interval, 0 to 1.
    """
    members = np.ones((1, len(blocks)), dtype=bool)
    return _differences(metric, challenger, champion, blocks, members, seed, level)[0]


def slices(
    metric: str,
    groups: Sequence[tuple[str, str, Array]],
    challenger: Array,
    champion: Array | None,
    blocks: Array,
    seed: int,
    tolerance: float,
) -> tuple[Slice, ...]:
    """Both models slice by slice.

    A slice is worse when the lower bound of its difference exceeds the tolerated share of the champion's loss there.
    Many slices tempt chance: the level is Bonferroni's, 1 - 0.05 / slices.

    Args:
        metric: which.
        groups: feature, value and mask (rows,) of each slice.
        challenger: loss of each row, shape (rows,).
        champion: the same of the other, or None when there is none.
        blocks: the time block of each row.
        seed: of the resampling.
        tolerance: relative, 0.02 for 2%.
    """
    if not groups:
        return ()
    members = np.array([mask for _, _, mask in groups])
    found: list[Difference | None] = [None] * len(groups)
    if champion is not None:
        level = 1 - (1 - LEVEL) / len(groups)
        found = _differences(metric, challenger, champion, blocks, members, seed, level)
    made = []
    for (feature, name, mask), apart in zip(groups, found, strict=True):
        theirs = None if champion is None else float(value(metric, champion[mask].mean()))
        worse = apart is not None and theirs is not None and apart.low > tolerance * theirs
        ours = float(value(metric, challenger[mask].mean()))
        made.append(Slice(feature, name, int(mask.sum()), ours, theirs, apart, worse))
    return tuple(made)


def groups(contract: Contract, features: Sequence[str], columns: Columns, least: int) -> list[tuple[str, str, Array]]:
    """The slices with enough rows: a category by its values, a number by its quartiles.

    Args:
        contract: for the features' kinds.
        features: names of features.
        columns: the rows, shape (rows,) each.
        least: the fewest rows of a slice.

    Returns:
        Feature, value in words, and mask of shape (rows,).
    """
    found = []
    for name in features:
        cut = _values if isinstance(contract.feature(name), Category) else _quartiles
        found += [(name, word, mask) for word, mask in cut(columns[name]) if mask.sum() >= least]
    return found


def _values(column: Array) -> Iterator[tuple[str, Array]]:
    for value_ in sorted({v for v in column.tolist() if v is not None}):
        yield str(value_), column == value_
    yield "missing", np.array([v is None for v in column.tolist()], dtype=bool)


def _quartiles(column: Array) -> Iterator[tuple[str, Array]]:
    known = column[~np.isnan(column)]
    if len(known):
        edges = np.unique(np.quantile(known, [0, 0.25, 0.5, 0.75, 1]))
        place = np.searchsorted(edges[1:-1], column, side="right")
        for position, (low, high) in enumerate(itertools.pairwise(edges)):
            yield f"{low:g} to {high:g}", (place == position) & ~np.isnan(column)
        if len(edges) == 1:
            yield f"{edges[0]:g}", column == edges[0]
    yield "missing", np.isnan(column)


def _differences(
    metric: str, ours: Array, theirs: Array, blocks: Array, members: Array, seed: int, level: float
) -> list[Difference | None]:
    """One difference for each row of `members`, bool of shape (groups, rows); all from the same resamples."""
    from scipy import stats

    names, where = np.unique(blocks, return_inverse=True)
    sums = [np.array([_per_block(where, v * m, len(names)) for m in members]) for v in (ours, theirs, 1.0)]
    drawn = np.random.default_rng(seed).multinomial(len(names), np.full(len(names), 1 / len(names)), RESAMPLES)
    with np.errstate(invalid="ignore", divide="ignore"):  # a small slice may miss every block that was drawn
        a, b, rows = (drawn @ s.T for s in sums)
        again = value(metric, a / rows) - value(metric, b / rows)
    found: list[Difference | None] = []
    for group in range(len(members)):
        count = int((sums[2][group] > 0).sum())
        if count < 2 or not np.isfinite(again[:, group]).any():
            found.append(None)
            continue
        means = [float(value(metric, s[group].sum() / sums[2][group].sum())) for s in sums[:2]]
        error = float(np.nanstd(np.where(np.isfinite(again[:, group]), again[:, group], np.nan)))
        half = float(stats.t.ppf((1 + level) / 2, count - 1)) * error * (count / (count - 1)) ** 0.5
        apart = means[0] - means[1]
        found.append(Difference(apart, apart - half, apart + half, level, count))
    return found


def _per_block(where: Array, weights: Array, count: int) -> Array:
    return np.bincount(where, weights=weights, minlength=count)


def incomparable(mine: Contract, theirs: Contract, classes: tuple[str, ...], their_classes: tuple[str, ...]) -> str:
    """Why two versions answer different questions, empty when they can be compared."""
    if _asked(mine.target) != _asked(theirs.target):
        return f"it predicts {_asked(theirs.target)}, and this one {_asked(mine.target)}"
    if set(classes) != set(their_classes):
        return f"it knows the classes {', '.join(their_classes)}, and this one {', '.join(classes)}"
    missing = [f.name for f in theirs.features if f.name not in {g.name for g in mine.features}]
    return f"it needs {', '.join(missing)}, which the rows no longer hold" if missing else ""


def _asked(target: Target) -> str:
    return f"the {type(target).__name__.lower()} {target.name}"
