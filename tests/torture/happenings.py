# SPDX-License-Identifier: Apache-2.0
"""What can happen in a history: what people, delivery and machines do, and how often."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from processes import Process
from world import World


class Op(NamedTuple):
    """One operation.

    Attributes:
        what: its name in ACTS.
        name: of the object, or what kind of file.
        count: seconds, times, or which of several.
        inside: job, function, sweep or person: it happens inside the next process of that kind, at its call ...
        at: ... of this number ...
        after: ... once that call has taken effect.
    """

    what: str
    name: str = ""
    count: int = 0
    inside: str = ""
    at: int = 0
    after: bool = False

    def __str__(self) -> str:
        told = " ".join(str(part) for part in (self.what, self.name, self.count or "") if part)
        if not self.inside:
            return told
        return f"{told}, {'after' if self.after else 'before'} call {self.at} of the next {self.inside}"


def upload(world: World, op: Op) -> None:
    name, kind = op.name.split()
    world.upload(name, kind)


def delete(world: World, op: Op) -> None:
    world.landing.delete(op.name)


def deliver(world: World, op: Op) -> None:
    """An event arrives, in any order, and perhaps not for the last time."""
    if world.events:
        event = world.events[op.count % len(world.events)]
        if world.deliver(event) and op.name != "again" and event in world.events:
            world.events.remove(event)


def drop(world: World, op: Op) -> None:
    """An event is lost."""
    if world.events:
        world.events.pop(op.count % len(world.events))


def lose_launch(world: World, op: Op) -> None:
    """A job that was launched never starts."""
    world.launched = max(0, world.launched - 1)


def tear(world: World, op: Op) -> None:
    """The next load into BigQuery loses a row."""
    world.warehouse.torn = 1
    world.tears += 1


def skew(world: World, op: Op) -> None:
    """Processes that start from now on have a wrong clock."""
    world.skew = float(op.count)


def order(world: World, op: Op) -> None:
    world.ordered = True
    world.order((op.name,) if op.name else ())


def refresh(world: World, op: Op) -> None:
    world.refresh(bool(op.count % 2))


def _named(world: World, op: Op) -> str:
    versions = world.versions()
    return versions[op.count % len(versions)] if versions else "none"


def rollback(world: World, op: Op) -> None:
    """To the version before, or to any."""
    version = _named(world, op) if op.name else ""
    world.decide("rollback", lambda desk: desk.rollback(version))


def pin(world: World, op: Op) -> None:
    world.pinned = True
    version = _named(world, op) if op.name else ""
    world.decide("pin", lambda desk: desk.pin(version))


def unpin(world: World, op: Op) -> None:
    world.decide("unpin", lambda desk: desk.unpin())


def approve(world: World, op: Op) -> None:
    version = _named(world, op)
    world.decide("approve", lambda desk: desk.approve(version, anyway=bool(op.name)))


def reject(world: World, op: Op) -> None:
    version = _named(world, op)
    world.decide("reject", lambda desk: desk.reject(version))


ACTS: dict[str, Callable[[World, Op], None]] = {
    "upload": upload,
    "delete": delete,
    "deliver": deliver,
    "drop": drop,
    "job": lambda world, op: world.run_job(),
    "lose launch": lose_launch,
    "sweep": lambda world, op: world.sweep(),
    "wait": lambda world, op: world.pass_time(op.count),
    "order": order,
    "refresh": refresh,
    "rollback": rollback,
    "pin": pin,
    "unpin": unpin,
    "approve": approve,
    "reject": reject,
    "replay": lambda world, op: world.replay(op.name),
    "release": lambda world, op: world.release(op.count),
    "gc": lambda world, op: world.collect(),
    "tear": tear,
    "skew": skew,
}
WEIGHTS = {
    "upload": 16,
    "delete": 3,
    "deliver": 16,
    "drop": 3,
    "job": 14,
    "lose launch": 2,
    "sweep": 6,
    "wait": 6,
    "order": 5,
    "refresh": 5,
    "rollback": 8,
    "pin": 2,
    "unpin": 3,
    "approve": 6,
    "reject": 1,
    "replay": 3,
    "release": 4,
    "gc": 4,
    "tear": 1,
    "skew": 2,
}
"""How often each happens."""


def crash(process: Process, op: Op) -> None:
    process.die()


def terminate(process: Process, op: Op) -> None:
    """SIGTERM, as Cloud Run and `dropfit down` send it: the job unwinds."""
    process.world.crashes += 1
    raise SystemExit(143)


def fault(process: Process, op: Op) -> None:
    """Storage or BigQuery does not answer for some calls, the retries of each exhausted."""
    process.world.crashes += 1
    process.faults = op.count


def hang(process: Process, op: Op) -> None:
    """The process stands still for longer than its lease, and then goes on as if nothing had been."""
    process.suspended = True
    process.world.pass_time(op.count)
    process.world.sweep()
    process.world.run_job()


DISTURBANCES: dict[str, Callable[[Process, Op], None]] = {
    "crash": crash,
    "terminate": terminate,
    "fault": fault,
    "hang": hang,
}
DISTURBING = {"crash": 8, "terminate": 2, "fault": 4, "hang": 2}
MEANWHILE = {
    "upload": 5,
    "deliver": 5,
    "delete": 1,
    "job": 2,
    "sweep": 2,
    "order": 1,
    "refresh": 1,
    "rollback": 5,
    "pin": 1,
    "unpin": 1,
    "approve": 2,
    "reject": 1,
    "replay": 1,
    "release": 1,
    "gc": 2,
}
"""What else happens while a job is at work."""
