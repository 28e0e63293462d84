# SPDX-License-Identifier: Apache-2.0
"""A retraining job is started and not waited for: one REST call in the cloud, a detached process on a laptop."""

from __future__ import annotations

import json
import os
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import psutil
import pytest
import requests
from fakes import eventually, settings

from dropfit import launch, rest
from dropfit.errors import Unavailable
from dropfit.launch import CloudRunLauncher, ProcessLauncher, launcher

JOB = "projects/p/locations/europe-west1/jobs/retrain"
ENDPOINT = "https://run.googleapis.com"


class CloudRun:
    """A real HTTP server in Cloud Run's place, and a session that goes there instead."""

    def __init__(self) -> None:
        self.status, self.reply = 200, b'{"metadata": {"name": "executions/retrain-x7"}}'
        self.requests: list[tuple[str, dict[str, object]]] = []
        cloud_run = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["content-length"])))
                cloud_run.requests.append((self.path, body))
                self.send_response(cloud_run.status)
                self.send_header("content-length", str(len(cloud_run.reply)))
                self.end_headers()
                self.wfile.write(cloud_run.reply)

            def log_message(self, format: str, *args: object) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()

    def session(self) -> requests.Session:
        here = f"http://127.0.0.1:{self.server.server_address[1]}"

        class Diverted(requests.Session):
            def request(self, method, url, *args, **kwargs):  # type: ignore[no-untyped-def]
                assert url.startswith(ENDPOINT + "/")
                assert kwargs.get("timeout"), "a call without a time-out may hang the function"
                return super().request(method, url.replace(ENDPOINT, here), *args, **kwargs)

        session = Diverted()
        session.trust_env = False
        return session


@pytest.fixture
def cloud_run(monkeypatch: pytest.MonkeyPatch) -> Iterator[CloudRun]:
    monkeypatch.setattr(rest, "DELAY", 0.001)
    monkeypatch.setattr(rest, "PATIENCE", 0.05)
    cloud = CloudRun()
    yield cloud
    cloud.server.shutdown()
    cloud.server.server_close()


def test_a_cloud_run_job_is_run_by_one_call_without_overrides(cloud_run: CloudRun) -> None:
    where = CloudRunLauncher(JOB, cloud_run.session()).launch()
    assert cloud_run.requests == [(f"/v2/{JOB}:run", {})]
    assert where == "executions/retrain-x7"


@pytest.mark.parametrize(
    ("status", "reply"), [(403, b"{}"), (404, b"{}"), (429, b"{}"), (503, b""), (200, b"<html>")]
)
def test_a_cloud_run_that_refuses_or_babbles_is_unavailable(cloud_run: CloudRun, status: int, reply: bytes) -> None:
    cloud_run.status, cloud_run.reply = status, reply
    with pytest.raises(Unavailable):
        CloudRunLauncher(JOB, cloud_run.session()).launch()


def test_a_reply_that_names_no_execution_names_the_job(cloud_run: CloudRun) -> None:
    cloud_run.reply = b"{}"
    assert CloudRunLauncher(JOB, cloud_run.session()).launch() == JOB


def test_a_cloud_run_that_cannot_be_reached_is_unavailable(cloud_run: CloudRun) -> None:
    session = cloud_run.session()
    cloud_run.server.shutdown()
    cloud_run.server.server_close()
    with pytest.raises(Unavailable):
        CloudRunLauncher(JOB, session).launch()


def test_without_credentials_the_launch_is_unavailable(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", str(tmp_path / "no-such-key.json"))
    with pytest.raises(Unavailable, match="no-such-key"):
        CloudRunLauncher(JOB).launch()


def test_nothing_is_called_and_no_credentials_are_sought_before_the_first_launch(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", str(tmp_path / "no-such-key.json"))
    assert isinstance(launcher(settings(retrain_job=JOB)), CloudRunLauncher)


SLOW_JOB = """
import os, time, pathlib
here = pathlib.Path(__file__).parent
bytecode = "bytecode" if "PYTHONDONTWRITEBYTECODE" not in os.environ else ""
print("working as", os.environ["DROPFIT_JOB"], bytecode, flush=True)
deadline = time.monotonic() + 120
while not (here / "enough").exists() and time.monotonic() < deadline:
    time.sleep(0.01)
"""


@pytest.fixture
def job(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A job that works until the file `enough` exists."""
    (tmp_path / "slow_job.py").write_text(SLOW_JOB)
    monkeypatch.setattr(launch, "JOB", "slow_job")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    monkeypatch.setenv("PYTHONDONTWRITEBYTECODE", "1")
    return tmp_path


def test_a_local_job_runs_on_its_own_with_log_and_pid_file_until_it_ends(job: Path) -> None:
    folder = job / "deep" / "logs"
    begun = time.monotonic()
    log = Path(ProcessLauncher(folder).launch())
    assert time.monotonic() - begun < 60  # it did not wait for the job, which works for 120 s unless told otherwise
    mark = log.with_suffix(".pid")
    record = json.loads(mark.read_text())
    process = psutil.Process(record["pid"])
    try:
        assert process.create_time() == record["create_time"]
        assert os.getsid(process.pid) == process.pid, "it must outlive the terminal of who started it"
        eventually(lambda: log.read_text().strip() == f"working as {log.stem} bytecode")
        assert mark.exists()
        assert process.is_running()
    finally:
        (job / "enough").touch()
    eventually(lambda: not mark.exists())
    assert not psutil.pid_exists(record["pid"])
    assert log.exists()


def test_two_local_jobs_in_one_moment_have_logs_of_their_own(job: Path) -> None:
    (job / "enough").touch()
    folder = job / "logs"
    logs = {ProcessLauncher(folder).launch() for _ in range(2)}
    assert len(logs) == 2
    eventually(lambda: not list(folder.glob("*.pid")))


def test_a_local_job_that_fails_leaves_its_traceback_in_the_log(job: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(launch, "JOB", "no_such_job")
    log = Path(launcher(settings(jobs_dir=str(job / "logs"))).launch())
    eventually(lambda: not log.with_suffix(".pid").exists())
    assert "no_such_job" in log.read_text()


def test_a_process_that_cannot_be_started_is_unavailable(job: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(launch.sys, "executable", str(job / "no-such-python"))
    with pytest.raises(Unavailable):
        ProcessLauncher(job / "logs").launch()
    assert not list((job / "logs").glob("*.pid"))
