# SPDX-License-Identifier: Apache-2.0
"""What speaks against a file as a whole, though its rows could be read. A person may overrule each of these."""

from __future__ import annotations

import collections

import numpy as np

from . import cells
from .batches import Broken, Caps
from .contract import Columns, Problem
from .errors import BadFile

JUDGEMENTS = ("truncated", "empty-column", "too-many-bad-rows", "constant-target")
"""Codes that `Caps.overridden` may name."""
JUDGED_ROWS = 30
"""Fewer rows say nothing about a column: a corrected sheet of three rows may well leave one empty."""


class Tally:
    """What is counted while a file is read.

    Attributes:
        accepted: rows.
        rejected: rows.
        reasons: `column: reason` -> number of rows.
    """

    def __init__(self, problem: Problem) -> None:
        self._problem = problem
        self._filled: set[str] = set()
        self._targets: set[object] = set()
        self._split = 0  # rows that could be split into columns
        self.accepted = 0
        self.rejected = 0
        self.reasons: collections.Counter[str] = collections.Counter()

    def count(self, good: Columns, broken: list[Broken], marks: cells.Marks) -> None:
        """One batch more."""
        self.reasons.update(row.reason for row in broken)
        self.reasons.update({f"{column}: {reason}": count for (column, reason), count in marks.counts().items()})
        self.rejected += len(broken) + len(marks.bad)
        self._filled |= marks.filled
        self._split += len(marks.good)
        if not good:
            return
        target = good[self._problem.target.name]
        self.accepted += len(target)
        if len(self._targets) < 2:
            self._targets.update(np.unique(target[~cells.empty(target)]).tolist()[:2])

    def judge(self, caps: Caps) -> None:
        """Refuse a file that is probably not what it should be.

        Raises:
            BadFile: with one of JUDGEMENTS, unless it is overridden; with `no-rows` or `too-many-bad-rows` when
                nothing is left to accept.
        """
        total = self.accepted + self.rejected
        if not total:
            raise BadFile("it has a header and no rows", "no-rows")
        if caps.judges("empty-column") and self._split >= JUDGED_ROWS:
            self._check_columns()
        too_many = self.rejected / total > caps.max_bad_share and caps.judges("too-many-bad-rows")
        if too_many or not self.accepted:
            most = "; ".join(f"{reason} ({count:,} rows)" for reason, count in self.reasons.most_common(5))
            raise BadFile(f"{self.rejected:,} of {total:,} rows cannot be used: {most}", "too-many-bad-rows")
        if caps.judges("constant-target"):
            self._check_target()

    def _check_columns(self) -> None:
        empty = [c.name for c in self._problem.columns if c.name not in self._filled]
        if empty:
            raise BadFile(f"columns are empty in all {self._split:,} rows: {', '.join(empty)}", "empty-column")

    def _check_target(self) -> None:
        if self.accepted >= max(JUDGED_ROWS, self._problem.gate.minimum_rows) and len(self._targets) == 1:
            name, value = self._problem.target.name, next(iter(self._targets))
            raise BadFile(f"{name} is {value} in all {self.accepted:,} rows: nothing to learn", "constant-target")
