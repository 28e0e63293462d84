# SPDX-License-Identifier: Apache-2.0
"""What is happening to an upload, told while it happens: `dropfit upload --wait`, `dropfit train`, the demo."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Iterator
from typing import Any

import msgspec

from . import documents, runs
from .errors import NotFound, Unavailable
from .receipts import Receipt, Receipts
from .runs import Run
from .storage import Bucket

POLL_SECONDS = 0.2


class Moment(msgspec.Struct, frozen=True):
    """Something has happened.

    Attributes:
        what: received, launched, outcome, or a step of the run that has ended (ingest, train, export, ...).
        seconds: since following began; for a step how long it took.
        detail: what is known of it.
    """

    what: str
    seconds: float
    detail: dict[str, Any]


class Follower:
    """Follows uploads, or the run of a request, until all have their outcome.

    Args:
        data: the data bucket.
        seconds: patience.
    """

    def __init__(self, data: Bucket, seconds: float) -> None:
        self._data = data
        self._receipts = Receipts(data)
        self._begun = time.monotonic()
        self._deadline = self._begun + seconds
        self._told: set[tuple[str, ...]] = set()
        self._before = {s.name for s in data.list(runs.PREFIX)}

    def uploads(self, ids: Collection[str]) -> Iterator[Moment]:
        """Moments of the uploads with these receipt ids.

        Raises:
            Unavailable: when patience ends.
        """
        waiting = set(ids)
        while waiting:
            for receipt_id in sorted(waiting):
                receipt = self._find(receipt_id)
                if receipt is not None:
                    yield from self._once(("received", receipt_id), "received", {"name": receipt.object.name})
                    yield from self._runs(lambda run, wanted=receipt_id: wanted in run.receipts)  # type: ignore[misc]
                    if not receipt.is_open:
                        waiting.discard(receipt_id)
                        yield from self._once(("outcome", receipt_id), "outcome", _outcome(receipt))
            if waiting:
                self._pause(f"{len(waiting)} uploads have no outcome yet")

    def run(self, is_done: Callable[[], bool]) -> Iterator[Moment]:
        """Moments of the runs that begin from now on, until the condition holds.

        Raises:
            Unavailable: when patience ends.
        """
        while True:
            done = is_done()
            yield from self._runs(lambda run: True)
            if done:
                return
            self._pause("the training has not ended yet")

    def _runs(self, wanted: Callable[[Run], bool]) -> Iterator[Moment]:
        for stored in self._data.list(runs.PREFIX):
            if stored.name in self._before:
                continue
            run = documents.decode(self._data.read(stored.name), Run)
            if not wanted(run):
                continue
            yield from self._once(("launched", run.id), "launched", {"job": run.job})
            for step in run.steps:
                if step.seconds is not None and ("step", run.id, step.name) not in self._told:
                    self._told.add(("step", run.id, step.name))
                    yield Moment(step.name, step.seconds, step.detail)
            if run.finished:
                detail = {"outcome": run.outcome, "reason": run.reason, "version": run.version}
                yield from self._once(("finished", run.id), "finished", detail)

    def _once(self, key: tuple[str, ...], what: str, detail: dict[str, Any]) -> Iterator[Moment]:
        if key not in self._told:
            self._told.add(key)
            yield Moment(what, round(time.monotonic() - self._begun, 3), detail)

    def _find(self, receipt_id: str) -> Receipt | None:
        try:
            return self._receipts.get(receipt_id)
        except NotFound:
            return None

    def _pause(self, late: str) -> None:
        if time.monotonic() > self._deadline:
            raise Unavailable(f"{late}; `dropfit status` and `dropfit logs retrain` say more")
        time.sleep(POLL_SECONDS)


def _outcome(receipt: Receipt) -> dict[str, Any]:
    return {
        "name": receipt.object.name,
        "state": receipt.state,
        "reason": receipt.reason,
        "version": receipt.version,
    }
