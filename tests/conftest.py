# SPDX-License-Identifier: Apache-2.0
"""One local cloud for the whole session, and fresh deployments in it for the tests that need a clean one."""

from __future__ import annotations

import csv
import importlib.util
import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType

import pytest

from dropfit import settings
from dropfit.settings import Settings
from localcloud import flights
from localcloud.cloud import LocalCloud

PROBLEMS = Path(__file__).parent / "problems"
OURS = ("DROPFIT_", "GOOGLE_", "BIGQUERY_", "STORAGE_", "PUBSUB_", "CLOUD_RUN_", "K_")
# What a terminal or a build service sets, and rich and typer heed as soon as they are imported: colours and widths.
for _name in ("COLUMNS", "FORCE_COLOR", "GITHUB_ACTIONS", "NO_COLOR", "PY_COLORS", "TERMINAL_WIDTH"):
    os.environ.pop(_name, None)
sys.path += [str(PROBLEMS), str(Path(__file__).parent / "example")]

import stand_in  # noqa: E402 (found in the folder above)

stand_in.install()


def pytest_report_header() -> list[str]:
    """Say whose problem the tests are about, where that is a question."""
    return [stand_in.HEADER] if stand_in.is_own() else []


def clean_environment(**more: str) -> dict[str, str]:
    """The machine's environment without what could lead a test to somebody's real cloud; problems are importable."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(OURS)}
    kept.pop("PYTHONDONTWRITEBYTECODE", None)
    return kept | {"PYTHONPATH": stand_in.search(PROBLEMS)} | more


@pytest.fixture(scope="session", autouse=True)
def _no_machine() -> None:
    """Tests do not see what the shell was set up for."""
    for name in [name for name in os.environ if name.startswith(OURS)]:
        del os.environ[name]


@pytest.fixture(scope="session")
def mine() -> ModuleType:
    """functions/dropfit/problem.py as a module, for tests of your own: see docs/adapt.md."""
    return stand_in.own()


@pytest.fixture(scope="session")
def clean() -> dict[str, str]:
    """The environment for a child process that must not see the machine's."""
    return clean_environment()


@pytest.fixture(scope="session")
def cloud(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalCloud]:
    """The session's local cloud with the real functions and the default problem; impatient, for quick tests."""
    home = tmp_path_factory.mktemp("cloud")
    environ = clean_environment(DROPFIT_SWEEP_GRACE_SECONDS="2")
    with LocalCloud(home, environ=environ) as running:
        yield running


@pytest.fixture
def cloud_environment(cloud: LocalCloud, monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """This process talks to the session's local cloud."""
    for name, value in cloud.env.items():
        monkeypatch.setenv(name, value)
    return clean_environment(**cloud.env)


@pytest.fixture
def deployment(
    cloud: LocalCloud, cloud_environment: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Callable[..., Settings]:
    """Makes a deployment of its own in the session's local cloud: three empty buckets, an empty dataset."""
    from google.cloud import bigquery, storage

    def make(name: str = "a", **more: str) -> Settings:
        unique = f"{abs(hash(tmp_path)):x}{name}"
        given = {f"DROPFIT_{role.upper()}_BUCKET": f"{role}-{unique}" for role in ("landing", "data", "models")}
        given |= {"DROPFIT_DATASET": f"set_{unique}", "DROPFIT_JOBS_DIR": str(tmp_path / "jobs")} | more
        for variable, value in given.items():
            monkeypatch.setenv(variable, value)
        found = settings.load()
        client = storage.Client(project=found.project)
        for bucket in (found.landing_bucket, found.data_bucket, found.models_bucket):
            client.create_bucket(bucket)
        bigquery.Client(project=found.project).create_dataset(found.dataset)
        return found

    return make


@pytest.fixture(scope="session")
def penguins(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """One CSV file a season: PAL0708, PAL0809, PAL0910."""
    found = importlib.util.find_spec("palmerpenguins")
    assert found is not None
    assert found.origin is not None
    folder = tmp_path_factory.mktemp("penguins")
    with (Path(found.origin).parent / "data" / "penguins-raw.csv").open(newline="") as stream:
        header, *rows = csv.reader(stream)
    files = []
    for season in sorted({row[0] for row in rows}):
        files.append(folder / f"{season}.csv")
        with files[-1].open("w", newline="") as stream:
            csv.writer(stream).writerows([header, *(row for row in rows if row[0] == season)])
    return files


@pytest.fixture(scope="session")
def months(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """One CSV file of flights a month."""
    return flights.months(tmp_path_factory.mktemp("flights"))
