# SPDX-License-Identifier: Apache-2.0
"""A local cloud in the foreground, and one in the background that outlives the command that started it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from types import FrameType
from typing import IO

import msgspec

from dropfit.errors import LocalCloudError

from . import control
from .home import Home
from .supervisor import LocalCloud, Progress

# SIGHUP: the terminal was closed.
_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class Report(msgspec.Struct, frozen=True, omit_defaults=True):
    """One line that a daemon tells whoever started it: progress, an error, or that all is up."""

    progress: str = ""
    error: str = ""
    ready: bool = False


def serve(
    home: Path,
    ports: Mapping[str, int] | None = None,
    progress: Progress = lambda line: None,
    functions_dir: Path | None = None,
    ready: Callable[[], None] = lambda: None,
) -> None:
    """Start, stay until Ctrl-C, SIGTERM or `stop(home)`, and stop. Call it from the main thread.

    Args:
        home: folder of its state.
        ports: service -> port, where it matters.
        progress: told a line for each service that is up.
        functions_dir: where the functions are; this clone's by default.
        ready: called once all is up.

    Raises:
        LocalCloudError: when it cannot start; nothing is left running then.
    """
    cloud = LocalCloud(home, ports, functions_dir, hosted=False)

    def request_stop(number: int, frame: FrameType | None) -> None:
        cloud.request_stop()

    before = {number: signal.signal(number, request_stop) for number in _SIGNALS}
    try:
        cloud.start(progress)
        ready()
        cloud.wait()
    except LocalCloudError:
        if not cloud.stop_requested:
            raise
    finally:
        cloud.stop()
        for number, handler in before.items():
            signal.signal(number, handler)


def start_detached(
    home: Path,
    ports: Mapping[str, int] | None = None,
    progress: Progress = lambda line: None,
    functions_dir: Path | None = None,
) -> None:
    """Start a local cloud that stays when this process ends; return once all of it answers.

    Arguments as for `serve`.

    Raises:
        LocalCloudError: with the daemon's reason when it cannot start; nothing is left running then.
    """
    place = Home(home.absolute())
    place.create()
    lock = place.lock()
    if lock is None:
        raise LocalCloudError(control.already_running(place))
    lock.close()  # the daemon takes it; whoever loses that race is told the same
    reading, writing = os.pipe()
    command = [sys.executable, "-P", "-m", "localcloud", "serve", f"--home={place.root}", f"--report-fd={writing}"]
    command += [f"--port={name}={port}" for name, port in (ports or {}).items()]
    command += [f"--functions-dir={functions_dir}"] if functions_dir else []
    with open(reading, "rb") as reports:
        daemon = _launch(command, place.log(control.SUPERVISOR), writing)
        try:
            _follow(reports, progress, place)
        except BaseException:
            daemon.terminate()
            daemon.wait()
            raise
    # Whoever started it may live long: reap it when it ends, so that it does not linger as a zombie.
    threading.Thread(target=daemon.wait, daemon=True).start()


def tell(report_fd: int, report: Report) -> None:
    """Write one report; nobody listening is no error."""
    try:
        os.write(report_fd, msgspec.json.encode(report) + b"\n")
    except BrokenPipeError:
        return


def _launch(command: list[str], log: Path, report_fd: int) -> subprocess.Popen[bytes]:
    environ = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    try:
        with open(log, "wb") as output:
            return subprocess.Popen(
                command,
                env=environ,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                pass_fds=[report_fd],
            )
    finally:
        os.close(report_fd)


def _follow(reports: IO[bytes], progress: Progress, home: Home) -> None:
    for line in reports:
        report = msgspec.json.decode(line, type=Report)
        if report.error:
            raise LocalCloudError(report.error)
        if report.ready:
            return
        progress(report.progress)
    raise LocalCloudError(
        f"the local cloud ended while it started. {control.last_words(home.log(control.SUPERVISOR))}"
    )
