# SPDX-License-Identifier: Apache-2.0
"""`dropfit batch refresh` and its schedule: an order in the data bucket, which a job without arguments finds."""

from __future__ import annotations

import contextlib
import datetime as dt

import msgspec

from .errors import Conflict, NotFound
from .queues import Queue, fresh
from .registry import Registry
from .settings import Settings
from .storage import Bucket

PREFIX = "refreshes/"
SCHEDULED = "scheduled"
"""The schedule's order has one name, so that two sweeps at one moment leave one."""


class RefreshRequest(msgspec.Struct, frozen=True, kw_only=True):
    """Somebody asked for the served table to be filled anew.

    Attributes:
        id: its name.
        asked_at: when.
        by: the person, or `the schedule`.
        force: also when no key has come, and also when its predictions lie far from those of the served table.
        attempts: how many jobs have begun to fill it.
    """

    id: str
    asked_at: dt.datetime
    by: str = ""
    force: bool = False
    attempts: int = 0


_QUEUE = Queue(PREFIX, RefreshRequest)
waiting, is_waiting, pending = _QUEUE.waiting, _QUEUE.is_waiting, _QUEUE.pending
count, done = _QUEUE.count, _QUEUE.done


def ask(bucket: Bucket, by: str, force: bool = False) -> RefreshRequest:
    """Leave an order for the next job."""
    name, now = fresh()
    return _QUEUE.add(bucket, RefreshRequest(id=name, asked_at=now, by=by, force=force))


def schedule(bucket: Bucket) -> None:
    """Leave the schedule's order, unless it is there."""
    with contextlib.suppress(Conflict):
        _QUEUE.add(bucket, RefreshRequest(id=SCHEDULED, asked_at=dt.datetime.now(dt.UTC), by="the schedule"))


def due(bucket: Bucket, registry: Registry, settings: Settings, now: dt.datetime) -> bool:
    """Whether the served table is older than DROPFIT_REFRESH_HOURS, and rows were accepted since.

    Args:
        bucket: the data bucket.
        registry: what is served, and since when its table is filled.
        settings: the hours; 0 is never.
        now: UTC.

    Raises:
        ArtifactError: when pointer or table are not readable.
    """
    if not settings.refresh_hours:
        return False
    pointer = registry.current().pointer
    if pointer is None:
        return False
    try:
        done = registry.completed(pointer.version)
    except NotFound:
        return False
    looked = max(done.verified_at, done.looked_at or done.verified_at)
    if now - looked < dt.timedelta(hours=settings.refresh_hours):
        return False
    return any(stored.updated > looked for stored in bucket.list("accepted/"))
