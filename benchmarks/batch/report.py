# SPDX-License-Identifier: Apache-2.0
"""The tables at the end, and the same as JSON."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from rich.console import Console
from rich.table import Table

from benchmarks.serving.report import promises
from benchmarks.serving.rounds import Spread, spread
from dropfit.display import grid
from dropfit.text import plain

from .contest import DROPFIT, Sample
from .endtoend import KINDS, Upload
from .results import Results, faster, of, sizes, targets

HEADS = ("rows", "seconds", "rows/s", "CPU s", "CPUs", "peak MB", "ready after s", "Dropfit is quicker")


def show(console: Console, results: Results) -> None:
    """Print everything that was measured."""
    if results.samples:
        console.print(speeds(results))
        console.print(
            "seconds: of the work alone. ready after: the process's start, imports, the JVM and a warm-up, not in "
            "the seconds. CPU s, peak MB: user and system seconds, and resident memory, of its process tree, "
            "what several share counted in each. Ratios are of rows a second, round by round."
        )
    if results.uploads:
        console.print(uploads(results.uploads))
    for line in results.missing:
        console.print(f"[yellow]{plain(line)}[/]")
    console.print(promises(targets(results)))


def speeds(results: Results) -> Table:
    """Every contender with every file it got, the fastest first."""
    table = grid(f"{results.rows:,} rows of flights, Parquet to Parquet", "", *HEADS, right=HEADS)
    names = list(dict.fromkeys(sample.contender for sample in results.samples))
    lines = [(name, rows) for name in names for rows in sizes(results, name)]
    found = {line: list(of(results.samples, *line).values()) for line in lines}
    for name, rows in sorted(lines, key=lambda line: found[line][0].seconds / line[1]):
        whole = rows == sizes(results, name)[0]
        times = faster(results, name) if name != DROPFIT and whole else None
        table.add_row(plain(name), f"{rows:,}", *_figures(found[name, rows]), _ranged(times, 2) if times else "")
    return table


def _figures(samples: Sequence[Sample]) -> list[str]:
    columns = (
        ([s.seconds for s in samples], 1),
        ([s.rate for s in samples], 0),
        ([s.cpu for s in samples], 1),
        ([s.cpu / s.seconds for s in samples], 2),
        ([s.peak_mb for s in samples], 0),
        ([s.start for s in samples], 1),
    )
    return [_ranged(spread(values), digits) for values, digits in columns]


def uploads(found: Sequence[Upload]) -> Table:
    """From upload to served, part by part, each with its share of what is no import."""
    names = [upload.name for upload in found]
    table = grid("Seconds from an upload to its table being served", "part", "kind", *names, right=names)
    for part in dict.fromkeys(part.name for upload in found for part in upload.parts):
        spent = [next((p for p in upload.parts if p.name == part), None) for upload in found]
        kind = next(p.kind for p in spent if p)
        table.add_row(plain(part), kind, *(f"{p.seconds:.2f}" if p else "" for p in spent))
    table.add_section()
    for kind in KINDS:
        table.add_row(f"all {kind}", kind, *(f"{u.spent(kind):.2f} ({u.share(kind):.0%})" for u in found))
    table.add_row("imports", "", *(f"{u.imports:.2f}" for u in found))
    table.add_row("all of it", "", *(f"{u.seconds:.2f}" for u in found))
    return table


def _ranged(of_: Spread, digits: int) -> str:
    middle = f"{of_.median:,.{digits}f}"
    return middle if of_.low == of_.high else f"{middle} ({of_.low:,.{digits}f}..{of_.high:,.{digits}f})"


def write(file: Path, results: Results) -> None:
    """Everything as JSON, each promise with whether it is kept."""
    kept = [asdict(target) | {"met": target.met} for target in targets(results)]
    file.write_text(json.dumps(asdict(results) | {"targets": kept}, indent=1) + "\n")
