# SPDX-License-Identifier: Apache-2.0
"""Start the retraining job and return at once: a Cloud Run job in the cloud, a detached process on a laptop."""

from __future__ import annotations

import datetime as dt
import json
import os
import secrets
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any, Protocol

from .errors import Unavailable
from .rest import CLOUD, Api
from .settings import Settings

JOB = "beam_pipelines.retrain"


class Launcher(Protocol):
    """Starts a retraining job."""

    def launch(self) -> str:
        """Start one and return where to follow it, without waiting for anything it does.

        Raises:
            Unavailable: when it could not be started.
        """


class ProcessLauncher:
    """A detached process with its own log in the jobs folder.

    Args:
        folder: gets `<job>.log`, and `<job>.pid` while the job runs, by which `dropfit down` finds it.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def launch(self) -> str:
        """Start a job; returns the path of its log."""
        try:
            import psutil
        except ImportError:
            raise Unavailable("DROPFIT_RETRAIN_JOB is not set: in the cloud it names the Cloud Run job") from None

        now = dt.datetime.now(dt.UTC).strftime("%Y%m%dT%H%M%S")
        job = f"retrain-{now}-{secrets.token_hex(3)}"
        self._folder.mkdir(parents=True, exist_ok=True)
        log = self._folder / f"{job}.log"
        environment = {**os.environ, "DROPFIT_JOB": job}
        # Without bytecode a job compiles its imports again, which doubles its time.
        environment.pop("PYTHONDONTWRITEBYTECODE", None)
        # OpenMP's threads wait by spinning: beside other work a fit of one second took fifteen (docs/adr/0007).
        environment.setdefault("OMP_WAIT_POLICY", "PASSIVE")
        try:
            with log.open("ab") as output:
                process = subprocess.Popen(
                    [sys.executable, "-P", "-m", JOB],
                    stdin=subprocess.DEVNULL,
                    stdout=output,
                    stderr=subprocess.STDOUT,
                    env=environment,
                    start_new_session=True,
                )
            record = {"pid": process.pid, "create_time": psutil.Process(process.pid).create_time()}
        except (OSError, psutil.Error) as error:
            raise Unavailable(f"the job could not be started: {error}") from error
        mark = self._folder / f"{job}.pid"
        mark.write_text(json.dumps(record))
        threading.Thread(target=_reap, args=(process, mark), name=job, daemon=True).start()
        return str(log)


def _reap(process: subprocess.Popen[bytes], mark: Path) -> None:
    process.wait()
    mark.unlink(missing_ok=True)


class CloudRunLauncher:
    """An execution of a Cloud Run job, by one REST call.

    The client library would cost a function half a second of cold start; overrides are not used, so that the
    function's account needs the right to run the job and no other.

    Args:
        job: `projects/P/locations/L/jobs/J`.
        session: an authorised requests session; made from the default credentials when not given.
    """

    def __init__(self, job: str, session: Any = None) -> None:
        self._job = job
        self._api = Api(CLOUD, session)

    def launch(self) -> str:
        """Start an execution; returns its name."""
        reply = self._api.post(f"https://run.googleapis.com/v2/{self._job}:run", {})
        return str(reply.get("metadata", {}).get("name", self._job))


def launcher(settings: Settings) -> Launcher:
    """The launcher that the settings ask for."""
    if settings.retrain_job:
        return CloudRunLauncher(settings.retrain_job)
    return ProcessLauncher(Path(settings.jobs_dir))
