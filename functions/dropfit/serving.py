# SPDX-License-Identifier: Apache-2.0
"""The predict function behind its web server: a request is read, answered, counted and logged.

The forms are Vertex AI's for predictions and RFC 9457 (problem+json) for errors.
"""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Mapping
from typing import Any

import msgspec

from .about import About
from .admission import Lane
from .answers import Prediction
from .bodies import Bodies, Disconnected, Receive
from .contract import Problem
from .errors import BadRequest
from .pointer import Pointer
from .predictionlog import PredictionLog
from .registry import Registry
from .replies import METHODS, Reply, problem_json
from .served import Served, load
from .settings import Settings
from .swap import Live
from .telemetry import Telemetry

LOG = logging.getLogger(__name__)
CLOSE = {"Connection": "close"}


class Body(msgspec.Struct):
    """The reply to a prediction request."""

    predictions: list[Prediction]
    model_version: str


class Service:
    """The predict function.

    Args:
        settings: limits and addresses.
        problem: the deployed problem, for its derive function, and its contract before a version is loaded.
        registry: where versions are.
        log: where answered requests are written down.
    """

    def __init__(self, settings: Settings, problem: Problem, registry: Registry, log: PredictionLog) -> None:
        self._settings = settings
        self._log = log
        self._telemetry = Telemetry()
        self._about = About(settings, problem, self._telemetry)
        self._bodies = Bodies(settings.max_request_bytes, settings.body_seconds)
        self._budget = settings.deadline_ms / 1000
        self._encode = msgspec.json.Encoder().encode
        lane = Lane()
        self._live: Live[Pointer, Served] = Live(
            registry.generation,
            registry.pointer,
            lambda pointer: load(registry, problem, settings, lane, pointer),
            settings.pointer_seconds,
        )

    async def handle(self, scope: Mapping[str, Any], receive: Receive) -> Reply:
        """One HTTP request, as ASGI describes it, from its first byte to the reply; never raises."""
        path: str = scope["path"]
        headers: dict[bytes, bytes] = dict(scope["headers"])
        body, begun = b"", time.perf_counter()
        try:
            body = await self._bodies.read(headers, receive)
            begun = time.perf_counter()
            reply = await self.answer(scope["method"], path, headers, body)
        except BadRequest as error:
            early = CLOSE if error.status in (408, 413, 503) else {}
            reply = problem_json(error.status, error.detail, error.fields, early)
        except Disconnected:
            return problem_json(400, "the client went away before its body was complete")
        except Exception:
            LOG.exception("a request failed in a way that nobody foresaw")
            reply = problem_json(500, "this request failed in a way that nobody foresaw; the function's log has it")
        seconds = time.perf_counter() - begun
        self._telemetry.request(path, reply.status, seconds)
        if self._log.on and METHODS.get(path) == "POST":
            known, count = body if reply.instances else b"", reply.instances
            self._log.add(
                headers, reply.status, seconds, known, reply.body, reply.version, self._settings.mode, count, path
            )
        return reply

    async def answer(self, method: str, path: str, headers: Mapping[bytes, bytes], body: bytes) -> Reply:
        """Route a request.

        Args:
            method: HTTP method.
            path: URL path.
            headers: by lower-case name.
            body: at most `max_request_bytes`.

        Raises:
            BadRequest: when it is not what it must be.
        """
        allowed = METHODS.get(path)
        if allowed is None:
            return problem_json(404, f"there is {', '.join(f'{verb} {at}' for at, verb in METHODS.items())}")
        if method != allowed and (method, allowed) != ("HEAD", "GET"):
            verbs = "GET, HEAD" if allowed == "GET" else allowed
            return problem_json(405, f"{path} takes {verbs}", headers={"Allow": verbs})
        if path == "/health":
            return Reply(200, b'{"status":"ok"}')
        live, begun = self._live, time.monotonic()
        budget = self._budget if allowed == "GET" else self._asked(headers)
        if live.loaded is None:
            served = await live.get()
            begun = time.monotonic()  # the first version is waited for; the budget is for answering by it
        else:
            served = live.fresh or await live.get(budget)
        if allowed == "GET":
            return await self._about.answer(path, served, live, self._log.dropped)
        if served is None:
            return self._about.nothing_yet(live.trouble)
        instances, deadline = _understood(served, headers, body), begun + budget
        # Most often nothing is waited for: then a coroutine would cost more than some answers.
        predictions = served.ladder.at_once(instances, deadline) or await served.ladder.in_time(instances, deadline)
        return self._told(predictions, served.version.manifest.version)

    def _told(self, predictions: list[Prediction], version: str) -> Reply:
        self._telemetry.predictions(predictions)
        if predictions[0].error is not None and all(p.error is not None for p in predictions):
            return _none(predictions, version)
        body = self._encode(Body(predictions, version))
        return Reply(200, body, instances=len(predictions), version=version)

    def _asked(self, headers: Mapping[bytes, bytes]) -> float:
        """The seconds that a request may take."""
        header = headers.get(b"x-deadline-ms")
        if header is None:
            return self._budget
        try:
            milliseconds = float(header)
        except ValueError:
            milliseconds = math.nan
        most = self._settings.max_deadline_ms
        if not 1 <= milliseconds <= most:
            why = f"a number of milliseconds from 1 to {most:g}"
            raise BadRequest(f"X-Deadline-Ms must be {why}", {"X-Deadline-Ms": f"expected {why}"})
        return milliseconds / 1000


def _understood(served: Served, headers: Mapping[bytes, bytes], body: bytes) -> list[Any]:
    """A request's instances."""
    content_type = headers.get(b"content-type", b"")
    if content_type and content_type != b"application/json":
        _check_json(content_type)
    if b"content-encoding" in headers and headers[b"content-encoding"].lower() != b"identity":
        raise BadRequest("send the body as it is, without Content-Encoding", status=415)
    return served.decoder.decode(body)


def _check_json(content_type: bytes) -> None:
    if content_type.split(b";")[0].strip().lower() != b"application/json":
        raise BadRequest("send Content-Type: application/json", status=415)


def _none(predictions: list[Prediction], version: str) -> Reply:
    """No instance has an answer: the status says so too."""
    errors = [p.error for p in predictions if p.error is not None]
    worst = max(errors, key=lambda error: error.code)
    fields = {f"instances[{position}]": error.message for position, error in enumerate(errors)}
    reply = problem_json(worst.code, f"no instance has an answer: {worst.message}", fields)
    return msgspec.structs.replace(reply, instances=len(predictions), version=version)
