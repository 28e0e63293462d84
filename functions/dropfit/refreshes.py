# SPDX-License-Identifier: Apache-2.0
"""`dropfit batch refresh` and its schedule: an order in the data bucket, which a job without arguments finds."""

from __future__ import annotations

import datetime as dt
import logging
import secrets

import msgspec

from . import documents
from .errors import ArtifactError, Conflict, NotFound
from .registry import Registry
from .settings import Settings
from .storage import Bucket

PREFIX = "refreshes/"
SCHEDULED = "scheduled"
"""The schedule's order has one name, so that two sweeps at one moment leave one."""
LOG = logging.getLogger(__name__)


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


def ask(bucket: Bucket, by: str, force: bool = False) -> RefreshRequest:
    """Leave an order for the next job."""
    now = dt.datetime.now(dt.UTC)
    request = RefreshRequest(id=f"{now:%Y%m%dT%H%M%S%f}-{secrets.token_hex(4)}", asked_at=now, by=by, force=force)
    bucket.create(_name(request), documents.encode(request))
    return request


def schedule(bucket: Bucket) -> None:
    """Leave the schedule's order, unless it is there."""
    request = RefreshRequest(id=SCHEDULED, asked_at=dt.datetime.now(dt.UTC), by="the schedule")
    try:
        bucket.create(_name(request), documents.encode(request))
    except Conflict:
        return


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


def waiting(bucket: Bucket) -> bool:
    """Whether there is any order."""
    return next(iter(bucket.list(PREFIX)), None) is not None


def is_waiting(bucket: Bucket, request: RefreshRequest) -> bool:
    """Whether the order has not been carried out yet."""
    return bucket.stat(_name(request)) is not None


def pending(bucket: Bucket) -> list[RefreshRequest]:
    """The orders, oldest first. One that is not readable is put aside."""
    found = []
    for stored in list(bucket.list(PREFIX)):
        payload = bucket.read(stored.name)
        try:
            found.append(documents.decode(payload, RefreshRequest))
        except ArtifactError as error:
            LOG.error("%s is put into quarantine: %s", stored.name, error)
            bucket.put(f"quarantine/{stored.name}", payload)
            bucket.delete(stored.name)
    return found


def count(bucket: Bucket, request: RefreshRequest, attempts: int) -> RefreshRequest:
    """Write how many jobs have begun it: one more before it is begun, one less when that was interrupted."""
    counted = msgspec.structs.replace(request, attempts=max(0, attempts))
    bucket.put(_name(request), documents.encode(counted), "application/json")
    return counted


def done(bucket: Bucket, request: RefreshRequest) -> None:
    """The order has had its outcome."""
    bucket.delete(_name(request))


def _name(request: RefreshRequest) -> str:
    return f"{PREFIX}{request.id}.json"
