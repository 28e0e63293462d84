# SPDX-License-Identifier: Apache-2.0
"""The retraining job in this process, in a deployment of its own."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest

from beam_pipelines import retrain
from beam_pipelines.intake import Services
from dropfit import storage
from dropfit.contract import load_problem
from dropfit.receipts import Receipt, Receipts, UploadedObject
from dropfit.registry import Registry
from dropfit.settings import Settings


class House:
    """A deployment and its job, without the event in between."""

    def __init__(self, settings: Settings) -> None:
        buckets = storage.connect(settings)
        self.settings = settings
        self.buckets = buckets
        self.receipts = Receipts(buckets.data)
        self.registry = Registry(buckets.models)
        self.services = Services(settings, load_problem(settings.problem), buckets, self.receipts, self.registry)

    def upload(self, name: str, content: bytes | Path) -> Receipt:
        payload = content.read_bytes() if isinstance(content, Path) else content
        stored = self.buckets.landing.put(name, payload)
        receipt, _ = self.receipts.register(UploadedObject(stored.bucket, name, stored.generation))
        return receipt

    def work(self) -> None:
        retrain.work(self.services, "test")

    def change(self, **changes: Any) -> None:
        """The adopter edits problem.py."""
        problem = msgspec.structs.replace(self.services.problem, **changes)
        self.services = msgspec.structs.replace(self.services, problem=problem)

    def outcome(self, receipt: Receipt) -> Receipt:
        return self.receipts.get(receipt.id)


@pytest.fixture
def house(deployment: Callable[..., Settings]) -> Callable[..., House]:
    def make(problem: str = "penguins:problem", **more: str) -> House:
        return House(deployment(DROPFIT_PROBLEM=problem, **more))

    return make


@pytest.fixture
def there(deployment: Callable[..., Settings]) -> Settings:
    """A deployment whose setting says Dataflow."""
    return deployment(
        DROPFIT_RUNNER="DataflowRunner",
        DROPFIT_REGION="us-central1",
        DROPFIT_WORKER_ACCOUNT="worker@p-project.iam.gserviceaccount.com",
        DROPFIT_WORKER_IMAGE="us-docker.pkg.dev/p-project/dropfit/worker:abc",
        DROPFIT_MAX_WORKERS="7",
        DROPFIT_SUBNETWORK="regions/us-central1/subnetworks/batch",
    )
