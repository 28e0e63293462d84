# SPDX-License-Identifier: Apache-2.0
"""The whole way, from an uploaded file to a served model, in the session's local cloud."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from benchmarks import year
from dropfit import settings
from dropfit.receipts import Receipt
from dropfit.settings import Settings
from localcloud.cloud import LocalCloud

Upload = Callable[[Settings, Path], Receipt]
Dropfit = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture(scope="session")
def upload() -> Upload:
    return year.upload


@pytest.fixture(scope="session")
def january(cloud: LocalCloud, months: list[Path]) -> Receipt:
    """The session's local cloud serves a model trained on January's flights."""
    before = dict(os.environ)
    os.environ.update(cloud.env)
    receipt = year.upload(settings.load(), months[0])
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
            timeout=500,
            env=clean | {"DROPFIT_HOME": str(home)} | more,
        )

    return run
