# SPDX-License-Identifier: Apache-2.0
"""One upload whose run is ended by force: what holds at that moment, and what becomes of it without a new event."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TypeVar

from herd import Ended
from worlds import Served, World

from dropfit import lease
from dropfit.errors import DropfitError, NotFound
from dropfit.receipts import Receipts, UploadedObject

T = TypeVar("T")
ABREAST = 16
"""Worlds at a time: a dead job's lease runs out in one while others work."""


@dataclass(frozen=True)
class Verdict:
    """What came of it.

    Attributes:
        ended: how the run ended.
        expired: whether a dead job's lease had to run out.
        mixed: what was mixed right after the end, or nothing.
        lost: what was not as it must be in the end, or nothing.
        outcome: the upload's state in the end.
    """

    ended: Ended
    expired: bool = False
    mixed: str = ""
    lost: str = ""
    outcome: str = ""


def suffer(world: World, uploaded: UploadedObject, before: Served, inflict: Callable[[], Ended]) -> Verdict:
    """End a run by force, look at the world at once, let it recover, look again.

    Args:
        world: where.
        uploaded: the upload that the run is about.
        before: what was served before.
        inflict: starts the run that is to be ended.
    """
    ended = inflict()
    mixed = lost = outcome = ""
    expired = lease.read(world.buckets.data)[0] is not None
    try:
        _old_or_new(world, uploaded, before)
    except (AssertionError, DropfitError) as error:
        mixed = f"{type(error).__name__}: {error}"
    try:
        world.recover()
        outcome = _converged(world, uploaded)
    except (AssertionError, DropfitError) as error:
        lost = f"{type(error).__name__}: {error} (log {ended.log})"
    return Verdict(ended, expired, mixed, lost, outcome)


def _old_or_new(world: World, uploaded: UploadedObject, before: Served) -> None:
    """The pointer is the old one or one to a version with the upload; old and new are whole; so is the view."""
    now = world.served()
    if before.pointer is not None:
        rows = world.versions_in(before.pointer.table)
        assert rows == {before.pointer.version: before.rows}, f"the old table changed: {dict(rows)}"
    if now.pointer != before.pointer:
        assert now.pointer is not None, "the pointer is gone"
        inputs = world.registry.manifest(now.pointer.version).inputs
        assert uploaded.id in {i.receipt for i in inputs}, "a version without the upload is served"
    try:
        shown = list(world.versions_in("predictions"))
    except NotFound:
        assert before.pointer is None, "the view is gone"
        return
    known = [p.version for p in (before.pointer, now.pointer) if p is not None]
    assert len(shown) == 1 and shown[0] in known, f"the view shows {shown} of {known}"  # noqa: PT018


def _converged(world: World, uploaded: UploadedObject) -> str:
    """Every receipt is final, the upload is in what is served, no version was fitted more often than jobs died."""
    receipt = world.receipt(uploaded)
    assert receipt.state in ("promoted", "kept"), f"the upload is {receipt.state}: {receipt.reason}"
    assert [r for r in Receipts(world.buckets.data).all() if r.is_open] == []
    served = world.served()
    assert world.view_is(served.pointer), "the view is not repaired"
    if receipt.state == "promoted":
        assert served.pointer is not None, "nothing is served"
        assert served.pointer.version == receipt.version, "another version is served than the receipt says"
        assert uploaded.id in {i.receipt for i in world.registry.manifest(receipt.version).inputs}, "it is not in it"
    fitted = world.fitted()[receipt.version]
    assert fitted <= 2, f"{receipt.version} was fitted {fitted} times after one crash"
    return receipt.state


def abreast(work: Callable[[T], None], items: Iterable[T]) -> list[str]:
    """Do the work for every item, many at once; returns what broke the harness itself."""
    broken: list[str] = []

    def careful(item: T) -> None:
        try:
            work(item)
        except Exception as error:
            broken.append(f"{item}: {type(error).__name__}: {error}")

    with ThreadPoolExecutor(ABREAST) as pool:
        list(pool.map(careful, items))
    return broken


def count(verdicts: Iterable[Verdict]) -> dict[str, int]:
    """The numbers that every proof of this kind tells."""
    found: Counter[str] = Counter(mixed=0, lost=0, expired=0)
    for verdict in verdicts:
        found["mixed"] += bool(verdict.mixed)
        found["lost"] += bool(verdict.lost)
        found["expired"] += verdict.expired
        found[verdict.outcome or "no outcome"] += 1
    return dict(found)
