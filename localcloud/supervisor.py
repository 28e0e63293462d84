# SPDX-License-Identifier: Apache-2.0
"""LocalCloud: starts the services of one home, watches them, stops them."""

from __future__ import annotations

import contextlib
import os
import secrets
import subprocess
import threading
import time
from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from types import TracebackType
from typing import IO, Self

import httpx
import msgspec

from dropfit.errors import LocalCloudError

from . import control, envfile, processes, services, warm
from .credentials import ensure_key
from .eventarc.options import Options
from .home import Child, Home, Phase, State, write_atomically
from .ports import SERVICES, check_names, choose_ports, parse_ports
from .services import Service

Progress = Callable[[str], None]
FUNCTIONS = Path(__file__).parents[1] / "functions"
# The slowest first: bqemulator needs several seconds of CPU, and all of them start at once.
_START_ORDER = ("bigquery", "predict", "on_upload", "eventarc", "storage")
_START_SECONDS = 240.0  # some ten times what a busy laptop takes


class LocalCloud:
    """One local cloud. Use it as a context manager, or call `start` and `stop`.

    Start it from the main thread or one that lives as long as the cloud.

    Args:
        home: folder of its state; made when missing.
        ports: service -> port; others from DROPFIT_PORTS, else last time's, else free ones.
        functions_dir: where `on_upload.py` and `predict.py` are; this clone's by default.
        environ: what the children inherit; this process's environment by default.
        services: which to start, for tests that need only some.
        eventarc: patience of the local Eventarc.
        hosted: false when this process does nothing else, so that `stop(home)` may end it.
    """

    def __init__(
        self,
        home: Path,
        ports: Mapping[str, int] | None = None,
        functions_dir: Path | None = None,
        environ: Mapping[str, str] | None = None,
        services: Collection[str] = SERVICES,
        eventarc: Options | None = None,
        hosted: bool = True,
    ) -> None:
        self.home = Home(home.absolute())
        self.env: dict[str, str] = {}
        self._environ = dict(os.environ if environ is None else environ)
        self._fixed_ports = parse_ports(self._environ.get("DROPFIT_PORTS", "")) | dict(ports or {})
        self._functions = (functions_dir or FUNCTIONS).absolute()
        check_names(services)
        self._names = tuple(name for name in _START_ORDER if name in services)
        self._eventarc = eventarc or Options()
        self._hosted = hosted
        self._lock: IO[bytes] | None = None
        self._state: State | None = None
        self._recording = threading.RLock()
        self._services: dict[str, Service] = {}
        self._inherited: dict[str, str] = {}
        self._running: dict[str, subprocess.Popen[bytes]] = {}
        self._warming: list[subprocess.Popen[bytes]] = []
        self._asked = threading.Event()
        self._stopping = threading.Event()
        self._watcher: threading.Thread | None = None
        self._progress: Progress = lambda line: None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    @property
    def ports(self) -> dict[str, int]:
        """Every port by name; empty before `start`."""
        return dict(self._state.ports) if self._state else {}

    def start(self, progress: Progress = lambda line: None) -> None:
        """Start everything and return once all of it answers.

        Args:
            progress: told a line for each service that is up and, later, for each that ends by itself.

        Raises:
            LocalCloudError: when a set port is taken, this home's cloud runs already, or a service did not
                start; nothing is left running then.
        """
        self.home.create()
        lock = self.home.lock()
        if lock is None:
            raise LocalCloudError(control.already_running(self.home))
        self._lock = lock
        self._stopping.clear()
        self._progress = progress
        try:
            # Between choosing a port and the child's bind no other local cloud may choose it.
            with contextlib.ExitStack() as holds:
                self._prepare(holds)
                if "on_upload" in self._names:
                    self._warming = warm.start(self._inherited)
                self._watcher = threading.Thread(target=self._watch, name="localcloud-watch", daemon=True)
                self._watcher.start()
                self._start_services()
            write_atomically(self.home.env, envfile.render(self.env).encode())
            self._record(phase="running")
        except BaseException:
            self.stop()
            raise

    def wait(self) -> None:
        """Return when somebody called `request_stop`."""
        self._asked.wait()

    def request_stop(self) -> None:
        """Make `wait` return, and `start` give up. Safe in a signal handler."""
        self._asked.set()

    @property
    def stop_requested(self) -> bool:
        """Whether somebody called `request_stop`."""
        return self._asked.is_set()

    def stop(self) -> None:
        """Stop what was started and the jobs it launched; harmless when nothing runs."""
        if self._lock is None:
            return
        self._stopping.set()
        if self._state:
            self._record(phase="stopped")
            control.end_everything(self.home, self._state)
        for child in (*self._running.values(), *self._warming):
            child.wait()
        # A last word of the watcher's must not overwrite the record of whoever starts this home next.
        if self._watcher and self._watcher is not threading.current_thread():
            self._watcher.join()
        self._running.clear()
        self.home.env.unlink(missing_ok=True)
        self._lock.close()
        self._lock = None

    def _prepare(self, holds: contextlib.ExitStack) -> None:
        """Clear away what the last run left, choose the ports, and say what the children are told."""
        left = self.home.read_state()
        if left:  # also after a stop, which may have been killed half-way
            control.end_everything(self.home, left)
        run, us = secrets.token_hex(16), processes.identity(os.getpid())
        if us is None:
            raise LocalCloudError("this process cannot be inspected: is /proc mounted?")
        needed = {*self._names, *(f"{name}_grpc" for name in self._names)}
        ports = choose_ports(self._fixed_ports, left.ports if left else {}, needed, holds)
        self.env = envfile.environment(self.home, ports, self._environ)
        envfile.render(self.env)  # refuses what cannot be written before anything runs
        ensure_key(self.home.credentials, f"http://127.0.0.1:{ports['eventarc']}/token")
        with self._recording:
            self._state = State("starting", run, us, self._hosted, ports)
            self.home.write_state(self._state)
        known = services.describe(self.home, ports, self._functions, self._eventarc)
        self._services = {name: known[name] for name in self._names}
        inherited = services.child_environment(self._environ, self.env)
        self._inherited = inherited | {processes.RUN_VARIABLE: run}

    def _start_services(self) -> None:
        """Start each as soon as the one it needs is up, and return once all of them are."""
        began, missing = time.monotonic(), list(self._services)
        with httpx.Client(timeout=2.0, trust_env=False) as client:
            while missing:
                for name in list(missing):
                    if name not in self._running:
                        if self._services[name].after not in missing:
                            self._spawn(name)
                    elif self._is_up(name, client):
                        missing.remove(name)
                        url = f"http://127.0.0.1:{self.ports[name]}"
                        self._progress(f"{name} is up at {url} after {time.monotonic() - began:.1f} s")
                if missing and time.monotonic() - began > _START_SECONDS:
                    late = f"{missing[0]} did not answer within {_START_SECONDS:.0f} s."
                    raise LocalCloudError(f"{late} {self._last_words(missing[0])}")
                if self._asked.wait(0.05):
                    raise LocalCloudError("stopped before it was up.")
        for name in self._services:  # what answered may have been another program on its port
            self._check_alive(name)

    def _spawn(self, name: str) -> None:
        service, log = self._services[name], self.home.log(name)
        try:
            child = processes.spawn(service.command, self._inherited | dict(service.environ), log, service.cwd)
        except OSError as error:
            raise LocalCloudError(f"{name} could not be started: {error}") from error
        self._running[name] = child
        if identity := processes.identity(child.pid):
            self._record({name: Child(identity, self.ports[name], str(log))})

    def _is_up(self, name: str, client: httpx.Client) -> bool:
        self._check_alive(name)
        if not services.is_up(self._services[name], client):
            return False
        services.furnish(name, f"http://127.0.0.1:{self.ports[name]}", client)
        return True

    def _check_alive(self, name: str) -> None:
        code = self._running[name].poll()
        if code is not None:
            raise LocalCloudError(f"{name} did not start (exit code {code}). {self._last_words(name)}")

    def _last_words(self, name: str) -> str:
        return control.last_words(self.home.log(name))

    def _watch(self) -> None:
        """Reap children that end and record how, so that `status` can tell."""
        while not self._stopping.wait(0.2):
            self._warming = [process for process in self._warming if process.poll() is None]
            for name, process in list(self._running.items()):
                code, known = process.poll(), self._live_state().children.get(name)
                if code is not None and known and known.exit_code is None:
                    ended = msgspec.structs.replace(known, exit_code=code, ended_at=time.time())
                    self._record({name: ended})
                    processes.end_group(process.pid)  # workers that outlive their parent would go on serving
                    if self._live_state().phase == "running":
                        self._progress(f"{name} ended by itself (exit code {code}); its log: {known.log}")

    def _record(self, children: Mapping[str, Child] | None = None, phase: Phase | None = None) -> None:
        with self._recording:
            state, written = self._live_state(), self.home.read_state()
            # `stop(home)` of another process said so first: what ends now was meant to end.
            stopped = written is not None and written.run == state.run and written.phase == "stopped"
            self._state = msgspec.structs.replace(
                state,
                phase="stopped" if stopped else phase or state.phase,
                children=state.children | dict(children or {}),
            )
            with contextlib.suppress(OSError):  # the folder may have been removed under us
                self.home.write_state(self._state)

    def _live_state(self) -> State:
        if self._state is None:
            raise LocalCloudError("the local cloud was not started.")
        return self._state
