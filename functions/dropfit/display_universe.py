# SPDX-License-Identifier: Apache-2.0
"""What people see of the key universe, as Rich renderables."""

from __future__ import annotations

from rich.console import Group
from rich.padding import Padding

from .display import grid
from .text import plain
from .universe_report import Report


def universe(found: Report) -> Group:
    """The numbers, the coverage curve, and a sentence of advice."""
    what = "accepted rows" if found.source == "accepted" else "requests"
    facts = grid(f"Key universe: {found.universe}", "", "", right=[""])
    facts.show_header = False
    facts.add_row(f"{what} counted", f"{found.counted:,}")
    facts.add_row("distinct keys among them", f"{found.seen:,}")
    facts.add_row("normalised entropy (1: all alike)", f"{found.entropy:.3f}")
    facts.add_row("share of the top 1% of the keys", f"{found.top_1:.1%}")
    facts.add_row("share of the top 10%", f"{found.top_10:.1%}")
    facts.add_row("expected share of keys not seen yet", f"{found.unseen:.1%}")
    facts.add_row("keys in the table", f"{found.keys:,}")
    facts.add_row("which cover", f"{found.coverage:.1%}")
    facts.add_row("the table in BigQuery, about", _bytes(found.table_bytes))
    facts.add_row("keys in the snapshot, about", f"{found.snapshot_keys:,}")
    facts.add_row("which cover", f"{found.snapshot_coverage:.1%}")
    facts.add_row("the snapshot, about", _bytes(found.snapshot_bytes))
    curve = grid("Coverage", f"of the {what}", "most frequent keys", "of the keys seen", right=["most frequent keys"])
    for level, needed in found.curve.items():
        share = f"{needed / found.seen:.1%}" if needed else ""
        curve.add_row(level, "not reached" if needed is None else f"{needed:,}", share)
    notes = [Padding(plain(note), (0, 0, 0, 1)) for note in (*found.notes, found.advice)]
    return Group(facts, curve, *notes)


def _bytes(count: int) -> str:
    for unit, size in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if count >= size:
            return f"{count / size:,.1f} {unit}"
    return f"{count} bytes"
