# SPDX-License-Identifier: Apache-2.0
"""What people see of versions, runs and orphans, as Rich renderables."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from rich.console import Group
from rich.padding import Padding
from rich.table import Table

from . import explain
from .display import coloured, grid, when
from .text import plain

if TYPE_CHECKING:
    from .collect import Orphan
    from .explain import Story
    from .verdict import Completed


def versions(found: Sequence[Mapping[str, Any]]) -> Group:
    """Every version, newest first; below them, why those that are not served are not."""
    columns = ("version", "stands", "uploads", "rows", "metric", "model", "constant")
    table = grid("Versions", *columns, right=["uploads", "rows", "model", "constant"])
    reasons = []
    for v in found:
        name = v["deciding"]
        model, constant = (f"{v[k].get(name, float('nan')):.4f}" for k in ("metrics", "constant"))
        standing = coloured(v["standing"])
        table.add_row(v["version"], standing, str(len(v["uploads"])), f"{v['rows']:,}", name, model, constant)
        if v["standing"] in ("kept", "waiting") and v["reasons"]:
            reasons.append(f"[bold]{plain(v['version'])}[/] {standing}: {plain('; '.join(v['reasons']))}")
    if not found:
        table.add_row("none yet", *[""] * 6)
    return Group(table, *(Padding(line, (0, 0, 0, 1)) for line in reasons))


def version(told: Story) -> Group:
    """All about one version."""
    manifest = told.manifest
    facts = grid(f"Version {plain(manifest.version)}", "", "")
    facts.show_header = False
    facts.add_row("stands", coloured(told.standing))
    facts.add_row("table", _table(told.completed))
    facts.add_row("its head", _head(told.completed))
    facts.add_row("code", f"{plain(manifest.problem)}, revision {plain(manifest.revision[:24]) or 'not known'}")
    facts.add_row("libraries", plain(", ".join(f"{name} {number}" for name, number in manifest.libraries.items())))
    facts.add_row("seed", str(manifest.seed))
    inputs = grid("Trained on", "upload", "generation", "rows", "accepted rows hash to", right=["rows"])
    for used in manifest.inputs[:30]:
        inputs.add_row(plain(used.object), str(used.generation), f"{used.rows:,}", used.sha256[:16])
    if len(manifest.inputs) > 30:
        inputs.caption = f"and {len(manifest.inputs) - 30:,} more: --json lists them"
    words = [Padding(plain(line), (0, 0, 0, 1)) for line in explain.why(told)]
    end = f"`dropfit show {manifest.version} --save FOLDER` puts the report with its plots there."
    return Group(facts, inputs, *words, Padding(f"[dim]{plain(end)}[/]", (1, 0, 0, 1)))


def _table(completed: Completed | None) -> str:
    """A verified table in words: what it holds, and what was found when it was verified."""
    if completed is None:
        return "not filled"
    verified = when(completed.verified_at.isoformat())
    told = [f"{completed.table}: {completed.rows:,} rows, each key once; verified {verified}"]
    if (sample := completed.sample) is not None:
        again = f"{sample.rows:,} of them predicted again, {sample.differing} differ"
        told.append(f"{again} (largest difference {sample.largest:.3g})")
    if completed.shift is not None:
        told.append(completed.shift.told)
    return plain("; ".join(told))


def _head(completed: Completed | None) -> str:
    """The snapshot of a table in words."""
    if completed is None or completed.snapshot is None:
        return "no snapshot"
    held = f"{completed.keys:,} of {completed.rows:,} keys, {completed.groups:,} groups"
    return f"{held}, {completed.snapshot.size:,} bytes"


def runs(found: Sequence[Mapping[str, Any]]) -> Group:
    """Runs, newest first, with their steps; below them, why those that made nothing new did not."""
    table = grid("Runs", "started", "job", "outcome", "seconds", "steps (seconds)", "version", right=["seconds"])
    reasons = []
    for run in found:
        table.add_row(
            when(run["started"]),
            plain(run["job"]),
            coloured(run["outcome"]),
            f"{run['seconds']:.1f}",
            " ".join(f"{step['name']} {_seconds(step)}" for step in run["steps"]),
            plain(run["version"]),
        )
        if run["reason"] and run["outcome"] != "promoted":
            reasons.append(f"[bold]{when(run['started'])}[/] {coloured(run['outcome'])}: {plain(run['reason'])}")
    if not found:
        table.add_row("none yet", *[""] * 5)
    return Group(table, *(Padding(line, (0, 0, 0, 1)) for line in reasons))


def _seconds(step: Mapping[str, Any]) -> str:
    return "…" if step["seconds"] is None else f"{step['seconds']:.1f}"


def orphans(found: Sequence[Orphan], dry_run: bool) -> Table:
    """What was removed, or would be."""
    table = grid("Would be removed" if dry_run else "Removed", "what", "name", "why", "bytes", right=["bytes"])
    for orphan in found:
        table.add_row(orphan.kind, plain(orphan.name), orphan.why, f"{orphan.bytes:,}" if orphan.objects else "")
    if not found:
        table.add_row("nothing", "", "all that lies there is referred to, or young", "")
    return table
