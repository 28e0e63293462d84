# SPDX-License-Identifier: Apache-2.0
"""What works in the background ends with the cloud that started it."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from pathlib import Path

import httpx
import pytest
from clouds import Start, clean_environ, eventually

from localcloud.cloud import Home

JOB = """
import json, os, psutil, signal, sys, time
if sys.argv[2] == "stubborn":
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
me = {"pid": os.getpid(), "create_time": psutil.Process().create_time()}
if sys.argv[2] != "unwritten":
    open(sys.argv[1], "w").write(json.dumps(me))
print("ready", flush=True)
time.sleep(300)
"""


LAUNCHING = """
import subprocess, sys, functions_framework
from pathlib import Path

JOB = '''
import pathlib, signal, sys, time
def told(*_):
    pathlib.Path(sys.argv[1], "told").touch()
    sys.exit()
signal.signal(signal.SIGTERM, told)
pathlib.Path(sys.argv[1], "began").touch()
time.sleep(300)
'''

@functions_framework.cloud_event
def on_upload(event):
    subprocess.Popen([sys.executable, "-c", JOB, str(Path(__file__).parent)], start_new_session=True)
"""


def test_what_works_in_the_background_is_asked_to_end_before_it_is_killed(
    start: Start, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    helpers: list[subprocess.Popen[bytes]] = []

    def warm(environ: dict[str, str]) -> list[subprocess.Popen[bytes]]:
        helpers.append(subprocess.Popen([sys.executable, "-c", "import time; time.sleep(300)"], env=environ))
        return helpers

    monkeypatch.setattr("localcloud.warm.start", warm)
    (tmp_path / "on_upload.py").write_text(LAUNCHING)
    cloud = start("on_upload", functions_dir=tmp_path)
    event = {
        "ce-id": "1",
        "ce-specversion": "1.0",
        "ce-type": "t",
        "ce-source": "s",
        "content-type": "application/json",
    }
    httpx.post(cloud.env["DROPFIT_ON_UPLOAD_URL"], headers=event, content=b"{}", timeout=60).raise_for_status()
    eventually((tmp_path / "began").exists)
    cloud.stop()
    assert (tmp_path / "told").exists()
    assert [helper.returncode for helper in helpers] == [-signal.SIGTERM]


@pytest.mark.parametrize("kind", ["obedient", "stubborn", "unwritten"])
def test_stop_ends_retraining_jobs(start: Start, kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    if kind == "stubborn":
        monkeypatch.setattr("localcloud.control._WORK_SECONDS", 0.5)
    cloud = start("storage")
    run = {} if kind != "unwritten" else {"DROPFIT_LOCALCLOUD_RUN": Home(cloud.home.root).read_state().run}
    command = [sys.executable, "-c", JOB, str(cloud.home.logs / "retrain-1.pid"), kind]
    options = {"stdout": subprocess.PIPE, "text": True, "start_new_session": True}
    with subprocess.Popen(command, env=clean_environ(**run), **options) as job:
        assert job.stdout.readline() == "ready\n"
        cloud.stop()
        assert job.wait(60) == (-signal.SIGKILL if kind == "stubborn" else -signal.SIGTERM)
    assert not list(cloud.home.logs.glob("*.pid"))


def test_pid_files_of_dead_jobs_are_cleared_away_and_harm_nobody(start: Start) -> None:
    cloud = start("storage")
    with subprocess.Popen([sys.executable, "-c", ""]) as dead:
        pass
    (cloud.home.logs / "dead.pid").write_text(json.dumps({"pid": dead.pid, "create_time": 1.0}))
    with subprocess.Popen([sys.executable, "-c", "import time; time.sleep(300)"]) as innocent:
        (cloud.home.logs / "old.pid").write_text(json.dumps({"pid": innocent.pid, "create_time": 1.0}))
        (cloud.home.logs / "torn.pid").write_text('{"pid": ')
        cloud.stop()
        assert innocent.poll() is None
        innocent.kill()
    assert not list(cloud.home.logs.glob("*.pid"))
