# SPDX-License-Identifier: Apache-2.0
"""Unit tests see nothing of the machine they run on, and reach nothing outside their process."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from doors import Door
from fake_bucket import FakeBucket
from fakes import GROUPS, Shelf, shelve
from hypothesis import HealthCheck, settings

from dropfit.contract import Probability
from dropfit.registry import Registry
from dropfit.storage import Buckets

# One thread for the small models here: more only get into each other's way. Read when scikit-learn is imported.
os.environ["OMP_NUM_THREADS"] = "1"

MACHINE = ("DROPFIT_", "GOOGLE_", "STORAGE_EMULATOR_HOST", "BIGQUERY_EMULATOR_HOST", "CLOUD_RUN_", "CLOUDSDK_")

settings.register_profile(
    "unit", deadline=None, max_examples=25, derandomize=True, database=None, suppress_health_check=list(HealthCheck)
)
settings.load_profile("unit")


@pytest.fixture(autouse=True)
def _no_machine(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Hide the person's settings, and forget what a test adds to the environment."""
    before = set(os.environ)
    for name in before:
        if name.startswith(MACHINE):
            monkeypatch.delenv(name)
    yield
    for name in set(os.environ) - before:
        os.environ.pop(name)


@pytest.fixture
def bucket() -> FakeBucket:
    return FakeBucket("data")


@pytest.fixture
def registry(bucket: FakeBucket) -> Registry:
    return Registry(bucket)  # type: ignore[arg-type]


@pytest.fixture
def buckets() -> Buckets:
    return Buckets(FakeBucket("landing"), FakeBucket("data"), FakeBucket("models"))  # type: ignore[arg-type]


@pytest.fixture(scope="session")
def shelf() -> Shelf:
    """A version of a real fitted model, whose objects a test copies into a bucket of its own."""
    return shelve(Probability(name="drunk"), backoff=GROUPS)


@pytest.fixture
def opened() -> Iterator[Callable[..., Door]]:
    """Opens doors, and closes them after the test."""
    doors: list[Door] = []

    def make(bucket: FakeBucket, problem: Any = None, **changes: Any) -> Door:
        doors.append(Door(bucket, problem, **changes))
        return doors[-1]

    yield make
    for door in doors:
        door.close()


@pytest.fixture
def door(shelf: Shelf, opened: Callable[..., Door]) -> Door:
    return opened(shelf.bucket.copy())


@pytest.fixture
def closed(opened: Callable[..., Door]) -> Door:
    """Before the first promotion."""
    return opened(FakeBucket("models"))
