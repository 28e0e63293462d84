# SPDX-License-Identifier: Apache-2.0
"""After a 2xx no event comes again: what a crash left behind is found by looking, not by waiting.

A timer of the local cloud calls `sweep`; in the cloud Cloud Scheduler starts this module as a job:

    set -a; . .dropfit/env; .venv/bin/python -m dropfit.sweep
"""

from __future__ import annotations

import datetime as dt
import logging
import sys

import msgspec

from . import joblog, lease, orders, refreshes, storage, view
from . import settings as config
from .errors import ArtifactError, DropfitError
from .launch import Launcher, launcher
from .operations import settle_decided
from .receipts import Receipt, Receipts, UploadedObject
from .registry import Registry
from .settings import Settings
from .storage import Buckets

LOG = logging.getLogger("dropfit.sweep")  # also where this is started as a module


class Swept(msgspec.Struct, frozen=True):
    """What a sweep found.

    Attributes:
        registered: uploads that no event had announced.
        launched: where to follow the job it started, empty when none was needed.
        repaired: the table that the view had to be pointed at, empty when it was right.
    """

    registered: int
    launched: str
    repaired: str = ""


def main() -> int:
    """Sweep the deployment that the environment names; 0 unless something has to be looked at again."""
    joblog.set_up()
    try:
        tell(sweep(config.load()))
    except DropfitError as fault:
        LOG.error("stopped; the next sweep looks again: %s", fault)
        return 1
    return 0


def sweep(settings: Settings) -> Swept:
    """Compare landing bucket and receipts, start a job when something waits and nobody works, mend the view.

    Raises:
        Unavailable: when storage or BigQuery does not answer or the job cannot be started.
    """
    buckets = storage.connect(settings)
    swept = sweep_with(settings, buckets, launcher(settings))
    return msgspec.structs.replace(swept, repaired=mend_view(settings, buckets))


def tell(swept: Swept) -> None:
    """Log what a sweep found."""
    told = joblog.fields(
        "sweep", registered=swept.registered, launched=bool(swept.launched), repaired=bool(swept.repaired)
    )
    LOG.info(
        "swept: %d uploads had no event; job: %s; view: %s",
        swept.registered,
        swept.launched or "none needed",
        swept.repaired or "right",
        extra=told,
    )


def mend_view(settings: Settings, buckets: Buckets) -> str:
    """Point the view where the pointer says; a job may have been killed between the two."""
    registry = Registry(buckets.models)
    if not registry.generation():
        return ""
    from .warehouse import Warehouse

    return view.repair(registry, Warehouse(settings))


def sweep_with(settings: Settings, buckets: Buckets, start: Launcher) -> Swept:
    """Uploads and jobs alone, with the buckets and the launcher given."""
    registered = register_missing(buckets, settings.sweep_grace_seconds)
    settle_decided(Registry(buckets.models), Receipts(buckets.data))
    # The lease first: while a job is at work, a long backlog need not be read to learn that somebody waits.
    if lease.is_held(buckets.data):
        return Swept(registered, "")
    order_refresh(buckets, settings)
    return Swept(registered, start.launch() if something_waits(buckets, settings) else "")


def order_refresh(buckets: Buckets, settings: Settings) -> None:
    """Leave the schedule's order when the served table is due to be filled anew."""
    try:
        if refreshes.due(buckets.data, Registry(buckets.models), settings, dt.datetime.now(dt.UTC)):
            refreshes.schedule(buckets.data)
    except ArtifactError as error:  # told by status, and no reason to leave uploads lying
        LOG.warning("no refresh is ordered: %s", error)


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
    """Whether an open receipt is due, or somebody asked for a training or a refresh."""
    now = dt.datetime.now(dt.UTC)
    due = any(_is_due(receipt, settings, now) for receipt in Receipts(buckets.data).open())
    return due or orders.waiting(buckets.data) or refreshes.waiting(buckets.data)


def _is_due(receipt: Receipt, settings: Settings, now: dt.datetime) -> bool:
    """An upload whose job ended without an outcome is tried again after a while that grows with each attempt."""
    if receipt.updated_at == receipt.received_at:
        return True
    pause = settings.sweep_grace_seconds * max(1, (4**receipt.attempts - 1) / 3)
    return now - receipt.updated_at >= dt.timedelta(seconds=pause)


if __name__ == "__main__":
    sys.exit(main())
