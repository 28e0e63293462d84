# SPDX-License-Identifier: Apache-2.0
"""Only the job and a person's decisions write models; what runs gets along with what Terraform grants it."""

from __future__ import annotations

import ast
import asyncio
import datetime as dt
import re
from pathlib import Path
from typing import Any

import msgspec
import pytest
from fake_bucket import FakeBucket
from fakes import Shelf, completed, settings, tea

import on_upload
from dropfit import refreshes
from dropfit.errors import Unavailable
from dropfit.lease import Lease
from dropfit.predictionlog import PredictionLog
from dropfit.receipts import Receipts, UploadedObject
from dropfit.registry import Registry
from dropfit.serving import Service
from dropfit.storage import Buckets
from dropfit.sweep import Swept, sweep_with

ROOT = Path(__file__).parents[2]
WRITES = ("create", "replace", "put", "delete")


class ReadOnly(FakeBucket):
    """A bucket as an account with the right to read alone sees it."""

    def __init__(self, holds: FakeBucket) -> None:
        super().__init__(holds.name)
        self._objects = dict(holds._objects)

    def _call(self, method: str) -> Any:
        assert method not in WRITES, f"{method} on the models bucket"
        return super()._call(method)


def test_predict_loads_serves_and_swaps_with_the_right_to_read_alone(shelf: Shelf) -> None:
    registry = Registry(ReadOnly(shelf.bucket))  # type: ignore[arg-type]
    service = Service(settings(pointer_seconds=0.0), tea(), registry, PredictionLog("p", 0.0, 1024))
    body = msgspec.json.encode({"instances": [{"leaf": "assam", "cup": "small", "minutes": 3}]})
    reply = asyncio.run(service.answer("POST", "/predict", {}, body))
    assert reply.status == 200, reply.body
    assert b'"source":"table"' in reply.body


def test_the_upload_function_does_not_touch_the_models_bucket_at_all() -> None:
    named = {
        node.attr
        for node in ast.walk(ast.parse((ROOT / "functions/on_upload.py").read_text()))
        if isinstance(node, ast.Attribute)
    }
    assert "data" in named
    assert "models" not in named


class Guarded(FakeBucket):
    """The data bucket under IAM's conditions: names beyond the granted prefixes can be listed, and no more.

    Args:
        holds: what is in it.
        writes: prefixes of the names that may be read and written.
        reads: prefixes of those that may be read.
    """

    def __init__(self, holds: FakeBucket, writes: tuple[str, ...], reads: tuple[str, ...]) -> None:
        super().__init__(holds.name)
        self._objects, self._writes, self._reads = holds._objects, writes, (*writes, *reads)
        self.touched: set[str] = set()

    def __getattribute__(self, method: str) -> Any:
        found = super().__getattribute__(method)
        if method not in (*WRITES, "stat", "read", "fetch", "open", "download"):
            return found

        def guarded(name: str, *arguments: Any, **more: Any) -> Any:
            granted = self._writes if method in WRITES else self._reads
            assert name.startswith(granted), f"{method} {name} is not granted in infra/buckets.tf"
            self.touched |= {prefix for prefix in granted if name.startswith(prefix)}
            return found(name, *arguments, **more)

        return guarded


def granted(runtime: str, verb: str) -> tuple[str, ...]:
    """The prefixes that infra/buckets.tf grants a runtime's account in the data bucket."""
    said = re.search(rf'"{runtime} {verb}" = {{[^}}]*begins = \[([^]]*)\]', (ROOT / "infra/buckets.tf").read_text())
    assert said, f"infra/buckets.tf does not say what {runtime} {verb}"
    return tuple(re.findall(r'"([^"]+)"', said[1]))


def restricted(buckets: Buckets, runtime: str) -> tuple[Buckets, Guarded]:
    """Buckets as a runtime's account has them: landing and models to read, the data bucket in part."""
    data = Guarded(buckets.data, granted(runtime, "writes"), granted(runtime, "reads"))  # type: ignore[arg-type]
    landing, models = (ReadOnly(b) for b in (buckets.landing, buckets.models))  # type: ignore[arg-type]
    return Buckets(landing, data, models), data  # type: ignore[arg-type]


class Started:
    """A launcher that starts nothing, or fails."""

    def __init__(self, error: Exception | None = None) -> None:
        self._error = error

    def launch(self) -> str:
        if self._error:
            raise self._error
        return "a job"


def test_the_upload_function_gets_along_with_what_terraform_grants_it(buckets: Buckets) -> None:
    mine, data = restricted(buckets, "on_upload")
    uploaded = UploadedObject("landing", "a.csv", 1)
    assert on_upload.take_in(uploaded, 60.0, mine, Started()) == "launched"
    assert on_upload.take_in(uploaded, 60.0, mine, Started()) == "waits"
    with Lease(buckets.data, "a job", 60.0):
        assert on_upload.take_in(UploadedObject("landing", "b.csv", 2), 60.0, mine, Started()) == "waits"
    with pytest.raises(Unavailable):
        on_upload.take_in(UploadedObject("landing", "c.csv", 3), 60.0, mine, Started(Unavailable("no quota")))
    assert data.touched == {*granted("on_upload", "writes"), *granted("on_upload", "reads")}, "and needs all of it"


def test_the_sweep_gets_along_with_what_terraform_grants_it(buckets: Buckets) -> None:
    landing: Any = buckets.landing
    landing.put("lost.csv", b"data")
    landing.age("lost.csv", 3600)
    registry = Registry(buckets.models)
    long_ago = dt.datetime.now(dt.UTC) - dt.timedelta(hours=48)
    registry.complete(msgspec.structs.replace(completed("v1", "predictions__v1", 3), verified_at=long_ago))
    registry.promote("v1", "predictions__v1", registry.current())
    receipts = Receipts(buckets.data)
    waits, _ = receipts.register(UploadedObject("landing", "approved.csv", 7))
    receipts.advance(waits, state="held", version="v1")
    buckets.data.put("accepted/some.parquet", b"rows")
    with Lease(buckets.data, "a job", 60.0):
        mine, data = restricted(buckets, "sweep")
        assert sweep_with(settings(), mine, Started()) == Swept(1, "")
    assert sweep_with(settings(), mine, Started()) == Swept(0, "a job")
    assert receipts.get(waits.id).state == "promoted"
    assert refreshes.waiting(buckets.data)
    assert data.touched == {*granted("sweep", "writes"), *granted("sweep", "reads")}, "and needs all of it"
