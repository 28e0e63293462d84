# SPDX-License-Identifier: Apache-2.0
"""`make demo`: the story is told to its end, or it says what failed; either way nothing is left running."""

from __future__ import annotations

import io
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest
from rich.console import Console

from dropfit import settings
from localcloud import demo, flights

ROOT = Path(__file__).parents[2]
TOLD = (
    "object arrived",
    "event delivered",
    "job launched",
    "rows taken in",
    "quarantined",
    "model fitted",
    "log_loss",
    "model exported",
    "table filled",
    "promoted",
    "over HTTP",
    "from BigQuery",
    "Overwritten",
    "Seconds",
)


def left_running(home: Path) -> list[str]:
    """Commands of processes that belong to the demo's local cloud."""
    found = []
    for process in psutil.process_iter(["cmdline"]):
        command = " ".join(process.info["cmdline"] or ())
        if str(home) in command and process.pid != os.getpid():
            found.append(command)
    return found


def test_make_demo_tells_the_whole_story_and_stops_what_it_started(clean: dict[str, str], tmp_path: Path) -> None:
    environ = clean | {"DROPFIT_HOME": str(tmp_path)}
    for name in ("MAKEFLAGS", "MAKELEVEL", "MFLAGS"):
        environ.pop(name, None)
    done = subprocess.run(
        ["/usr/bin/env", "make", "demo"], cwd=ROOT, env=environ, capture_output=True, text=True, timeout=500
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert [what for what in TOLD if what not in done.stdout] == []
    assert left_running(tmp_path) == []


def test_with_a_problem_of_ones_own_the_demo_says_how_to_try_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("DROPFIT_HOME", str(tmp_path))
    monkeypatch.setattr(settings, "DEFAULT_PROBLEM", "penguins:problem")
    handler = signal.getsignal(signal.SIGTERM)
    try:
        assert demo.main() == 1
    finally:
        signal.signal(signal.SIGTERM, handler)
    said = " ".join(capsys.readouterr().out.split())
    assert "problem.py is your own: try it with `make up ARGS=--detach`" in said
    assert "`.venv/bin/dropfit upload --wait FILE`" in said
    assert list(tmp_path.iterdir()) == []


@pytest.mark.verify
def test_a_demo_that_fails_says_what_why_and_which_log(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, clean: dict[str, str]
) -> None:
    def spoiled(folder: Path, wanted: object) -> list[Path]:
        folder.mkdir(parents=True)
        files = [folder / "one.csv", folder / "two.csv"]
        for file in files:
            file.write_text("not,what\nwas,wanted\n")
        return files

    output = io.StringIO()
    monkeypatch.setenv("DROPFIT_HOME", str(tmp_path))
    monkeypatch.setattr(flights, "months", spoiled)
    monkeypatch.setattr(demo, "Console", lambda **given: Console(file=output, width=160))
    before = dict(os.environ)
    handler = signal.getsignal(signal.SIGTERM)
    try:
        assert demo.main() == 1
    finally:
        os.environ.clear()
        os.environ.update(before)
        signal.signal(signal.SIGTERM, handler)
    told = output.getvalue()
    assert "The demo failed" in told
    assert "columns are missing" in told
    assert str(tmp_path / "demo" / "logs" / "retrain-") in told.replace("\n", "")
    assert left_running(tmp_path) == []


@pytest.mark.verify
def test_a_demo_that_is_interrupted_leaves_nothing(clean: dict[str, str], tmp_path: Path) -> None:
    log = tmp_path / "demo.log"
    with log.open("wb") as output:
        running = subprocess.Popen(
            [sys.executable, "-m", "localcloud.demo"],
            cwd=ROOT,
            env=clean | {"DROPFIT_HOME": str(tmp_path)},
            stdout=output,
            stderr=output,
            # A shell starts what runs in its background deaf to Ctrl-C, and children inherit that.
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
        )
    deadline = time.monotonic() + 300
    while "job launched" not in log.read_text() and running.poll() is None and time.monotonic() < deadline:
        time.sleep(0.1)
    running.send_signal(signal.SIGINT)
    assert running.wait(120) == 130, log.read_text()
    assert left_running(tmp_path) == []
