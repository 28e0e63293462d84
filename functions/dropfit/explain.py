# SPDX-License-Identifier: Apache-2.0
"""Why is a version served, or why not: in sentences, from what storage holds. `dropfit why` and `dropfit show`."""

from __future__ import annotations

import datetime as dt
from typing import Any, Literal

import msgspec

from .errors import ArtifactError, NotFound
from .manifest import Manifest
from .pointer import Pointer, Served
from .registry import Registry
from .verdict import Completed, Decision, Report

Standing = Literal["served", "pinned", "waiting", "was served", "rejected", "kept", "not judged", "no table"]


class Story(msgspec.Struct, frozen=True, kw_only=True):
    """All that is known of a version.

    Attributes:
        manifest: what it is made of.
        standing: whether it is served, in a word or two.
        report: the gate's verdict, None before.
        decision: what a person said, None when nobody did.
        completed: its verified table and the head of it, None when it has none and cannot be served.
        pointer: what is served now.
        once: when and by whom it was served, when it was and is no more.
    """

    manifest: Manifest
    standing: Standing
    report: Report | None
    decision: Decision | None
    completed: Completed | None
    pointer: Pointer | None
    once: Served | None

    @property
    def complete(self) -> bool:
        """Whether its table is verified, so that it can be served."""
        return self.completed is not None


def story(registry: Registry, version: str) -> Story:
    """All that is known of a version.

    Raises:
        NotFound: when there is no such version.
        ArtifactError: when its manifest is not readable.
    """
    manifest = registry.manifest(version)
    try:
        report: Report | None = registry.report(version)
    except NotFound:
        report = None
    try:
        completed: Completed | None = registry.completed(version)
    except NotFound:
        completed = None
    try:
        pointer = registry.current().pointer
    except ArtifactError:
        pointer = None
    decision = registry.decision(version)
    once = next((s for s in reversed(pointer.trail) if s.version == version), None) if pointer else None
    standing = stands(version, pointer, report, decision, completed is not None)
    return Story(
        manifest=manifest,
        standing=standing,
        report=report,
        decision=decision,
        completed=completed,
        pointer=pointer,
        once=once,
    )


def stands(
    version: str, pointer: Pointer | None, report: Report | None, decision: Decision | None, complete: bool
) -> Standing:
    """Whether a version is served, in a word or two."""
    if pointer is not None and pointer.version == version:
        return "pinned" if pointer.pinned else "served"
    if pointer is not None and any(served.version == version for served in pointer.trail):
        return "was served"
    if decision is not None and not decision.approved:
        return "rejected"
    if report is None:
        return "not judged"
    if not report.passed:
        return "kept"
    return "waiting" if complete else "no table"


def why(told: Story) -> list[str]:
    """Why the version is served, or why not, in sentences."""
    said = (_judged(told), _moved(told), _served(told), _next(told))
    return [_made_of(told.manifest), _measured(told.manifest), *(line for lines in said for line in lines)]


def _made_of(manifest: Manifest) -> str:
    names = [i.object for i in manifest.inputs]
    shown = ", ".join(names[:5]) + (f" and {len(names) - 5:,} more" if len(names) > 5 else "")
    again = f", {manifest.duplicates:,} rows uploaded twice counted once" if manifest.duplicates else ""
    return f"Made on {_at(manifest.created)} from {manifest.rows:,} rows of {shown or 'no upload'}{again}."


def _measured(manifest: Manifest) -> str:
    held = manifest.holdout
    numbers = ", ".join(
        f"{name} {value:.4f} (constant {manifest.constant[name]:.4f})"
        if name in manifest.constant
        else f"{name} {value:.4f}"
        for name, value in manifest.metrics.items()
    )
    return f"On {held['rows']:,} rows of {held['first']} to {held['last']}, which it had not seen: {numbers}."


def _judged(told: Story) -> list[str]:
    if told.report is None:
        return ["The gate has not judged it: its job did not come so far. `dropfit runs` says how it ended."]
    verdict = "The gate let it pass" if told.report.passed else "The gate kept it from being served"
    against = f", compared with {told.report.champion}" if told.report.champion else ""
    return [f"{verdict}{against}: {'; '.join(told.report.reasons)}."]


def _moved(told: Story) -> list[str]:
    shift = told.completed.shift if told.completed is not None else None
    return [f"Its table lies far from the one that was served: {shift.told}."] if shift and shift.breaks else []


def _served(told: Story) -> list[str]:
    version, pointer = told.manifest.version, told.pointer
    if pointer is None:
        return ["Nothing is served, or the pointer is not readable."]
    if pointer.version == version:
        pinned = " It is pinned: trainings may not replace it until `dropfit unpin`." if pointer.pinned else ""
        return [f"It is served since {_at(pointer.promoted_at)}, by {pointer.by or 'a training'}.{pinned}"]
    said = []
    if told.once is not None:
        since = f" since {_at(told.once.since)}" if told.once.since else ""
        said.append(f"It was served{since}, by {told.once.by or 'a training'}, and is not any more.")
    if told.decision is not None:
        word = "approved" if told.decision.approved else "rejected"
        reason = f": {told.decision.reason}" if told.decision.reason else ""
        said.append(f"It was {word} by {told.decision.by} on {_at(told.decision.at)}{reason}.")
    now = f"{pointer.version} is served, since {_at(pointer.promoted_at)}, by {pointer.by or 'a training'}"
    return [*said, f"{now}{', pinned' if pointer.pinned else ''}."]


def _next(told: Story) -> list[str]:
    version = told.manifest.version
    steps: dict[str, str] = {
        "waiting": f"It can be served: `dropfit approve {version}`, or `dropfit reject {version}`.",
        "was served": f"`dropfit rollback {version}` serves it again." if told.complete else "Its files are gone.",
        "rejected": f"`dropfit approve {version}` would serve it all the same." if told.complete else "",
        "kept": "Its rows count in the next training.",
        "no table": "Its table is not filled: the job was killed, or `dropfit gc` has removed it. `dropfit runs`.",
    }
    return [line for line in [steps.get(told.standing, "")] if line]


def summary(told: Story) -> dict[str, Any]:
    """The same for programs."""
    return {
        "version": told.manifest.version,
        "standing": told.standing,
        "why": why(told),
        "complete": told.complete,
        **{
            name: msgspec.to_builtins(getattr(told, name))
            for name in ("manifest", "report", "decision", "completed", "pointer", "once")
        },
    }


def _at(moment: dt.datetime) -> str:
    return f"{moment.astimezone():%Y-%m-%d %H:%M:%S}"
