# SPDX-License-Identifier: Apache-2.0
"""Only the job and a person's decisions write models: the functions get along with the right to read."""

from __future__ import annotations

import ast
import asyncio
from pathlib import Path
from typing import Any

import msgspec
from fakes import FakeBucket, Shelf, settings, tea

from dropfit.predictionlog import PredictionLog
from dropfit.registry import Registry
from dropfit.serving import Service

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
