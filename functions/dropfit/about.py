# SPDX-License-Identifier: Apache-2.0
"""What the predict function says of itself: ready or not, what is served, how to ask, and what it has counted."""

from __future__ import annotations

import asyncio

import msgspec

from . import card, openapi
from .contract import Contract
from .pointer import Pointer
from .replies import Reply, problem_json
from .served import Served, sample
from .settings import Settings
from .swap import Live
from .telemetry import State, Telemetry


class About:
    """Answers to GET.

    Args:
        settings: mode and limits.
        contract: the deployed one, for as long as no version is loaded.
        telemetry: what was counted.
    """

    def __init__(self, settings: Settings, contract: Contract, telemetry: Telemetry) -> None:
        self._settings = settings
        self._contract = contract
        self._telemetry = telemetry
        self._documents: dict[str, bytes] = {}

    async def answer(self, path: str, served: Served | None, live: Live[Pointer, Served], dropped: int) -> Reply:
        """One of the paths that are read.

        Args:
            path: /ready, /metrics, /openapi.json or /model.
            served: what is loaded, if anything.
            live: how the looking for versions goes.
            dropped: lines that the prediction log dropped.
        """
        trouble = live.trouble
        why = self._why_not_ready(served, trouble, live.unreadable_for)
        if path == "/ready":
            return self._ready(served, trouble, why)
        if path == "/metrics":
            # Beside the event loop: the first one imports prometheus_client.
            state = self._state(served, not why)
            state = msgspec.structs.replace(state, log_dropped=dropped, swaps=live.swaps, swap_failures=live.refusals)
            return Reply(200, *await asyncio.to_thread(self._telemetry.exposition, state))
        if path == "/openapi.json":
            return Reply(200, self._document(served))
        return self._card(served, trouble) if served else self.nothing_yet(trouble)

    def nothing_yet(self, trouble: str) -> Reply:
        """Before the first version."""
        detail = (
            f"No version can be served: {trouble}"
            if trouble
            else "No model has been promoted yet: upload a data file to the landing bucket "
            f"({self._settings.landing_bucket}) and try again once `dropfit status` shows a version."
        )
        return problem_json(503, detail, headers={"Retry-After": "5"})

    def _why_not_ready(self, served: Served | None, trouble: str, unreadable_for: float) -> str:
        if served is None:
            return trouble or "no version has been promoted yet"
        if unreadable_for > self._settings.ready_seconds:
            return f"the pointer has not been readable for {unreadable_for:.0f} s: {trouble}"
        return ""

    def _ready(self, served: Served | None, trouble: str, why: str) -> Reply:
        if served is None or why:
            return problem_json(503, why, headers={"Retry-After": "5"})
        told = {"status": "ready", "version": served.version.manifest.version}
        return Reply(200, msgspec.json.encode(told | ({"trouble": trouble} if trouble else {})))

    def _card(self, served: Served, trouble: str) -> Reply:
        encoding, snapshot = served.version.scorer.encoder.encoding, served.pointer.snapshot
        head = (len(served.snapshot), snapshot.size) if served.snapshot is not None and snapshot is not None else None
        how = card.Serving(
            mode=self._settings.mode, deadline_ms=self._settings.deadline_ms, snapshot=head, trouble=trouble
        )
        manifest = served.version.manifest
        document = card.model_card(manifest, served.pointer, encoding.vocabularies, encoding.ranges, how)
        return Reply(200, msgspec.json.encode(document))

    def _state(self, served: Served | None, ready: bool) -> State:
        if served is None:
            return State(mode=self._settings.mode, ready=ready)
        manifest, cost = served.version.manifest, served.ladder.online.cost
        return State(
            mode=self._settings.mode,
            ready=ready,
            version=manifest.version,
            problem=manifest.contract.name,
            runtime=manifest.runtime,
            fixed_seconds=cost.scale * cost.fixed,
            row_seconds=cost.scale * cost.per_row,
        )

    def _document(self, served: Served | None) -> bytes:
        """The OpenAPI document, made once a version: it takes 10 ms."""
        version = served.version.manifest.version if served else "none yet"
        if version not in self._documents:
            manifest = served.version.manifest if served else None
            document = openapi.document(
                manifest.contract if manifest else self._contract,
                settings=self._settings,
                version=version,
                classes=manifest.classes if manifest else (),
                example=sample(served.version) if served else None,
            )
            self._documents = {version: msgspec.json.encode(document)}
        return self._documents[version]
