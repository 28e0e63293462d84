# SPDX-License-Identifier: Apache-2.0
"""A deployment in memory whose processes (processes.py) can be interrupted at any call to storage or BigQuery.

The orchestration in it is the real one: on_upload, the sweeper, the job's rounds, receipts, lease, registry and a
person's commands. Only what a machine would compute is stood in for (stage.py): reading a file, fitting, exporting,
predicting a table.

A process sees the world through `Wire`s. Each call it makes is counted, and an interruption that was armed for that
call happens just before or just after it took effect: the process dies, the answer is lost, it is suspended for a
while, or something else goes on meanwhile.
"""

from __future__ import annotations

import collections
import datetime as dt
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, ClassVar, NamedTuple

import time_machine
from fake_bucket import FakeBucket
from fakes import settings, tea
from processes import CALL_SECONDS, Interruption, Killed, Process, Violation
from tables_in_memory import FakeWarehouse

import on_upload
from beam_pipelines import retrain
from beam_pipelines.intake import Services
from dropfit import orders, quarantine, refreshes, replay, sweep
from dropfit.collect import Collector
from dropfit.errors import DropfitError, Unavailable
from dropfit.events import FINALIZED, source_of
from dropfit.lease import Lease
from dropfit.operations import Desk
from dropfit.receipts import Receipts, UploadedObject
from dropfit.registry import Registry

START = dt.datetime(2026, 1, 1, tzinfo=dt.UTC).timestamp()


class Event:
    """A CloudEvent, as on_upload reads it."""

    def __init__(self, uploaded: UploadedObject) -> None:
        self.data = {"bucket": uploaded.bucket, "name": uploaded.name, "generation": str(uploaded.generation)}
        self._bucket = uploaded.bucket

    def get_attributes(self) -> dict[str, str]:
        return {"type": FINALIZED, "source": source_of(self._bucket)}


class Upload(NamedTuple):
    """A generation somebody uploaded: what kind of file it is, and its number in the history."""

    object: UploadedObject
    kind: str
    serial: int


class World:
    """All that lasts, and the processes that are at work.

    Args:
        changes: of the settings.
    """

    running: ClassVar[list[Process]] = []
    """The processes at work, innermost last; for the stand-ins, which are module functions."""

    def __init__(self, **changes: Any) -> None:
        from watch import Watch

        self.now, self.skew = START, 0.0
        self._generation = int(START * 1e6)
        self.landing, self.data, self.models = (self._bucket(n) for n in ("landing", "data", "models"))
        self.buckets = (self.landing, self.data, self.models)
        self.warehouse = FakeWarehouse(self)
        self.settings = settings(**changes)
        self.problem = tea()
        self.uploads: dict[str, Upload] = {}
        self.events: list[UploadedObject] = []
        self.known: set[str] = set()
        self.launched = self.jobs = self.crashes = self.tears = self.collected = 0
        self.ordered = False
        self.armed: dict[str, list[Interruption]] = collections.defaultdict(list)
        self.log: list[str] = []
        self.pinned = False
        self.watch = Watch(self)
        self._traveller: Any = None

    def _bucket(self, name: str) -> FakeBucket:
        made = FakeBucket(name)
        made.clock = lambda: dt.datetime.fromtimestamp(self.now, dt.UTC)
        made.generation = self._next_generation
        return made

    def _next_generation(self) -> int:
        self._generation = max(self._generation + 1, int(self.now * 1e6))
        return self._generation

    @contextmanager
    def time(self) -> Iterator[None]:
        """While inside, every clock of this process is the world's."""
        with time_machine.travel(self.now, tick=False) as self._traveller:
            yield

    def pass_time(self, seconds: float) -> None:
        """Time passes for everybody."""
        self.now += seconds
        self.show_clock()

    def show_clock(self) -> None:
        """The machine's clock, which may be wrong: that of the process at work."""
        self._traveller.move_to(self.now + (self.running[-1].skew if self.running else 0.0))

    def changed(self, process: Process, where: str, method: str, name: str) -> None:
        """Something was written: told to the watch."""
        self.log.append(f"{process.name} {where}.{method} {name}")
        self.watch.written(process, where, method, name)

    @contextmanager
    def process(self, kind: str, name: str) -> Iterator[Process]:
        """Run something as a process with what was armed for its kind; a kill ends it, and nothing else."""
        process = Process(self, kind, name, self.armed.pop(kind, ()))
        self.running.append(process)
        self.show_clock()
        try:
            yield process
            process.ended = "done"
            self.watch.ended(process)
        except Killed:
            process.ended = "killed"
        except SystemExit:
            process.ended = "terminated"
        except DropfitError as error:
            process.ended = f"failed: {error}"
        except Violation:
            raise
        except Exception as error:
            trace = traceback.extract_tb(error.__traceback__)[-1]
            raise Violation(f"{name} raised {error!r} at {trace.filename}:{trace.lineno}") from error
        finally:
            self.running.remove(process)
            self.show_clock()
        self.log.append(f"{process.name} {process.ended} after {process.calls} calls")

    def upload(self, name: str, kind: str) -> UploadedObject:
        """Somebody drops a file; its event is on its way."""
        self.pass_time(CALL_SECONDS)
        serial = len(self.uploads)
        stored = self.landing.put(name, f"{kind} {serial}".encode())
        uploaded = UploadedObject("landing", name, stored.generation)
        self.uploads[uploaded.id] = Upload(uploaded, kind, serial)
        self.events.append(uploaded)
        return uploaded

    def deliver(self, uploaded: UploadedObject) -> bool:
        """Eventarc calls the function; returns whether it answered 2xx."""
        from werkzeug.exceptions import HTTPException

        with self.process("function", f"function-{uploaded.name}") as process:
            on_upload.wired = lambda: (self.settings, process.buckets, process)  # type: ignore[assignment]
            try:
                on_upload.on_upload(Event(uploaded))
            except HTTPException as refused:
                raise Unavailable(str(refused)) from refused
        if process.ended == "done":
            self.known.add(uploaded.id)
        return process.ended == "done"

    def sweep(self) -> None:
        """The timer rings."""
        live = [UploadedObject(s.bucket, s.name, s.generation).id for s in self.landing.list()]
        with self.process("sweep", "sweep") as process:
            sweep.sweep_with(self.settings, process.buckets, process)
            sweep.mend_view(self.settings, process.buckets)
        self.known.update(r for r in live if self.data.stat(f"receipts/{r}.json"))

    def order(self, objects: tuple[str, ...]) -> None:
        """A person's `dropfit train`."""
        with self.process("person", "train") as process:
            try:
                orders.ask(process.buckets.data, objects)
            finally:  # its answer may be lost, and the order there
                if orders.waiting(self.data):  # type: ignore[arg-type]
                    self.watch.asked_anew()
            process.launch()

    def refresh(self, force: bool) -> None:
        """A person's `dropfit batch refresh`."""
        with self.process("person", "refresh") as process:
            refreshes.ask(process.buckets.data, "somebody", force)
            process.launch()

    def decide(self, what: str, decision: Callable[[Desk], Any]) -> None:
        """A person's decision about what is served."""
        with self.process("person", what) as process:
            data, models = process.buckets.data, process.buckets.models
            decision(Desk(Registry(models), Receipts(data), process.warehouse, "somebody"))  # type: ignore[arg-type]

    def replay(self, name: str) -> None:
        """A person's `dropfit replay`."""
        with self.process("person", "replay") as process:
            replay.replay(process.buckets, process, name)

    def release(self, number: int) -> None:
        """A person's `dropfit quarantine release` of one of the quarantined."""
        found = [r.id for r in Receipts(self.data).all() if r.state == "quarantined"]  # type: ignore[arg-type]
        if found:
            with self.process("person", "release") as process:
                quarantine.release(process.buckets, found[number % len(found)], "somebody")
                process.launch()

    def collect(self) -> None:
        """A person's `dropfit gc`, as cli_jobs.py does it."""
        with self.process("person", "gc") as process:
            collector = Collector(self.settings, process.buckets, process.warehouse)  # type: ignore[arg-type]
            with Lease(process.buckets.data, "gc", self.settings.lease_seconds) as held:
                for orphan in collector.find():
                    held.check()
                    self.collected += collector.remove(orphan)
            sweep.sweep_with(self.settings, process.buckets, process)

    def versions(self) -> list[str]:
        """The versions that exist."""
        return Registry(self.models).ids()  # type: ignore[arg-type]

    def start_job(self) -> str:
        """A job will run."""
        self.launched += 1
        return f"job {self.launched}"

    def run_job(self) -> None:
        """A job that was started runs to its end, whatever that is."""
        if not self.launched:
            return
        self.launched -= 1
        self.jobs += 1
        with self.process("job", f"job-{self.jobs}") as process:
            retrain.work(self.services(process), process.name)

    def services(self, process: Process) -> Services:
        """What a process's commands and steps work with."""
        data, models = process.buckets.data, process.buckets.models
        from stage import AllFresh

        known: Any = AllFresh()
        return Services(self.settings, self.problem, process.buckets, Receipts(data), Registry(models), known)

    def settle(self) -> None:
        """Time passes, timers ring, jobs run: until nothing waits any more.

        Raises:
            Violation: when it does not come to rest.
        """
        self.armed.clear()
        for _ in range(40):
            self.pass_time(7200)
            self.sweep()
            while self.launched:
                self.run_job()
            ordered = orders.waiting(self.data) or refreshes.waiting(self.data)  # type: ignore[arg-type]
            if not ordered and not Receipts(self.data).open():  # type: ignore[arg-type]
                break
        else:
            raise Violation("the world does not come to rest: something waits for ever")
        self.pass_time(7200)
        self.sweep()
