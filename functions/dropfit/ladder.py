# SPDX-License-Identifier: Apache-2.0
"""Instances -> predictions, each from the best source that can answer in time.

Under `hybrid` the table's head is asked first and the model for the rest; what neither can answer by the deadline
steps down: model -> table -> mean of the nearest coarser group -> the policy's fallback value -> an error that says
why. Every source is one version's, and the policy applies to all of them.
"""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Sequence
from typing import Any, Literal

from .admission import INLINE, Cost, Lane, measure
from .answers import Failure, Prediction, Source
from .backoff import group_key
from .errors import ArtifactError
from .policy import Guarded
from .rows import Rows, Values
from .snapshot import Snapshot
from .version import Version

LOG = logging.getLogger(__name__)
Mode = Literal["static", "dynamic", "hybrid"]
FAILURES = {
    "miss": (404, "NOT_FOUND", "the table holds no prediction for this key"),
    "deadline": (504, "DEADLINE_EXCEEDED", "the model cannot answer within the request's deadline"),
    "error": (500, "INTERNAL", "the model fails on this instance, which the function's log explains"),
    "no number": (500, "INTERNAL", "the model's answer for this instance is no number"),
}


class Ladder:
    """One version's sources.

    Args:
        version: its manifest and scorer.
        snapshot: the head of its table and its groups; None when it has none.
        mode: which sources are asked first.
        miss: what becomes of a key that the table does not hold, under `static`.
        lane: where slow runs go.
    """

    def __init__(
        self, version: Version, snapshot: Snapshot | None, mode: Mode, miss: Literal["fallback", "error"], lane: Lane
    ) -> None:
        self._contract = version.manifest.contract
        self._classes = version.manifest.classes
        self._scorer = version.scorer
        self._guard = version.scorer.guard
        self._snapshot = snapshot
        self._mode = mode
        self._miss = miss
        self._lane = lane
        self._rows = Rows(version.scorer.encoder)
        self._groups = self._contract.backoff if snapshot is not None else ()
        self._told = False
        self.cost = Cost(0.0, 0.0)

    async def answer(self, instances: Sequence[Any], deadline: float) -> list[Prediction]:
        """One prediction per instance, in their order.

        Args:
            instances: as the version's decoder makes them, at least one.
            deadline: by time.monotonic.
        """
        if self._mode == "dynamic":
            return await self._model(instances, deadline)
        found = [self._look_up(instance) for instance in instances]
        rest = [position for position, answer in enumerate(found) if answer is None]
        if rest:
            asked = [instances[position] for position in rest]
            if self._mode == "static":
                below = [self._below(instance, "table", "miss") for instance in asked]
            else:
                below = await self._model(asked, deadline)
            _put(found, rest, below)
        return found  # type: ignore[return-value]  # every gap is filled

    def _look_up(self, instance: Any, steps: tuple[str, ...] = ()) -> Prediction | None:
        """What the table's head holds for an instance."""
        key = self._rows.key(instance) if self._snapshot is not None else None
        row = self._snapshot.get(key) if self._snapshot is not None and key is not None else None
        if row is None:
            return None
        fired = row.fired
        if not fired and not row.probabilities:
            return Prediction(row.value, "table", fired, None, None, steps)
        return Prediction(
            row.value, _source("table", fired), fired, _shares(self._classes, row.probabilities), None, steps
        )

    async def _model(self, instances: Sequence[Any], deadline: float) -> list[Prediction]:
        """The model's predictions, and what the rungs below say where it has none."""
        values = self._rows.values(instances)
        columns, unseen = self._rows.codes(values)
        if unseen and self._groups:
            found = self._never_seen(instances, unseen)
            rest = [position for position, answer in enumerate(found) if answer is None]
            if len(rest) < len(instances):
                if rest:
                    _put(found, rest, await self._model([instances[position] for position in rest], deadline))
                return found  # type: ignore[return-value]  # every gap is filled
        predicted, why = await self._run(values, columns, deadline)
        if predicted is None:
            return [self._below(instance, "model", why) for instance in instances]
        if None in predicted:
            return [
                self._below(instance, "model", "no number") if answer is None else answer
                for instance, answer in zip(instances, predicted, strict=True)
            ]
        return predicted  # type: ignore[return-value]  # no None among them

    def _never_seen(self, instances: Sequence[Any], unseen: dict[int, str]) -> list[Prediction | None]:
        """What holds a category that training never saw, answered by the group that it belongs to.

        An instance that no group knows either stays with the model, which takes the category for missing.
        """
        return [
            self._group(instance, (f"model: unseen {unseen[position]}",)) if position in unseen else None
            for position, instance in enumerate(instances)
        ]

    async def _run(
        self, values: Values, columns: Values, deadline: float
    ) -> tuple[list[Prediction | None] | None, str]:
        """The model's predictions, None for one that is no number; or None for all of them, and why."""
        rows, cost = len(values[0]), self.cost
        begun, expected = time.monotonic(), cost.estimate(rows)
        try:
            if expected <= INLINE and begun + expected <= deadline:
                predicted = self._score(values, columns)
                cost.observe(rows, time.monotonic() - begun)
                return predicted, ""
            if not self._lane.admits(cost, rows, deadline):
                return None, "deadline"
            done = await self._lane.run(lambda: self._score(values, columns), cost, rows, deadline)
            return done, "deadline"
        except Exception:  # whatever a runtime or derive raises: the ladder has other rungs
            if not self._told:
                LOG.exception("the model failed; said once for this version, counted each time")
                self._told = True
            return None, "error"

    def _score(self, values: Values, columns: Values) -> list[Prediction | None]:
        derived = self._rows.derived(values)
        raw = self._scorer.model(self._rows.matrix([*columns, *derived]))
        named = self._rows.named(values, derived) if self._guard.needs_features else ()
        try:
            return self._told_of(self._guard.few(raw, named))
        except ArtifactError:
            lost = [not all(map(math.isfinite, answer)) for answer in raw.tolist()]
        one_by_one = [
            None if gone else self._guard.few(raw[place : place + 1], named[place : place + 1])
            for place, gone in enumerate(lost)
        ]
        return [None if found is None else self._told_of(found)[0] for found in one_by_one]

    def _told_of(self, guarded: Guarded) -> list[Prediction | None]:
        """The policy's decisions as the reply says them."""
        if guarded.probabilities is None:
            return [
                Prediction(value, "model" if not fired else _source("model", fired), fired)
                for value, fired in zip(guarded.values, guarded.fired, strict=True)
            ]
        return [
            Prediction(value, _source("model", fired), fired, _shares(self._classes, shares))
            for value, fired, shares in zip(guarded.values, guarded.fired, guarded.probabilities, strict=True)
        ]

    def _below(self, instance: Any, source: str, why: str) -> Prediction:
        steps: tuple[str, ...] = (f"{source}: {why}",)
        if self._mode == "static" and self._miss == "error":
            return _failed(why, steps)
        if source == "model":
            # Under hybrid the table was asked before the model.
            found = self._look_up(instance, steps) if self._mode == "dynamic" else None
            if found is not None:
                return found
            steps = (*steps, "table: miss")
        found = self._group(instance, steps)
        if found is not None:
            return found
        if self._groups:
            steps = (*steps, "backoff: miss")
        decision = self._guard.fallback(self._named(instance))
        if decision.value is None:
            return _failed(why, (*steps, "fallback: denied") if decision.fired else steps, decision.fired)
        return Prediction(decision.value, "fallback", decision.fired, None, None, steps)

    def _group(self, instance: Any, steps: tuple[str, ...]) -> Prediction | None:
        """The mean of the nearest group that was seen, as the policy allows it for this instance."""
        if self._snapshot is None:
            return None
        key = self._rows.key_values(instance)
        for names in self._groups:
            row = self._snapshot.group(group_key(key[: len(names)]))
            if row is None or row.value is None:
                continue
            mean = row.probabilities or float(row.value)
            value, shares, fired = self._guard.one(self._named(instance), mean)
            probabilities = _shares(self._classes, shares) if shares else None
            group = dict(zip(names, key, strict=False))
            return Prediction(value, _source("backoff", fired), fired, probabilities, group, steps)
        return None

    def _named(self, instance: Any) -> dict[str, Any]:
        values = self._rows.values([instance])
        return self._rows.named(values, self._rows.derived(values))[0] if self._guard.needs_features else {}

    def warm(self, instance: Any) -> None:
        """Measure what the model costs, so that the first request meets a warm session and a known price."""

        def run(rows: int) -> None:
            values = self._rows.values([instance] * rows)
            self._score(values, self._rows.codes(values)[0])

        self.cost = measure(run)


def _put(found: list[Prediction | None], places: Sequence[int], answers: Sequence[Prediction]) -> None:
    for place, answer in zip(places, answers, strict=True):
        found[place] = answer


def _source(source: Source, fired: tuple[str, ...]) -> Source:
    """Where a value comes from after the policy: from its fallback value, when that took the place of another."""
    return "fallback" if fired and fired[-1] == "fallback" else source


def _shares(classes: tuple[str, ...], shares: Sequence[float]) -> dict[str, float] | None:
    return dict(zip(classes, shares, strict=True)) if any(shares) else None


def _failed(why: str, steps: tuple[str, ...], fired: tuple[str, ...] = ()) -> Prediction:
    return Prediction(None, "none", fired, None, None, steps, Failure(*FAILURES[why]))
