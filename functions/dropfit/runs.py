# SPDX-License-Identifier: Apache-2.0
"""What a retraining job did, step by step with times, under `runs/` in the data bucket: told while it happens."""

from __future__ import annotations

import datetime as dt
import logging
import time
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

import msgspec

from . import documents, joblog
from .errors import DropfitError
from .storage import Bucket

PREFIX = "runs/"
LOG = logging.getLogger(__name__)
DETAIL: ContextVar[dict[str, Any]] = ContextVar("detail")
"""The detail of the step that goes on."""


class Step(msgspec.Struct, kw_only=True):
    """One step of a run.

    Attributes:
        name: ingest, train, export, gate, table or promote.
        started: when.
        seconds: how long it took; None while it goes on.
        detail: what it found, for people and programs.
    """

    name: str
    started: dt.datetime
    seconds: float | None = None
    detail: dict[str, Any] = {}


class Run(msgspec.Struct, kw_only=True):
    """One round of a job.

    Attributes:
        id: its name, sorted by time.
        job: the process or execution it ran in, which names the log.
        started: when.
        receipts: the uploads it worked on.
        steps: in order.
        finished: when; None while it goes on, or when it was killed.
        outcome: promoted, held, kept, recorded, nothing, failed or interrupted.
        reason: why, in a sentence.
        version: the version it made.
    """

    id: str
    job: str
    started: dt.datetime
    receipts: list[str]
    steps: list[Step] = []
    finished: dt.datetime | None = None
    outcome: str = ""
    reason: str = ""
    version: str = ""


class RunLog:
    """Writes a run as it goes. A write that fails costs the story, not the run.

    Args:
        bucket: the data bucket.
        job: the process or execution.
    """

    def __init__(self, bucket: Bucket, job: str) -> None:
        now = dt.datetime.now(dt.UTC)
        self._bucket = bucket
        self.run = Run(id=f"{now:%Y%m%dT%H%M%S%f}-{job}", job=job, started=now, receipts=[])

    @contextmanager
    def step(self, name: str) -> Iterator[dict[str, Any]]:
        """Time a step; what is put into the dictionary is kept with it, and told when the next one begins."""
        step = Step(name=name, started=dt.datetime.now(dt.UTC), detail={})
        self.run.steps.append(step)
        # With the end of the step before: storage takes about one write a second to one name.
        self.write()
        begun = time.monotonic()
        DETAIL.set(step.detail)
        try:
            yield step.detail
        except BaseException:
            step.seconds = round(time.monotonic() - begun, 3)
            self.write()
            raise
        finally:
            DETAIL.set({})
        step.seconds = round(time.monotonic() - begun, 3)
        LOG.info("%s: %.2f s %s", name, step.seconds, step.detail)

    def finish(self, outcome: str, reason: str = "") -> None:
        """The run has come to its end."""
        self.run.finished = dt.datetime.now(dt.UTC)
        self.run.outcome, self.run.reason = outcome, reason
        self.write()
        self._tell(self.run.finished)

    def _tell(self, finished: dt.datetime) -> None:
        run = self.run
        told = joblog.fields(
            "run",
            outcome=run.outcome,
            run=run.id,
            version=run.version,
            seconds=round((finished - run.started).total_seconds(), 3),
            uploads=len(run.receipts),
        )
        level = logging.ERROR if run.outcome == "failed" else logging.INFO
        LOG.log(level, "%s %s: %s", run.outcome, run.version, run.reason, extra=told)

    def write(self) -> None:
        """Keep what is known now."""
        try:
            self._bucket.put(f"{PREFIX}{self.run.id}.json", documents.encode(self.run), "application/json")
        except DropfitError as error:
            LOG.warning("the run's record could not be written: %s", error)


@contextmanager
def part(name: str) -> Iterator[None]:
    """Time a part of the step that goes on, if one does: the seconds stand in the step's detail, under `seconds`."""
    begun = time.monotonic()
    try:
        yield
    finally:
        seconds = DETAIL.get({}).setdefault("seconds", {})
        seconds[name] = round(seconds.get(name, 0.0) + time.monotonic() - begun, 3)


def latest(bucket: Bucket, count: int) -> list[Run]:
    """The newest runs, oldest of them first.

    Raises:
        ArtifactError: when one is not readable.
    """
    names = sorted(s.name for s in bucket.list(PREFIX))[-count:]
    return [documents.decode(bucket.read(name), Run) for name in names]
