# SPDX-License-Identifier: Apache-2.0
"""The whole way, from an uploaded file to a served model, in the session's local cloud."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from dropfit import settings, storage
from dropfit.follow import Follower
from dropfit.receipts import Receipt, Receipts, UploadedObject
from dropfit.settings import Settings
from localcloud.cloud import LocalCloud

PATIENCE = 90.0
Upload = Callable[[Settings, Path], Receipt]
Dropfit = Callable[..., "subprocess.CompletedProcess[str]"]


def upload_and_wait(found: Settings, file: Path) -> Receipt:
    """Upload with Google's own client, and wait for the outcome."""
    from google.cloud import storage as google_storage

    data = storage.connect(found).data
    follower = Follower(data, PATIENCE)
    blob = google_storage.Client(project=found.project).bucket(found.landing_bucket).blob(file.name)
    blob.upload_from_filename(file)
    uploaded = UploadedObject(found.landing_bucket, blob.name, int(blob.generation))
    list(follower.uploads([uploaded.id]))
    return Receipts(data).get(uploaded.id)


@pytest.fixture(scope="session")
def upload() -> Upload:
    return upload_and_wait


@pytest.fixture(scope="session")
def january(cloud: LocalCloud, months: list[Path]) -> Receipt:
    """The session's local cloud serves a model trained on January's flights."""
    before = dict(os.environ)
    os.environ.update(cloud.env)
    receipt = upload_and_wait(settings.load(), months[0])
    assert receipt.state == "promoted", receipt.reason
    os.environ.clear()
    os.environ.update(before)
    return receipt


@pytest.fixture
def dropfit(clean: dict[str, str]) -> Dropfit:
    """Runs `dropfit ...` as a person would, with nothing in the environment but where the local cloud's home is."""

    def run(*arguments: str, home: Path, stdin: str = "", **more: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [str(Path(sys.executable).with_name("dropfit")), *arguments],
            input=stdin,
            capture_output=True,
            text=True,
            timeout=110,
            env=clean | {"DROPFIT_HOME": str(home)} | more,
        )

    return run
