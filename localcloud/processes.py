# SPDX-License-Identifier: Apache-2.0
"""Starting and ending processes, and telling ours from everybody else's.

A process is ours if its pid and creation time are on record, or if its environment carries the run's random
token. Names and command lines decide nothing.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Collection, Iterable, Mapping, Sequence
from pathlib import Path

import psutil

from .home import Identity

RUN_VARIABLE = "DROPFIT_LOCALCLOUD_RUN"
# Started by a thread, a child would get the signal when that thread ends, not the process: see prctl(2).
_DIE_WITH_PARENT = """
import ctypes, os, signal, sys
ctypes.CDLL(None).prctl(1, signal.SIGTERM)
if os.getppid() != int(sys.argv[1]):
    sys.exit("its supervisor is gone")
os.execv(sys.argv[2], sys.argv[2:])
"""


def spawn(command: Sequence[str], environ: Mapping[str, str], log: Path, cwd: Path | None) -> subprocess.Popen[bytes]:
    """Start a process in a session of its own (no Ctrl-C reaches it), its output in a fresh log.

    The log of the run before is kept as NAME.log.1. On Linux the process is told to end when we are killed.

    Raises:
        OSError: when the program does not exist or the log cannot be written.
    """
    if log.exists():
        log.replace(log.with_suffix(".log.1"))
    if sys.platform == "linux" and threading.current_thread() is threading.main_thread():
        command = [sys.executable, "-S", "-E", "-c", _DIE_WITH_PARENT, str(os.getpid()), *command]
    with open(log, "wb") as output:
        return subprocess.Popen(
            command,
            env=dict(environ),
            cwd=cwd,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )


def identity(pid: int) -> Identity | None:
    """Who has this pid now; None if nobody has."""
    try:
        return Identity(pid, psutil.Process(pid).create_time())
    except psutil.Error:
        return None


def find(known: Identity) -> psutil.Process | None:
    """The running process on record; None if it ended, is a zombie, or its pid now belongs to another."""
    try:
        process = psutil.Process(known.pid)
        # psutil derives the time from the clock, which may be corrected by a little while we run.
        same = abs(process.create_time() - known.create_time) < 2.0
        return process if same and process.status() != psutil.STATUS_ZOMBIE else None
    except psutil.Error:
        return None


def carrying(run: str, but: Collection[Identity] = ()) -> list[psutil.Process]:
    """Every live process whose environment carries this run's token, except some and ourselves."""
    spared = {known.pid for known in but} | {os.getpid()}
    found = []
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error, OSError):
            if process.pid in spared or process.status() == psutil.STATUS_ZOMBIE:
                continue
            if process.environ().get(RUN_VARIABLE) == run:
                found.append(process)
    return found


def with_descendants(processes: Iterable[psutil.Process]) -> list[psutil.Process]:
    """Those processes and whatever they started, each once."""
    found: dict[int, psutil.Process] = {}
    for process in processes:
        found[process.pid] = process
        with contextlib.suppress(psutil.Error):
            found |= {child.pid: child for child in process.children(recursive=True)}
    return list(found.values())


def end(processes: Iterable[psutil.Process], grace: float) -> None:
    """SIGTERM them, wait for them and what they started, SIGKILL what is left after `grace` seconds."""
    leaders = {process.pid: process for process in processes}.values()
    everyone = with_descendants(leaders)
    for process in leaders:
        with contextlib.suppress(psutil.Error):
            process.terminate()
    if not _gone(everyone, grace):
        for process in with_descendants(everyone):
            with contextlib.suppress(psutil.Error):
                process.kill()
        _gone(everyone, 5.0)


def end_group(leader: int) -> None:
    """SIGTERM whatever is left of the process group that a spawned process led."""
    with contextlib.suppress(OSError):
        os.killpg(leader, signal.SIGTERM)


def _gone(processes: Sequence[psutil.Process], grace: float) -> bool:
    deadline = time.monotonic() + grace
    while any(_lives(process) for process in processes):
        if time.monotonic() > deadline:
            return False
        time.sleep(0.02)
    return True


def _lives(process: psutil.Process) -> bool:
    # Not `process.wait()`: it would reap our own children behind subprocess's back.
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.Error:
        return False
