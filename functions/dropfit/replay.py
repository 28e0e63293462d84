# SPDX-License-Identifier: Apache-2.0
"""A person says "go on": what waits is worked on now, and one upload can be taken in from the start."""

from __future__ import annotations

import msgspec

from . import lease, orders, sweep
from .errors import Conflict, NotFound
from .launch import Launcher
from .operations import settle_decided
from .receipts import Receipt, Receipts, UploadedObject
from .registry import Registry
from .storage import Buckets


class Replayed(msgspec.Struct, frozen=True):
    """What a replay did.

    Attributes:
        registered: uploads that no event had announced.
        waiting: uploads that have no outcome yet.
        launched: where to follow the job it started; empty when one is at work or nothing waits.
    """

    registered: int
    waiting: tuple[Receipt, ...]
    launched: str


def replay(buckets: Buckets, start: Launcher, name: str = "") -> Replayed:
    """Do now what the sweeper does after its pauses: register what has no receipt, start a job if something waits.

    Args:
        buckets: the deployment's.
        start: starts a job.
        name: take in this object again from the start, whatever became of it.

    Raises:
        NotFound: when no such object was ever uploaded.
        Conflict: when a job is writing its receipt at this moment.
    """
    receipts = Receipts(buckets.data)
    registered = sweep.register_missing(buckets, 0.0)
    settle_decided(Registry(buckets.models), receipts)
    if name:
        again(buckets, receipts, name)
    waiting = tuple(receipts.open())
    if not waiting and not orders.waiting(buckets.data):
        return Replayed(registered, (), "")
    return Replayed(registered, waiting, "" if lease.is_held(buckets.data) else start.launch())


def again(buckets: Buckets, receipts: Receipts, name: str) -> Receipt:
    """Open the receipt of an object's live generation again.

    Raises:
        NotFound: when there is no such object; says so when there once was.
    """
    live = buckets.landing.stat(name)
    if live is None:
        raise NotFound(f"gs://{buckets.landing.name}/{name} does not exist (any more): upload it again")
    receipt, fresh = receipts.register(UploadedObject(live.bucket, live.name, live.generation))
    if fresh or receipt.state == "received":
        return receipt
    try:
        # What was accepted stays until it is read again: were the object gone by then, its older generation would
        # come back into the window.
        return receipts.advance(receipt, state="received", attempts=0, reason="", code="", version="")
    except Conflict as error:
        raise Conflict(f"a job is at work on {name}: wait for its outcome, then try again") from error
