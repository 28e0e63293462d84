# SPDX-License-Identifier: Apache-2.0
"""After a 2xx no event comes again: what a crash left behind is found by looking, not by waiting.

A timer of the local cloud, Cloud Scheduler in the cloud.
"""

from __future__ import annotations

import datetime as dt
import logging

import msgspec

from . import lease, orders, storage
from .launch import Launcher, launcher
from .receipts import Receipt, Receipts, UploadedObject
from .settings import Settings
from .storage import Buckets

LOG = logging.getLogger(__name__)


class Swept(msgspec.Struct, frozen=True):
    """What a sweep found.

    Attributes:
        registered: uploads that no event had announced.
        launched: where to follow the job it started, empty when none was needed.
    """

    registered: int
    launched: str


def sweep(settings: Settings) -> Swept:
    """Compare the landing bucket with the receipts, and start a job when something waits and nobody works.

    Raises:
        Unavailable: when storage does not answer or the job cannot be started.
    """
    return sweep_with(settings, storage.connect(settings), launcher(settings))


def sweep_with(settings: Settings, buckets: Buckets, start: Launcher) -> Swept:
    """The same, with the buckets and the launcher given."""
    registered = register_missing(buckets, settings.sweep_grace_seconds)
    holder, _ = lease.read(buckets.data)
    if holder is not None or not something_waits(buckets, settings):
        return Swept(registered, "")
    return Swept(registered, start.launch())


def register_missing(buckets: Buckets, grace_seconds: float) -> int:
    """Write receipts for uploads older than the grace that have none; returns how many."""
    receipts = Receipts(buckets.data)
    known = receipts.ids()
    cutoff = dt.datetime.now(dt.UTC) - dt.timedelta(seconds=grace_seconds)
    registered = 0
    for stored in buckets.landing.list():
        uploaded = UploadedObject(stored.bucket, stored.name, stored.generation)
        if uploaded.id not in known and stored.updated < cutoff:
            registered += receipts.register(uploaded)[1]
    return registered


def something_waits(buckets: Buckets, settings: Settings) -> bool:
    """Whether an open receipt is due, or somebody asked for a training."""
    now = dt.datetime.now(dt.UTC)
    due = any(_is_due(receipt, settings, now) for receipt in Receipts(buckets.data).open())
    return due or orders.waiting(buckets.data)


def _is_due(receipt: Receipt, settings: Settings, now: dt.datetime) -> bool:
    """An upload whose job ended without an outcome is tried again after a while that grows with each attempt."""
    if receipt.updated_at == receipt.received_at:
        return True
    pause = settings.sweep_grace_seconds * max(1, (4**receipt.attempts - 1) / 3)
    return now - receipt.updated_at >= dt.timedelta(seconds=pause)
