# SPDX-License-Identifier: Apache-2.0
"""Instances -> predictions, each from the best source that can answer in time.

Under `hybrid` the table's head is asked first and the model for the rest; what neither can answer by the deadline
steps down: model -> table -> mean of the nearest coarser group -> the policy's fallback value -> an error that says
why. Every source is one version's, and the policy applies to all of them.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Sequence
from typing import Any, Literal

from .admission import INLINE, Lane
from .answers import Failure, Prediction
from .backoff import group_key
from .online import Online, after, named_shares
from .snapshot import Row, Snapshot
from .version import Version

LOG = logging.getLogger(__name__)
Mode = Literal["static", "dynamic", "hybrid"]
MOST_HOT = 8_192
"""Rows of the snapshot that are kept decoded, the first ones asked for: some 300 bytes each."""
FAILURES = {
    "miss": (
        404,
        "NOT_FOUND",
        "the table's head, which is all that is asked here, has no such row",
    ),
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
        contract = version.manifest.contract
        self._classes = version.manifest.classes
        self._online = Online(version)
        self._snapshot = snapshot
        self._mode = mode
        self._miss = miss
        self._lane = lane
        self._groups = contract.backoff if snapshot is not None else ()
        self._told = False
        self._hot: dict[tuple[Any, ...], Row] = {}

    @property
    def online(self) -> Online:
        """The model."""
        return self._online

    def at_once(self, instances: Sequence[Any], deadline: float) -> list[Prediction] | None:
        """One prediction per instance, in their order; None where the model takes its time: then ask `in_time`.

        Args:
            instances: as the version's decoder makes them, at least one.
            deadline: by time.monotonic.
        """
        if self._mode == "dynamic":
            return self._modelled(instances, deadline)
        found = [self._look_up(instance) for instance in instances]
        if None not in found:
            return found  # type: ignore[return-value]  # none is left
        rest = [position for position, answer in enumerate(found) if answer is None]
        asked = [instances[position] for position in rest]
        below: list[Prediction] | None
        if self._mode == "static":
            below = [self._below(instance, "table", "miss") for instance in asked]
        else:
            below = self._modelled(asked, deadline)
        return None if below is None else _put(found, rest, below)  # type: ignore[return-value]  # none is left

    def _look_up(self, instance: Any, steps: tuple[str, ...] = ()) -> Prediction | None:
        """What the table's head holds for an instance."""
        if self._snapshot is None or not self._online.rows.hits(instance):
            return None
        key = self._online.rows.key_values(instance)
        row = self._hot.get(key)
        if row is None:
            row = self._snapshot.get(self._online.rows.key(instance))
            if row is None:
                return None
            if len(self._hot) < MOST_HOT:
                self._hot[key] = row
        fired, shares = row.fired, row.probabilities
        if not fired and not shares:
            return Prediction(row.value, "table", fired, None, None, steps)
        return Prediction(row.value, after("table", fired), fired, named_shares(self._classes, shares), None, steps)

    def _modelled(self, instances: Sequence[Any], deadline: float) -> list[Prediction] | None:
        """The model's predictions, and the rungs' below where it has none; None when it belongs in the lane."""
        online, rows = self._online, len(instances)
        begun, expected = time.monotonic(), online.cost.estimate(rows)
        if expected > INLINE:
            return None
        if begun + expected > deadline:
            return [self._below(instance, "model", "deadline") for instance in instances]
        try:
            if rows == 1:
                single = online.one(instances[0])
                if single is not None:
                    online.cost.observe(1, time.monotonic() - begun)
                    return [single]
            told = self._run(instances)
            online.cost.observe(rows, time.monotonic() - begun)
            return [self._or_below(i, p, "no number") for i, p in zip(instances, told, strict=True)]
        except Exception:  # whatever a runtime or derive raises: the ladder has other rungs
            if rows > 1:  # what one instance has brought about, the others need not pay for
                alone = [(self._modelled([instance], deadline), instance) for instance in instances]
                return [told[0] if told else self._below(instance, "model", "error") for told, instance in alone]
            self._tell()
            return [self._below(instance, "model", "error") for instance in instances]

    async def in_time(self, instances: Sequence[Any], deadline: float) -> list[Prediction]:
        """The same for a model that takes its time: by the lane's thread, if it can answer by the deadline."""
        found = await self._beside(instances, deadline)
        return [self._or_below(i, p, "deadline") for i, p in zip(instances, found, strict=True)]

    async def _beside(self, instances: Sequence[Any], deadline: float) -> list[Prediction | None]:
        found: list[Prediction | None] = [None] * len(instances)
        if self._mode == "hybrid":
            found = [self._look_up(instance) for instance in instances]
        rest = [position for position, answer in enumerate(found) if answer is None]
        asked = [instances[position] for position in rest]
        cost = self._online.cost
        if not self._lane.admits(cost, len(asked), deadline):
            return _put(found, rest, self._grouped(asked))
        why = "no number"
        try:
            done = await self._lane.run(lambda: self._run(asked), cost, len(asked), deadline)
        except Exception:  # as above
            self._tell()
            done, why = [None] * len(asked), "error"
        if done is None:
            return _put(found, rest, self._grouped(asked))
        return _put(found, rest, [self._or_below(i, p, why) for i, p in zip(asked, done, strict=True)])

    def _run(self, instances: Sequence[Any]) -> list[Prediction | None]:
        """The model's predictions; the groups' where a category was never seen."""
        rows = self._online.rows
        values = rows.values(instances)
        columns, unseen = rows.codes(values)
        if not (unseen and self._groups):
            return self._online.many(values, columns)
        found = self._grouped(instances)
        rest = [position for position, answer in enumerate(found) if answer is None]
        if not rest:
            return found
        values = rows.values([instances[position] for position in rest])
        return _put(found, rest, self._online.many(values, rows.codes(values)[0]))

    def _tell(self) -> None:
        if not self._told:
            LOG.exception("the model failed; said once for this version, counted each time")
            self._told = True

    def _grouped(self, instances: Sequence[Any]) -> list[Prediction | None]:
        """What holds a category that training never saw, answered by the group that it belongs to.

        An instance that no group knows either stays with the model, which takes the category for missing.
        """
        unseen = self._online.rows.codes(self._online.rows.values(instances))[1] if self._groups else {}
        return [
            self._group(instance, (f"model: unseen {unseen[position]}",)) if position in unseen else None
            for position, instance in enumerate(instances)
        ]

    def _or_below(self, instance: Any, answer: Prediction | None, why: str) -> Prediction:
        return self._below(instance, "model", why) if answer is None else answer

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
        decision = self._online.guard.fallback(self._online.named(instance))
        if decision.value is None:
            return _failed(why, (*steps, "fallback: denied") if decision.fired else steps, decision.fired)
        return Prediction(decision.value, "fallback", decision.fired, None, None, steps)

    def _group(self, instance: Any, steps: tuple[str, ...]) -> Prediction | None:
        """The mean of the nearest group that was seen, as the policy allows it for this instance."""
        if self._snapshot is None:
            return None
        key = self._online.rows.key_values(instance)
        for names in self._groups:
            row = self._snapshot.group(group_key(key[: len(names)]))
            if row is None or row.value is None:
                continue
            mean = row.probabilities or float(row.value)
            value, shares, fired = self._online.guard.one(self._online.named(instance), mean)
            probabilities = named_shares(self._classes, shares)
            group = dict(zip(names, key, strict=False))
            return Prediction(value, after("backoff", fired), fired, probabilities, group, steps)
        return None


def _put(
    found: list[Prediction | None], places: Sequence[int], answers: Sequence[Prediction | None]
) -> list[Prediction | None]:
    """A list with its gaps filled."""
    for place, answer in zip(places, answers, strict=True):
        found[place] = answer
    return found


def _failed(why: str, steps: tuple[str, ...], fired: tuple[str, ...] = ()) -> Prediction:
    return Prediction(None, "none", fired, None, None, steps, Failure(*FAILURES[why]))
