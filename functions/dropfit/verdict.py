# SPDX-License-Identifier: Apache-2.0
"""What is said of a version, as it lies in storage beside it: the gate's report, its table, a person's word."""

from __future__ import annotations

import datetime as dt
from typing import Literal

import msgspec

from .manifest import Artifact


class Difference(msgspec.Struct, frozen=True):
    """The challenger's loss minus the champion's on the same rows: below 0 the challenger is better.

    Attributes:
        value: of the metric itself.
        low: lower bound of its interval.
        high: upper bound.
        level: of the interval (0 to 1).
        blocks: time blocks that were drawn again.
    """

    value: float
    low: float
    high: float
    level: float
    blocks: int


class Slice(msgspec.Struct, frozen=True):
    """Both losses where a feature has a value.

    Attributes:
        feature: its name.
        value: in words.
        rows: holdout rows of the slice.
        challenger: its loss there.
        champion: the served version's, when there is one.
        difference: between them, its level corrected for the number of slices.
        worse: by more than chance and the gate's tolerance.
    """

    feature: str
    value: str
    rows: int
    challenger: float
    champion: float | None = None
    difference: Difference | None = None
    worse: bool = False


class Bin(msgspec.Struct, frozen=True):
    """Rows of similar prediction: mean predicted, mean observed, and of a quantity percentiles of the residuals."""

    rows: int
    predicted: float
    observed: float
    residuals: tuple[float, ...] = ()


class Importance(msgspec.Struct, frozen=True):
    """By how much the loss grows when a feature is shuffled: mean and standard deviation over the repeats."""

    feature: str
    increase: float
    deviation: float


class Report(msgspec.Struct, frozen=True, kw_only=True):
    """The gate's verdict on a version: whether it may be served, the sentences why, and all the numbers.

    Attributes:
        version: the challenger.
        passed: whether it may be served.
        reasons: the verdict in words.
        judged_at: when.
        champion: the version that was served then, empty when there was none.
        represented: how the champion was scored: `first` (there was none), `final` (the served model), `trial` (its
            own trial), `none` (too few rows that it has not learned from), `other` (it answers another question),
            `unreadable` (its files are damaged).
        why: the reason of that, in words.
        metric: what decides.
        tolerance: of the difference, as a share of the champion's loss.
        holdout: first and last block, method, rows and blocks of the rows that were scored.
        scores: `challenger`, `champion`, `constant` -> metrics on these rows.
        difference: challenger minus champion.
        slices: slice by slice.
        calibration: ten bins by prediction.
        confusion: rows by class and most probable class; empty for a quantity.
        classes: what the rows and columns of the confusion stand for.
        importance: of the challenger's features.
    """

    version: str
    passed: bool
    reasons: tuple[str, ...]
    judged_at: dt.datetime
    champion: str = ""
    represented: Literal["first", "final", "trial", "none", "other", "unreadable"] = "first"
    why: str = ""
    metric: str = ""
    tolerance: float = 0.0
    holdout: dict[str, str | int] = {}
    scores: dict[str, dict[str, float]] = {}
    difference: Difference | None = None
    slices: tuple[Slice, ...] = ()
    calibration: tuple[Bin, ...] = ()
    confusion: tuple[tuple[int, ...], ...] = ()
    classes: tuple[str, ...] = ()
    importance: tuple[Importance, ...] = ()


class Sampled(msgspec.Struct, frozen=True):
    """Rows of a table that were read back and predicted again.

    Attributes:
        rows: how many.
        differing: those that are not what the model says now: a rounding on an edge, at most.
        largest: the largest difference of a number.
    """

    rows: int
    differing: int
    largest: float


class Shift(msgspec.Struct, frozen=True):
    """How far the predictions of a table lie from those of the table that was served when it was filled.

    Attributes:
        against: that table.
        measure: what was measured, in words.
        size: 0 (alike) to 1 (nothing in common).
        limit: the policy's max_shift; None for no limit.
    """

    against: str
    measure: str
    size: float
    limit: float | None

    @property
    def breaks(self) -> bool:
        """Whether the table waits for a person."""
        return self.limit is not None and self.size > self.limit

    @property
    def told(self) -> str:
        """The numbers in words."""
        allowed = "no limit" if self.limit is None else f"the policy's max_shift is {self.limit:g}"
        return f"{self.measure} of {self.size:.3f} from {self.against} ({allowed})"


class Completed(msgspec.Struct, frozen=True, kw_only=True):
    """A version is complete: its table is loaded and verified, so it may be served.

    Attributes:
        version: its id.
        table: its static-serving table.
        rows: rows of the table, as verified.
        verified_at: when.
        snapshot: the head of the table as a file, None in a version that has none.
        keys: rows of the table that the snapshot holds, those of the most frequent keys.
        groups: back-off groups that it holds.
        universe: of the keys that it holds, whatever their order: the same keys, the same text. Empty when not known.
        sample: what a sample of it was found to be, None when it was not read back.
        shift: how far it lies from the table that was served then, None when there was none to compare with.
        looked_at: when a refresh last found nothing to do; None when none did.
    """

    version: str
    table: str
    rows: int
    verified_at: dt.datetime
    snapshot: Artifact | None = None
    keys: int = 0
    groups: int = 0
    universe: str = ""
    sample: Sampled | None = None
    shift: Shift | None = None
    looked_at: dt.datetime | None = None


class Decision(msgspec.Struct, frozen=True, kw_only=True):
    """What a person said of a version that had passed the gate: the last word counts."""

    version: str
    approved: bool
    by: str
    at: dt.datetime
    reason: str = ""
