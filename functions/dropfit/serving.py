# SPDX-License-Identifier: Apache-2.0
"""Requests -> replies, without a web framework: bytes in, status and bytes out.

The forms are Vertex AI's for predictions and RFC 9457 (problem+json) for errors.
"""

from __future__ import annotations

import contextlib
from typing import Any

import msgspec
import numpy as np

from . import card
from . import version as versions
from .contract import Category, Problem
from .errors import ArtifactError, BadRequest, NotFound
from .instances import InstanceDecoder
from .pointer import Pointer
from .registry import Registry
from .replies import JSON, Reply, problem_json
from .settings import Settings
from .swap import Live
from .version import Version

METHODS = {"/": "POST", "/predict": "POST", "/model": "GET", "/health": "GET"}


class Served(msgspec.Struct, frozen=True):
    """One version with all that a request needs of it, exchanged as a whole."""

    pointer: Pointer
    version: Version
    decoder: InstanceDecoder


class Service:
    """The predict function behind its HTTP door.

    Args:
        settings: limits and addresses.
        problem: the deployed problem, for its derive function.
        registry: where versions are.
    """

    def __init__(self, settings: Settings, problem: Problem, registry: Registry) -> None:
        self._settings = settings
        self._problem = problem
        self._registry = registry
        self._live: Live[Served] = Live(registry.generation, self._load, settings.pointer_seconds)

    async def answer(self, method: str, path: str, content_type: str, body: bytes) -> Reply:
        """Route a request.

        Args:
            method: HTTP method.
            path: URL path.
            content_type: the Content-Type header, empty when absent.
            body: at most `max_request_bytes`.
        """
        allowed = METHODS.get(path)
        if allowed is None:
            return problem_json(404, "there is POST /predict, GET /model and GET /health")
        if method not in (allowed, "HEAD" if allowed == "GET" else allowed):
            return problem_json(405, f"{path} takes {allowed}", headers={"Allow": allowed})
        if path == "/health":
            return Reply(200, b'{"status":"ok"}')
        served = await self._live.get()
        if served is None:
            return self._nothing_yet()
        return (
            Reply(200, _card(served, self._settings, self._live.trouble))
            if path == "/model"
            else self._predict(served, content_type, body)
        )

    def _predict(self, served: Served, content_type: str, body: bytes) -> Reply:
        if content_type and content_type.split(";")[0].strip().lower() != JSON:
            return problem_json(415, f"send Content-Type: {JSON}")
        try:
            columns = served.decoder.decode(body)
        except BadRequest as error:
            return problem_json(error.status, error.detail, error.fields)
        try:
            scored = served.version.scorer.score(columns)
        except ArtifactError as error:
            return problem_json(500, str(error))
        return Reply(200, _encode_predictions(served, scored))

    def _nothing_yet(self) -> Reply:
        detail = (
            f"No version can be served: {self._live.trouble}"
            if self._live.trouble
            else "No model has been promoted yet: upload a data file to the landing bucket "
            f"({self._settings.landing_bucket}) and try again once `dropfit status` shows a version."
        )
        return problem_json(503, detail, headers={"Retry-After": "5"})

    def _load(self) -> Served:
        pointer = self._registry.current().pointer
        if pointer is None:
            raise NotFound("the pointer vanished between two reads")
        version = versions.load(self._registry, self._problem, pointer.version, seal=pointer.manifest_sha256)
        served = Served(pointer, version, InstanceDecoder(version.manifest.contract, self._settings.max_instances))
        _warm(version)
        return served


def _encode_predictions(served: Served, scored: Any) -> bytes:
    rows: list[dict[str, Any]] = [
        {"value": value, "source": "model", "policy": fired}
        for value, fired in zip(scored.values.tolist(), scored.fired, strict=True)
    ]
    if scored.probabilities is not None:
        for row, shares in zip(rows, scored.probabilities.tolist(), strict=True):
            if any(shares):  # else the policy denies every label there
                row["probabilities"] = dict(zip(served.version.manifest.classes, shares, strict=True))
    return msgspec.json.encode({"predictions": rows, "model_version": served.version.manifest.version})


def _card(served: Served, settings: Settings, trouble: str) -> bytes:
    learned = served.version.scorer.encoder.encoding
    how = card.Serving(mode=settings.mode, deadline_ms=settings.deadline_ms, trouble=trouble)
    return msgspec.json.encode(
        card.model_card(served.version.manifest, served.pointer, learned.vocabularies, {}, how)
    )


def _warm(version: Version) -> None:
    """One prediction of an empty instance, so that the first request meets a warm session."""
    features = version.manifest.contract.features
    with contextlib.suppress(ArtifactError):  # what is missing here need not be allowed to be
        version.scorer.score(
            {f.name: np.array([None], dtype=object if isinstance(f, Category) else np.float64) for f in features}
        )
