# SPDX-License-Identifier: Apache-2.0
"""Processes that can be interrupted at any call they make to storage or BigQuery."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from dropfit.errors import Unavailable
from dropfit.storage import Buckets

if TYPE_CHECKING:
    from world import World

CALL_SECONDS = 0.05
PATIENCE = 600
"""Calls after which a process is said to turn in circles; a job makes about a hundred a round."""
WRITES = frozenset({"create", "replace", "put", "delete", "load", "point_view", "drop"})


class Killed(BaseException):
    """The process is dead: whatever it still calls, in its `finally` blocks too, has no effect."""


class Violation(AssertionError):
    """A written invariant does not hold."""


class Interruption(NamedTuple):
    """Something that happens at a process's call.

    Attributes:
        at: before or after which of its calls, counted from 1.
        after: whether that call takes effect first.
        act: what happens.
    """

    at: int
    after: bool
    act: Callable[[Process], None]


class Process:
    """Something that runs: a job, a function, the sweeper, a person's command.

    Args:
        world: where.
        kind: job, function, sweep or person.
        name: for people.
        interruptions: what happens to it.
    """

    def __init__(self, world: World, kind: str, name: str, interruptions: Sequence[Interruption]) -> None:
        self.world, self.kind, self.name = world, kind, name
        self.skew = world.skew
        self.calls = 0
        self.dead = False
        self.ended = ""
        self.suspended = self.begins = False
        self.version = ""
        self.faults = 0
        self._interruptions = list(interruptions)
        wires = (Wire(self, bucket, bucket.name) for bucket in world.buckets)
        self.buckets: Buckets = Buckets(*wires)  # type: ignore[arg-type]
        self.warehouse = Wire(self, world.warehouse, "warehouse")

    def call(self, where: str, method: str, function: Callable[..., Any], *given: Any, **named: Any) -> Any:
        """One call to the outside."""
        if self.dead:
            raise Killed
        self.calls += 1
        if self.calls > PATIENCE:
            raise Violation(f"{self.name} turns in circles: {where}.{method}")
        number = self.calls
        self.world.pass_time(CALL_SECONDS)
        self._interrupt(number, False)
        self._fault(where)
        answer = function(*given, **named)
        if method in WRITES:
            self.world.changed(self, where, method, str(given[0]) if given else "")
        self._interrupt(number, True)
        self._fault(where)
        return answer

    def _fault(self, where: str) -> None:
        if self.faults:
            self.faults -= 1
            raise Unavailable(f"{where} did not answer")

    def _interrupt(self, number: int, after: bool) -> None:
        due = [i for i in self._interruptions if (i.at, i.after) == (number, after)]
        for interruption in due:
            self._interruptions.remove(interruption)
            interruption.act(self)
            self.world.show_clock()

    def die(self) -> None:
        """The power goes off."""
        self.dead = True
        self.world.crashes += 1
        raise Killed

    def launch(self) -> str:
        """dropfit.launch.Launcher: the job is started, and runs when its time comes."""
        return str(self.call("launcher", "launch", self.world.start_job))


class Wire:
    """A bucket or the warehouse as one process reaches it."""

    def __init__(self, process: Process, there: Any, name: str) -> None:
        self._process, self._there, self._name = process, there, name

    def __getattr__(self, method: str) -> Any:
        there = getattr(self._there, method)
        if not callable(there) or method in ("uri", "name"):
            return there

        def call(*given: Any, **named: Any) -> Any:
            return self._process.call(self._name, method, there, *given, **named)

        return call
