# SPDX-License-Identifier: Apache-2.0
"""The tables at the end, and the same as JSON."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from rich.console import Console
from rich.table import Table

from dropfit.display import grid
from dropfit.text import plain

from .latency import RATE
from .rounds import Sample, Spread, cost, rate, ratio
from .servers import ECHO, MODEL, TABLE
from .targets import Results, Target, targets


def show(console: Console, results: Results) -> None:
    """Print everything that was measured."""
    for size in sorted({sample.size for sample in results.samples}):
        console.print(speeds(results.samples, size))
    if results.samples:
        console.print(
            "us: processor time per request, user and system, of its whole process tree; median of all rounds. "
            "of echo: how much of the web server's own speed is left. Ratios are taken round by round."
        )
    if results.waits:
        console.print(waiting(results))
    if results.starts:
        console.print(starting(results))
    if results.imports is not None:
        dearest = ", ".join(f"{name} {spent:.0f}" for name, spent in results.imports.dearest)
        console.print(f"\n[bold]Imports[/] up to the first prediction: {results.imports.modules} modules; "
                      f"milliseconds, dearest first: {plain(dearest)}")  # fmt: skip
    for agreement in results.agreements:
        if agreement.complaint:
            console.print(f"[yellow]{plain(agreement.server)}: {plain(agreement.complaint)}[/]")
    for line in results.missing:
        console.print(f"[yellow]{plain(line)}[/]")
    console.print(promises(targets(results)))


def speeds(samples: Sequence[Sample], size: int) -> Table:
    """Every server's processor time and rate, and its ratios, for so many rows per request."""
    names = list(dict.fromkeys(s.server for s in samples))
    heads = ("us", "req/s", "of the echo", "Dropfit's model is quicker", "its table hit")
    title = f"{size} row{'s' * (size > 1)} per request, one worker each"
    table = grid(title, "server", *heads, right=heads)
    for name in sorted(names, key=lambda name: cost(samples, name, size).median):
        ratios = (ratio(samples, *pair, size) for pair in ((name, ECHO), (MODEL, name), (TABLE, name)))
        us, rates = _ranged(cost(samples, name, size), 0), _ranged(rate(samples, name, size), 0)
        table.add_row(plain(name), us, rates, *map(_times, ratios))
    return table


def waiting(results: Results) -> Table:
    """Latency at the fixed rate."""
    heads = ("answers/s", "p50 ms", "p99 ms", "errors")
    table = grid(f"At {RATE} requests a second, 1 row", "server", *heads, right=heads)
    swaps = results.swaps
    rows = [(waits.server, waits) for waits in results.waits]
    if swaps is not None:
        rows += [("Dropfit, hybrid, steady", swaps.steady), (f"the same, {swaps.swaps} swaps", swaps.swapping)]
    for name, waits in rows:
        values = f"{waits.rate.median:.0f}", _ranged(waits.p50, 2), _ranged(waits.p99, 1), str(waits.errors)
        table.add_row(plain(name), *values)
    return table


def starting(results: Results) -> Table:
    """Starts and memory."""
    heads = ("first prediction after, s", "memory, MB", "log lines")
    table = grid("A process alone: start, and memory after 1,000 requests", "server", *heads, right=heads)
    for start in results.starts:
        table.add_row(plain(start.server), _ranged(start.took, 2), _ranged(start.megabytes, 0), f"{start.lines:,}")
    return table


def promises(found: Sequence[Target]) -> Table:
    """Each promise beside its figure."""
    table = grid("Promised and measured", "", "measured", "promised", "kept", "from", right=["measured", "promised"])
    for target in found:
        digits = 0 if target.unit else 2
        bound = f"{'≥' if target.at_least else '≤'} {target.bound:g}{target.unit}"
        kept = "[bold red]does not count[/]" if target.spoiled else "[green]yes[/]" if target.met else "[red]no[/]"
        table.add_row(plain(target.what), _ranged(target.measured, digits), bound, kept, plain(target.detail))
    return table


def _times(spread: Spread | None) -> str:
    return _ranged(spread, 2 if spread.median < 10 else 0) if spread else ""


def _ranged(spread: Spread, digits: int) -> str:
    return f"{spread.median:,.{digits}f} ({spread.low:,.{digits}f}..{spread.high:,.{digits}f})"


def write(file: Path, results: Results) -> None:
    """Everything as JSON, each promise with whether it is kept."""
    kept = [asdict(target) | {"met": target.met} for target in targets(results)]
    file.write_text(json.dumps(asdict(results) | {"targets": kept}, indent=1) + "\n")
