# SPDX-License-Identifier: Apache-2.0
"""What a file's accepted rows look like, small enough to keep beside them: what the drift check compares.

Features and target alone; a column that only identifies a row or orders it is new in every file.
"""

from __future__ import annotations

import collections
import re
from collections.abc import Sequence
from typing import Any

import msgspec
import numpy as np

from .contract import Columns, Number, Problem
from .encoding import length
from .keys import joined

Array = np.ndarray[Any, Any]
SAMPLE = 100_000
"""Rows that a profile is made of; of a larger file a seeded sample of about so many."""
POINTS = np.linspace(0, 1, 101)
MOST_VALUES = 2_000
MOST_KEYS = 5_000
MOST_SHAPES = 200
LONGEST = 128


class NumberProfile(msgspec.Struct, frozen=True):
    """A number's values.

    Attributes:
        missing: share of rows (0 to 1).
        quantiles: of the others, at 0, 1, ... 100 percent; empty when there is none.
    """

    missing: float
    quantiles: tuple[float, ...]


class CategoryProfile(msgspec.Struct, frozen=True):
    """A category's values.

    Attributes:
        missing: share of rows (0 to 1).
        counts: the most frequent values -> rows.
        others: rows of values beyond those.
        shapes: how values are written, such as `AA9` -> rows.
    """

    missing: float
    counts: dict[str, int]
    others: int
    shapes: dict[str, int]


class Profile(msgspec.Struct, frozen=True):
    """A file's accepted rows.

    Attributes:
        rows: how many were looked at.
        numbers: feature or target -> its values.
        categories: likewise.
        given: number that other features determine -> their values, joined -> (the number's median, rows).
    """

    rows: int
    numbers: dict[str, NumberProfile]
    categories: dict[str, CategoryProfile]
    given: dict[str, dict[str, tuple[float, int]]]


def names(problem: Problem) -> tuple[str, ...]:
    """The columns that are profiled."""
    return (*(f.name for f in problem.features), problem.target.name)


def profile(problem: Problem, columns: Columns) -> Profile:
    """The profile of accepted rows.

    Args:
        problem: says which columns are features and target.
        columns: those columns at least.
    """
    numbers = {n: number(columns[n]) for n in names(problem) if columns[n].dtype.kind == "f"}
    categories = {n: _category(columns[n]) for n in names(problem) if columns[n].dtype == object}
    given = {
        f.name: _given(joined(columns, f.given_by), columns[f.name])
        for f in problem.features
        if isinstance(f, Number) and f.given_by
    }
    return Profile(length(columns), numbers, categories, given)


def number(values: Array) -> NumberProfile:
    """Of float64 values, NaN where missing."""
    there = values[~np.isnan(values)]
    quantiles = np.quantile(there, POINTS) if len(there) else there
    return NumberProfile(_share(len(values) - len(there), len(values)), tuple(quantiles.tolist()))


def _category(values: Array) -> CategoryProfile:
    counts = collections.Counter(v[:LONGEST] for v in values.tolist() if v is not None)
    shapes: collections.Counter[str] = collections.Counter()
    for value, count in counts.items():
        shapes[shape(value)] += count
    most = dict(counts.most_common(MOST_VALUES))
    there = counts.total()
    missing = _share(len(values) - there, len(values))
    return CategoryProfile(missing, most, there - sum(most.values()), dict(shapes.most_common(MOST_SHAPES)))


def shape(value: str) -> str:
    """How a value is written: A for a capital, a for a small letter, 9 for a digit; long runs are cut to five."""
    pattern = re.sub(r"[^\W\d_]", lambda m: "A" if m[0].isupper() else "a", re.sub(r"\d", "9", value))
    return re.sub(r"(A|a|9)\1{4,}", r"\1\1\1\1\1", pattern)


def _given(keys: Sequence[str], values: Array) -> dict[str, tuple[float, int]]:
    there = np.flatnonzero(~np.isnan(values))
    if not len(there):
        return {}
    unique, inverse = np.unique(np.array(keys, dtype=object)[there].astype(str), return_inverse=True)
    order = np.lexsort((values[there], inverse))
    counts = np.bincount(inverse)
    middle = order[np.cumsum(counts) - counts + counts // 2]
    medians = values[there][middle]
    most = np.argsort(-counts, kind="stable")[:MOST_KEYS]
    return {str(unique[i]): (float(medians[i]), int(counts[i])) for i in most}


def pooled(profiles: Sequence[Profile]) -> Profile:
    """Several files as if they were one.

    Args:
        profiles: of the same problem, at least one.
    """
    first = profiles[0]
    return Profile(
        sum(p.rows for p in profiles),
        {n: _pooled_number([(p.rows, p.numbers[n]) for p in profiles if n in p.numbers]) for n in first.numbers},
        {
            n: _pooled_category([(p.rows, p.categories[n]) for p in profiles if n in p.categories])
            for n in first.categories
        },
        {n: _pooled_given([p.given[n] for p in profiles if n in p.given]) for n in first.given},
    )


def _pooled_number(parts: Sequence[tuple[int, NumberProfile]]) -> NumberProfile:
    rows = sum(r for r, _ in parts)
    missing = _share(sum(r * p.missing for r, p in parts), rows)
    full = [(r * (1 - p.missing), p.quantiles) for r, p in parts if p.quantiles]
    if not full:
        return NumberProfile(missing, ())
    values = np.concatenate([q for _, q in full])
    weights = np.concatenate([np.full(len(POINTS), r) for r, _ in full])
    order = np.argsort(values)
    reached = np.cumsum(weights[order]) - weights[order] / 2
    at = (reached - reached[0]) / (reached[-1] - reached[0])
    return NumberProfile(missing, tuple(np.interp(POINTS, at, values[order]).tolist()))


def _pooled_category(parts: Sequence[tuple[int, CategoryProfile]]) -> CategoryProfile:
    counts: collections.Counter[str] = collections.Counter()
    shapes: collections.Counter[str] = collections.Counter()
    for _, part in parts:
        counts.update(part.counts)
        shapes.update(part.shapes)
    missing = _share(sum(r * p.missing for r, p in parts), sum(r for r, _ in parts))
    return CategoryProfile(missing, dict(counts), sum(p.others for _, p in parts), dict(shapes))


def _pooled_given(parts: Sequence[dict[str, tuple[float, int]]]) -> dict[str, tuple[float, int]]:
    """The newest file's word on each key."""
    return {key: found for part in parts for key, found in part.items()}


def _share(part: float, whole: float) -> float:
    return part / whole if whole else 0.0
