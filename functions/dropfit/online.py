# SPDX-License-Identifier: Apache-2.0
"""A version's model for the decoded instances of a request: matrix, run, policy, and what the reply says of each.

The same predictions as `Scorer.score` makes of a row batch; tests hold them equal.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from .admission import Cost, measure
from .answers import Prediction, Source
from .policy import Guarded
from .rows import Rows, Values
from .version import Version

LOG = logging.getLogger(__name__)
FEW = 8
"""Rows up to which deciding one by one is quicker than by arrays, where the policy looks at features."""


class Online:
    """The model behind its ladder.

    Args:
        version: its manifest and scorer.

    Attributes:
        rows: what turns instances into keys and inputs.
        guard: the policy.
        cost: what a run is expected to take, once `warm` has measured it.
    """

    def __init__(self, version: Version) -> None:
        scorer = version.scorer
        self.rows = Rows(scorer.encoder)
        self.guard = scorer.guard
        self.cost = Cost(0.0, 0.0)
        self._classes = version.manifest.classes
        self.use(scorer.model)

    def use(self, model: Any) -> None:
        """Answer by this model: float32 matrix (rows, inputs) -> (rows, classes), or (rows, 1)."""
        self._model = model
        # Of one thread: that of the event loop. What runs in the lane goes the way of many rows.
        self._one_row: Callable[[list[float]], list[float]] | None = getattr(model, "one_row", lambda: None)()

    def one(self, instance: Any) -> Prediction | None:
        """The prediction for a single instance, without arrays, for the thread of the event loop.

        None where only `many` can tell: the category was never seen, the answer is no number, there is no such way.
        """
        if self._one_row is None:
            return None
        values, row, unseen = self.rows.one(instance)
        if unseen:
            return None
        derived = self.rows.derived_of_one(values)
        answer = self._one_row(row + derived)
        value = self.guard.untouched(answer)
        if value is not None:
            return Prediction(value, "model", ())
        if not math.isfinite(sum(answer)):
            return None
        named = self.rows.named_one(values, derived) if self.guard.needs_features else ()
        return self._told_of(self.guard.few([answer], named))[0]

    def many(self, values: Values, columns: Values) -> list[Prediction | None]:
        """The predictions for instances, None where the model's answer is no number.

        Args:
            values: as `Rows.values` gives them.
            columns: as `Rows.codes` gives them.
        """
        derived = self.rows.derived(values)
        raw = self._model(self.rows.matrix([*columns, *derived]))
        answers = raw.tolist()
        kept = [place for place, answer in enumerate(answers) if math.isfinite(sum(answer))]
        if self.guard.needs_features and len(answers) > FEW and len(kept) == len(answers):
            return self._told_of(self.guard.apply(self.rows.batch(values, derived), raw))
        named = self.rows.named(values, derived) if self.guard.needs_features else ()
        if len(kept) == len(answers):
            return self._told_of(self.guard.few(answers, named))
        found: list[Prediction | None] = [None] * len(answers)
        for place in kept:
            (found[place],) = self._told_of(self.guard.few([answers[place]], named[place : place + 1]))
        return found

    def _told_of(self, guarded: Guarded) -> list[Prediction | None]:
        """The policy's decisions as the reply says them."""
        values, shares = guarded.values, guarded.probabilities
        if isinstance(values, np.ndarray):
            values, shares = values.tolist(), None if shares is None else shares.tolist()
        if shares is None:
            return [
                Prediction(value, "model" if not fired else after("model", fired), fired)
                for value, fired in zip(values, guarded.fired, strict=True)
            ]
        return [
            Prediction(value, after("model", fired), fired, named_shares(self._classes, told))
            for value, fired, told in zip(values, guarded.fired, shares, strict=True)
        ]

    def named(self, instance: Any) -> dict[str, Any]:
        """An instance by name, as the policy looks at it; nothing where it does not.

        A feature that derive cannot make is left out, and the policy then denies whatever it might have to.
        """
        if not self.guard.needs_features:
            return {}
        values = self.rows.values([instance])
        try:
            return self.rows.named(values, self.rows.derived(values))[0]
        except Exception:  # the adopter's derive may raise anything
            return self.rows.named_one([column[0] for column in values], [])[0]

    def warm(self, instance: Any) -> None:
        """Measure what a run costs, so that the first request meets a warm session and a known price."""

        def run(rows: int) -> None:
            if rows > 1 or self.one(instance) is None:
                values = self.rows.values([instance] * rows)
                self.many(values, self.rows.codes(values)[0])

        try:
            self.cost = measure(run)
        except Exception:  # the adopter's derive need not take a made-up instance; the model must take its matrix
            LOG.warning("the version could not be warmed by an instance; its model alone was timed", exc_info=True)
            inputs = len(self.rows.inputs)
            self.cost = measure(lambda rows: self._model(np.zeros((rows, inputs), dtype=np.float32)))


def after(source: Source, fired: tuple[str, ...]) -> Source:
    """Where a value comes from after the policy: from its fallback value, when that took the place of another."""
    return "fallback" if fired and fired[-1] == "fallback" else source


def named_shares(classes: tuple[str, ...], shares: Sequence[float] | None) -> dict[str, float] | None:
    """Probabilities by label; None where there are none, or every label is denied."""
    return dict(zip(classes, shares, strict=True)) if shares and any(shares) else None
