# SPDX-License-Identifier: Apache-2.0
"""The rules of an output policy, made ready: where they hold, and which bounds they set there.

Each answers twice, for one instance (a mapping: feature -> str, float or None) and for a row batch, with the same
operations, so that both agree to the last bit. A feature that an instance does not hold at all, such as a derived one
behind a group's mean, is unknown, which is something else than missing: a condition on it counts as fulfilled, and a
line is taken at its strictest, so that nothing denied can be served.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Mapping
from typing import Any

import numpy as np

from .rules import Deny, Interval, Monotone, Points

Array = np.ndarray[Any, Any]
Row = Mapping[str, Any]
"""One instance: feature -> str, float, or None for missing."""


class Line:
    """Straight lines between points, constant beyond the ends.

    Args:
        points: at least two, in growing order.
    """

    def __init__(self, points: Points) -> None:
        xs, ys = [float(x) for x, _ in points], [float(y) for _, y in points]
        self._xs = xs
        self._x = [xs[0], *xs]
        self._y = [ys[0], *ys]
        slopes = [(ys[i + 1] - ys[i]) / (xs[i + 1] - xs[i]) for i in range(len(xs) - 1)]
        self._slope = [0.0, *slopes, 0.0]
        self.low = min(ys)
        self.high = max(ys)

    def at(self, x: float) -> float:
        """Its height."""
        piece = bisect_right(self._xs, x)
        inside = min(max(x, self._xs[0]), self._xs[-1])
        return min(max(self._y[piece] + self._slope[piece] * (inside - self._x[piece]), self.low), self.high)

    def along(self, x: Array) -> Array:
        """Its heights, shape (rows,); NaN where x is."""
        piece = np.searchsorted(self._xs, x, side="right")
        inside = np.clip(x, self._xs[0], self._xs[-1])
        heights = np.take(self._y, piece) + np.take(self._slope, piece) * (inside - np.take(self._x, piece))
        made: Array = np.clip(heights, self.low, self.high)
        return made


class Condition:
    """Where a Deny holds.

    Args:
        rule: whose `when` and `ranges` must all be fulfilled.
    """

    def __init__(self, rule: Deny) -> None:
        self._when = [(name, frozenset(values)) for name, values in rule.when.items()]
        self._ranges = [
            (name, -math.inf if low is None else low, math.inf if high is None else high)
            for name, (low, high) in rule.ranges.items()
        ]

    def holds(self, row: Row) -> bool:
        """Whether it holds for an instance, or may."""
        for name, values in self._when:
            if name in row and row[name] not in values:
                return False
        for name, low, high in self._ranges:
            if name in row and ((value := row[name]) is None or not low <= value <= high):
                return False
        return True

    def mask(self, columns: Row, rows: int) -> Array:
        """The same of a row batch, bool of shape (rows,)."""
        found: Array = np.ones(rows, dtype=bool)
        for name, values in self._when:
            if name in columns:
                found &= np.fromiter((v in values for v in columns[name].tolist()), dtype=bool, count=rows)
        for name, low, high in self._ranges:
            if name in columns:
                found &= (columns[name] >= low) & (columns[name] <= high)
        return found


class Denial:
    """A Deny that bounds numbers.

    Args:
        rule: with a minimum or a maximum.
    """

    def __init__(self, rule: Deny) -> None:
        self.name = rule.name
        self._condition = Condition(rule)
        self._low = -math.inf if rule.minimum is None else float(rule.minimum)
        self._high = math.inf if rule.maximum is None else float(rule.maximum)

    def of(self, row: Row) -> Interval:
        """What may be served for an instance: smallest, largest."""
        return (self._low, self._high) if self._condition.holds(row) else (-math.inf, math.inf)

    def over(self, columns: Row, rows: int) -> tuple[Array, Array]:
        """The same of a row batch, shape (rows,) each."""
        mask = self._condition.mask(columns, rows)
        return np.where(mask, self._low, -math.inf), np.where(mask, self._high, math.inf)


class Slope:
    """A Monotone.

    Args:
        rule: with points of a minimum, a maximum, or both.
    """

    def __init__(self, rule: Monotone) -> None:
        self.name = rule.name
        self._feature = rule.feature
        self._least = Line(rule.minimum) if rule.minimum else None
        self._most = Line(rule.maximum) if rule.maximum else None

    def of(self, row: Row) -> Interval:
        """What may be served for an instance: smallest, largest."""
        least, most = self._least, self._most
        low, high = -math.inf, math.inf
        if self._feature not in row:
            return (least.high if least else low), (most.low if most else high)
        value = row[self._feature]
        missing = value is None or value != value
        if least:
            low = least.low if missing else least.at(value)
        if most:
            high = most.high if missing else most.at(value)
        return low, high

    def over(self, columns: Row, rows: int) -> tuple[Array, Array]:
        """The same of a row batch, shape (rows,) each."""
        if self._feature not in columns:
            least, most = self.of({})
            return np.full(rows, least), np.full(rows, most)
        x = np.asarray(columns[self._feature], dtype=np.float64)
        missing = np.isnan(x)
        low: Array = np.full(rows, -math.inf)
        high: Array = np.full(rows, math.inf)
        if self._least:
            low = np.where(missing, self._least.low, self._least.along(x))
        if self._most:
            high = np.where(missing, self._most.high, self._most.along(x))
        return low, high


class Beyond:
    """Where a number lies far outside of what training saw.

    Args:
        feature: its name.
        seen: its smallest and largest training value.
        share: how far outside, in widths of that range.
    """

    def __init__(self, feature: str, seen: Interval, share: float) -> None:
        self.name = f"beyond:{feature}"
        self._feature = feature
        width = seen[1] - seen[0]
        self._low, self._high = seen[0] - share * width, seen[1] + share * width

    def of(self, row: Row) -> bool:
        """Whether an instance does; missing and unknown are not far."""
        value = row.get(self._feature)
        return value is not None and bool(value < self._low or value > self._high)

    def over(self, columns: Row, rows: int) -> Array:
        """The same of a row batch, bool of shape (rows,)."""
        if self._feature not in columns:
            return np.zeros(rows, dtype=bool)
        values = np.asarray(columns[self._feature], dtype=np.float64)
        return (values < self._low) | (values > self._high)
