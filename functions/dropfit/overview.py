# SPDX-License-Identifier: Apache-2.0
"""What a person asks of a deployment, as plain data: what is served, what was made, what became of the uploads."""

from __future__ import annotations

from typing import Any

import msgspec

from . import explain, lease
from .contract import METRICS
from .errors import ArtifactError, NotFound
from .manifest import Manifest
from .receipts import Receipts
from .registry import Registry
from .runs import latest
from .storage import Bucket, Buckets
from .verdict import Report


def served(registry: Registry) -> dict[str, Any] | None:
    """The served version with its metrics, or None before the first promotion.

    Raises:
        ArtifactError: when the pointer or the manifest it names is broken.
    """
    pointer = registry.current().pointer
    if pointer is None:
        return None
    manifest = registry.manifest(pointer.version, pointer.manifest_sha256)
    return {
        "version": pointer.version,
        "promoted_at": pointer.promoted_at.isoformat(),
        "previous": pointer.previous,
        "pinned": pointer.pinned,
        "by": pointer.by,
        "table": pointer.table,
        "rows": manifest.rows,
        "uploads": len(manifest.inputs),
        "metrics": manifest.metrics,
        "constant": manifest.constant,
        "holdout": manifest.holdout,
        "runtime": manifest.runtime,
        "runtime_reason": manifest.runtime_reason,
    }


def uploads(buckets: Buckets, most: int) -> list[dict[str, Any]]:
    """The newest uploads and what became of them, newest first."""
    receipts = Receipts(buckets.data).all()[-most:]
    return [
        {
            "name": r.object.name,
            "generation": r.object.generation,
            "id": r.id,
            "state": r.state,
            "received_at": r.received_at.isoformat(),
            "updated_at": r.updated_at.isoformat(),
            "rows": r.accepted.rows if r.accepted else None,
            "rejected": r.accepted.rejected if r.accepted else None,
            "reasons": r.accepted.reasons if r.accepted else {},
            "notes": r.accepted.notes if r.accepted else [],
            "reason": r.reason,
            "version": r.version,
        }
        for r in reversed(receipts)
    ]


def trainable(buckets: Buckets) -> set[str]:
    """Names of the uploads a training can be ordered on: taken in, or failed, which an order tries again."""
    return {r.object.name for r in Receipts(buckets.data).all() if r.accepted is not None or r.state == "failed"}


def versions(registry: Registry) -> list[dict[str, Any]]:
    """Every version with verdict and metrics, newest first, and how it stands."""
    try:
        pointer = registry.current().pointer
    except ArtifactError:  # the list is wanted all the more: it is what a rollback chooses from
        pointer = None
    files = registry.files()
    found = []
    for manifest, report in reversed(registry.versions()):
        names = files[manifest.version]
        decision = registry.decision(manifest.version) if "decision.json" in names else None
        complete = "table.json" in names
        standing = explain.stands(manifest.version, pointer, report, decision, complete)
        found.append(
            _version(manifest, report)
            | {"standing": standing, "complete": complete, "served": standing in ("served", "pinned")}
        )
    return found


def _version(manifest: Manifest, report: Report | None) -> dict[str, Any]:
    return {
        "version": manifest.version,
        "passed": report.passed if report else None,
        "reasons": list(report.reasons) if report else [],
        "champion": report.champion if report else "",
        "created": manifest.created.isoformat(),
        "uploads": [i.object for i in manifest.inputs],
        "rows": manifest.rows,
        "metrics": manifest.metrics,
        "constant": manifest.constant,
        "holdout": manifest.holdout,
        "deciding": METRICS[type(manifest.contract.target)][0],
        "parity": msgspec.to_builtins(manifest.parity),
    }


def runs(data: Bucket, most: int) -> list[dict[str, Any]]:
    """The newest runs, newest first; one that never said how it ended, and whose job holds no lease, was killed.

    Args:
        data: the data bucket.
        most: so many.
    """
    holder, _ = lease.read(data)
    found = []
    for run in reversed(latest(data, most)):
        told: dict[str, Any] = msgspec.to_builtins(run)
        if run.finished is None:
            told["outcome"] = "running" if holder is not None and holder.holder == run.job else "killed"
        told["seconds"] = round(sum(step.seconds or 0.0 for step in run.steps), 3)
        found.append(told)
    return found


def table_row(registry: Registry, warehouse: Any, instance: dict[str, Any]) -> dict[str, Any]:
    """The static-serving table's row for an instance's key.

    Raises:
        NotFound: when the key is not in the table, or nothing is served.
    """
    pointer = registry.current().pointer
    if pointer is None:
        raise NotFound("nothing is served yet")
    key = registry.manifest(pointer.version, pointer.manifest_sha256).contract.key
    rows = warehouse.look_up({name: instance[name] for name in key})
    if not rows:
        raise NotFound(f"no row for {', '.join(f'{n}={instance[n]}' for n in key)}")
    found: dict[str, Any] = rows[0]
    return found
