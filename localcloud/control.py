# SPDX-License-Identifier: Apache-2.0
"""Seeing and ending a local cloud from outside, by what its home has on record."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import msgspec
import psutil

from . import processes
from .home import Child, Home, Identity, State
from .ports import SERVICES

SUPERVISOR = "localcloud"
# Ended in this order: who takes in work and the work under way, then what it stands on.
_FRONT, _BACK = ("eventarc", "on_upload", "predict"), ("storage", "bigquery")
_WORK_SECONDS, _BACK_SECONDS = 10.0, 10.0
_SUPERVISOR_SECONDS = 60.0  # more than the steps of `end_everything` together


@dataclass(frozen=True)
class ProcessStatus:
    """One process of a local cloud.

    Attributes:
        name: a service, or `localcloud` for the supervisor.
        state: `crashed` means gone though nobody stopped it.
        pid: its process id while it runs.
        port: where it listens (0 for the supervisor).
        log: its log file.
        exit_code: how it ended, where known; negative is a signal.
        ended_at: when, in seconds since 1970, where known.
    """

    name: str
    state: Literal["running", "crashed", "stopped"]
    pid: int | None
    port: int
    log: str
    exit_code: int | None = None
    ended_at: float | None = None


def status(home: Path) -> list[ProcessStatus]:
    """Every process of the home's last run, the supervisor first; empty when it never ran."""
    place = Home(home.absolute())
    state = place.read_state()
    if state is None:
        return []
    found = [] if state.hosted else [_supervisor_status(place, state)]
    names = [name for name in SERVICES if name in state.children]
    return found + [_child_status(name, state.children[name], state) for name in names]


def stop(home: Path) -> bool:
    """Stop the home's local cloud and its jobs, also when its supervisor was killed.

    Returns:
        Whether it was up, or was never stopped; what a stopped home has left running is ended all the same.
    """
    place = Home(home.absolute())
    state = place.read_state()
    if state is None:
        return False
    was_running = state.phase != "stopped"
    supervisor = processes.find(state.supervisor)
    if supervisor and not state.hosted:
        processes.end([supervisor], _SUPERVISOR_SECONDS)
    state = place.read_state() or state
    place.write_state(msgspec.structs.replace(state, phase="stopped"))
    end_everything(place, state)
    place.env.unlink(missing_ok=True)
    return was_running


def end_everything(home: Home, state: State) -> None:
    """End all processes of a run: services that take in work and their jobs, then the emulators."""
    spared = [state.supervisor, *(state.children[name].identity for name in _BACK if name in state.children)]
    for _ in range(2):  # a function may launch a job while the first round looks who is there
        # A job is known by its pid file, or by the run's token if it has not written that yet. All are asked
        # at once: a job is also a descendant of the function that launched it, whose end waits for it.
        work = [*_found(state, _FRONT), *_jobs(home), *processes.carrying(state.run, but=spared)]
        processes.end(work, _WORK_SECONDS)
    for file in home.logs.glob("*.pid"):
        file.unlink(missing_ok=True)
    processes.end(_found(state, _BACK), _BACK_SECONDS)
    processes.end(processes.carrying(state.run), _BACK_SECONDS)


def already_running(home: Home) -> str:
    """What to tell somebody who starts a second local cloud in one home."""
    state = home.read_state()
    if state and state.phase == "stopped":
        return f"the local cloud in {home.root} was stopped, but pid {state.supervisor.pid} still holds the folder."
    if state and state.phase == "starting":
        return f"the local cloud in {home.root} is starting (pid {state.supervisor.pid}). `dropfit down` stops it."
    where = f" (pid {state.supervisor.pid}, predict at http://127.0.0.1:{state.ports['predict']})" if state else ""
    return f"the local cloud in {home.root} is already running{where}. `dropfit down` stops it."


def last_words(log: Path, lines: int = 15) -> str:
    """The end of a log and where the rest is."""
    try:
        text = log.read_text(errors="replace").rstrip()
    except OSError:
        text = ""
    tail = "\n".join(f"    {line}" for line in text.splitlines()[-lines:]) or "    (nothing)"
    return f"Its last words:\n{tail}\nThe whole log: {log}"


def _found(state: State, names: tuple[str, ...]) -> list[psutil.Process]:
    known = (state.children[name].identity for name in names if name in state.children)
    return [process for process in map(processes.find, known) if process]


def _jobs(home: Home) -> Iterator[psutil.Process]:
    """Retraining jobs: they run detached and say in LOGS/JOB.pid who they are."""
    for file in home.logs.glob("*.pid"):
        try:
            known = msgspec.json.decode(file.read_bytes(), type=Identity)
        except (OSError, msgspec.MsgspecError):
            continue  # being written, or not one of these
        if process := processes.find(known):
            yield process


def _supervisor_status(home: Home, state: State) -> ProcessStatus:
    alive = processes.find(state.supervisor) is not None
    condition = _condition(alive, state)
    pid = state.supervisor.pid if alive else None
    return ProcessStatus(SUPERVISOR, condition, pid, 0, str(home.log(SUPERVISOR)))


def _child_status(name: str, child: Child, state: State) -> ProcessStatus:
    alive = child.exit_code is None and processes.find(child.identity) is not None
    pid = child.identity.pid if alive else None
    condition = _condition(alive, state)
    return ProcessStatus(name, condition, pid, child.port, child.log, child.exit_code, child.ended_at)


def _condition(alive: bool, state: State) -> Literal["running", "crashed", "stopped"]:
    if alive:
        return "running"
    return "stopped" if state.phase == "stopped" else "crashed"
