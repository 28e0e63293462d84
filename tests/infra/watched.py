# SPDX-License-Identifier: Apache-2.0
"""Resources of a plan by name, and the lines that a deployment writes: shared by the tests of what watches."""

from __future__ import annotations

from typing import Any

import entries
import filters

from dropfit.answers import SOURCES

Resource = dict[str, Any]
WRITTEN = [
    *(entries.of_predict(source=source) for source in SOURCES),
    *(entries.of_predict(status) for status in (400, 503)),
    *(entries.of_upload(outcome) for outcome in ("promoted", "kept", "superseded")),
    entries.of_upload("quarantined", "empty"),
    entries.of_upload("failed", "crashed"),
    *(entries.of_run(outcome) for outcome in ("promoted", "nothing", "failed")),
    entries.of_sweep(),
]
"""One entry of each sort that a deployment writes."""


def named(resources: list[Resource], kind: str) -> dict[str, Resource]:
    """Resources of a type by name; those of a for_each by name and key."""
    return {f"{r['name']}{r.get('index', '')}": r["values"] for r in resources if r["type"] == kind}


def passing(text: str) -> list[tuple[Any, Any]]:
    """Kind and outcome, status or nothing of the entries that pass a filter."""
    kept = [entry["jsonPayload"] for entry in WRITTEN if filters.holds(text, entry)]
    return [(payload["kind"], payload.get("outcome", payload.get("status"))) for payload in kept]
