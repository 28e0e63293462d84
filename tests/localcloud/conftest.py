# SPDX-License-Identifier: Apache-2.0
"""Local clouds for the tests: one whole, started once, and small ones of the few services a test needs."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from clouds import QUICK, Recorder, Start, clean_environ

from localcloud.cloud import LocalCloud
from localcloud.supervisor import Progress

ON_UPLOAD = """
import json
import functions_framework

@functions_framework.cloud_event
def on_upload(event):
    # One write of one whole line: print's parts would mingle with those of another thread.
    told = json.dumps([event["type"], event.data["name"]])
    print(f"got {told}\\n", end="", flush=True)
"""

PREDICT = """
import os
import functions_framework.aio

@functions_framework.aio.http
async def predict(request):
    env = os.environ
    return {"path": request.url.path, "omp": env["OMP_NUM_THREADS"], "bucket": env["DROPFIT_DATA_BUCKET"]}
"""


@pytest.fixture
def recorder() -> Iterator[Recorder]:
    recorder = Recorder()
    server = recorder.serve()
    yield recorder
    recorder.hold.set()
    server.shutdown()
    server.server_close()


@pytest.fixture(scope="session")
def functions(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("functions")
    (folder / "on_upload.py").write_text(ON_UPLOAD)
    (folder / "predict.py").write_text(PREDICT)
    return folder


@pytest.fixture(scope="session")
def whole(tmp_path_factory: pytest.TempPathFactory, functions: Path) -> Iterator[LocalCloud]:
    """A whole local cloud in a folder whose name tests the quoting; do not stop it."""
    home = tmp_path_factory.mktemp("whole") / "it's a home"
    environ = clean_environ(DROPFIT_TRAINING="static", DROPFIT_RETRAIN_JOB="projects/p/locations/l/jobs/j")
    with LocalCloud(home, functions_dir=functions, environ=environ) as cloud:
        yield cloud


@pytest.fixture
def start(tmp_path: Path, functions: Path) -> Iterator[Start]:
    """Starts local clouds of some services; all are stopped after the test."""
    with ExitStack() as stack:

        def _start(
            *services: str, home: str = "home", progress: Progress = lambda line: None, **options: Any
        ) -> LocalCloud:
            options = {"functions_dir": functions, "environ": clean_environ(), "eventarc": QUICK} | options
            cloud = LocalCloud(tmp_path / home, services=services, **options)
            stack.callback(cloud.stop)
            cloud.start(progress)
            return cloud

        yield _start
