# SPDX-License-Identifier: Apache-2.0
"""The model card of `GET /model`: what is served, how good it is, what a request holds, and what a reply may say."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from .contract import Category, Contract, Feature
from .instances import optional
from .manifest import Manifest
from .pointer import Pointer

SHOWN_VALUES = 200
"""Values of a category that are listed; how many there are is said as well."""


class Serving(msgspec.Struct, frozen=True, kw_only=True):
    """How a version is served here.

    Attributes:
        mode: static, dynamic or hybrid.
        deadline_ms: milliseconds that a request may take unless it says otherwise.
        snapshot: rows and bytes of the table's head that is loaded; None without one.
        trouble: why nothing newer is served; empty when nothing is wrong.
    """

    mode: str
    deadline_ms: float
    snapshot: tuple[int, int] | None = None
    trouble: str = ""


def model_card(
    manifest: Manifest,
    pointer: Pointer,
    vocabularies: Mapping[str, tuple[str, ...]],
    ranges: Mapping[str, tuple[float, float]],
    serving: Serving,
) -> dict[str, Any]:
    """The card as a document.

    Args:
        manifest: the version's.
        pointer: what names it.
        vocabularies: category feature -> the values that training saw.
        ranges: number feature -> smallest and largest value that training saw, where known.
        serving: how it is served.
    """
    contract: Contract = manifest.contract
    return {
        "version": manifest.version,
        "problem": contract.name,
        "title": contract.title,
        "promoted_at": pointer.promoted_at,
        "created": manifest.created,
        "previous": pointer.previous,
        "table": pointer.table,
        "metrics": manifest.metrics,
        "constant": manifest.constant,
        "holdout": manifest.holdout,
        "rows": manifest.rows,
        "features": [_feature_card(f, vocabularies.get(f.name, ()), ranges.get(f.name)) for f in contract.features],
        "key": contract.key,
        "backoff": contract.backoff,
        "target": contract.target.name,
        "classes": manifest.classes or None,
        "policy": contract.policy,
        "runtime": manifest.runtime,
        "runtime_reason": manifest.runtime_reason or None,
        "mode": serving.mode,
        "deadline_ms": serving.deadline_ms,
        "snapshot": serving.snapshot and dict(zip(("rows", "bytes"), serving.snapshot, strict=True)),
        "trouble": serving.trouble or None,
    }


def _feature_card(feature: Feature, seen: tuple[str, ...], span: tuple[float, float] | None) -> dict[str, Any]:
    card: dict[str, Any] = {"name": feature.name, "required": not optional(feature)}
    if isinstance(feature, Category):
        card |= {"type": "string", "values": feature.values or None, "seen": len(seen), "known": seen[:SHOWN_VALUES]}
    else:
        card |= {
            "type": "integer" if feature.integer else "number",
            "minimum": feature.minimum,
            "maximum": feature.maximum,
            "given_by": feature.given_by or None,
            "seen": span and dict(zip(("smallest", "largest"), span, strict=True)),
        }
    card["description"] = feature.description
    return {name: value for name, value in card.items() if value not in (None, "")}
