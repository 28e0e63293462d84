# SPDX-License-Identifier: Apache-2.0
"""The predict function without a web server: requests as ASGI describes them, and the lines that it logs."""

from __future__ import annotations

import asyncio
import os
from typing import Any

import msgspec
from fake_bucket import FakeBucket
from fakes import settings, tea

from dropfit.predictionlog import PredictionLog
from dropfit.registry import Registry
from dropfit.replies import PROBLEM_JSON, Reply
from dropfit.serving import Service


class Door:
    """A service with its bucket, asked synchronously, as a web server asks it."""

    def __init__(self, bucket: FakeBucket, problem: Any = None, **changes: Any) -> None:
        self.bucket = bucket
        self.registry = Registry(bucket)  # type: ignore[arg-type]
        self.lines, self._written = os.pipe()
        os.set_blocking(self.lines, False)
        usual = {"pointer_seconds": 0.0, "mode": "dynamic", "deadline_ms": 10_000.0}
        given = settings(**(usual | changes))
        self.log = PredictionLog("p", given.log_share, 1024**2, fd=self._written)
        self.service = Service(given, problem or tea(), self.registry, self.log)
        self.loop = asyncio.new_event_loop()

    def close(self) -> None:
        if looks := asyncio.all_tasks(self.loop):
            self.loop.run_until_complete(asyncio.gather(*looks, return_exceptions=True))
        self.loop.close()
        os.close(self.lines)
        os.close(self._written)

    def ask(
        self,
        body: Any = None,
        path: str = "/predict",
        method: str = "POST",
        content_type: str = "application/json",
        **headers: str,
    ) -> tuple[int, Any, Reply]:
        payload = body if isinstance(body, bytes) else msgspec.json.encode(body)
        told = {"content-type": content_type, **{name.replace("_", "-"): value for name, value in headers.items()}}
        scope = {"method": method, "path": path, "headers": [(n.encode(), v.encode()) for n, v in told.items() if v]}

        async def receive() -> Any:
            return {"type": "http.request", "body": payload, "more_body": False}

        reply = self.loop.run_until_complete(self.service.handle(scope, receive))
        if path == "/metrics" and reply.status == 200:
            return reply.status, reply.body.decode(), reply
        document = msgspec.json.decode(reply.body)
        if reply.status >= 400:
            assert reply.content_type == PROBLEM_JSON
            assert document["status"] == reply.status
            assert document["detail"]
            assert document["title"]
        else:
            assert reply.content_type == "application/json"
        return reply.status, document, reply

    def logged(self) -> list[dict[str, Any]]:
        """The lines that were written down since the last look."""
        self.log.flush()
        try:
            return [msgspec.json.decode(line) for line in os.read(self.lines, 1024**2).splitlines()]
        except BlockingIOError:
            return []
