# SPDX-License-Identifier: Apache-2.0
"""What batch prediction has promised, beside what was measured. Pure."""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace

from benchmarks.serving.rounds import Spread, spread
from benchmarks.serving.targets import Target

from .contest import DROPFIT, PANDAS, PROCESSES, SPARK, THREADS, Sample
from .endtoend import OTHER, Upload

BARE = (THREADS, PROCESSES)
MOST_MEGABYTES = 1_200.0


@dataclass
class Results:
    """Everything that a run measured; a part that was left out is empty.

    Attributes:
        rows: of the large file.
        small: rows of the small one, a tenth.
    """

    rows: int = 0
    small: int = 0
    machine: dict[str, str | int | float] = field(default_factory=dict)
    prepared: dict[str, int] = field(default_factory=dict)
    missing: list[str] = field(default_factory=list)
    samples: list[Sample] = field(default_factory=list)
    uploads: list[Upload] = field(default_factory=list)


def of(samples: Iterable[Sample], name: str, rows: int) -> dict[int, Sample]:
    """A contender's samples of one size, by round."""
    return {sample.round: sample for sample in samples if sample.contender == name and sample.rows == rows}


def sizes(results: Results, name: str) -> list[int]:
    """The sizes a contender was measured with, largest first."""
    return sorted({sample.rows for sample in results.samples if sample.contender == name}, reverse=True)


def largest(results: Results, name: str) -> dict[int, Sample]:
    """A contender's samples of the largest file it was measured with, by round."""
    found = sizes(results, name)
    return of(results.samples, name, found[0]) if found else {}


def faster(results: Results, other: str) -> Spread | None:
    """How many times the rows a second of another Dropfit does, round by round, on the other's largest file.

    Dropfit's figure is of its largest file in the same round, so a slower one may have fewer rows; its rate does not
    depend on them.
    """
    mine, theirs = largest(results, DROPFIT), largest(results, other)
    shared = mine.keys() & theirs.keys()
    return spread([mine[turn].rate / theirs[turn].rate for turn in shared]) if shared else None


def bare(results: Results) -> str | None:
    """The faster of the bare loops."""
    timed = {name: of(results.samples, name, results.rows).values() for name in BARE}
    means = {name: statistics.median(s.seconds for s in found) for name, found in timed.items() if found}
    return min(means, key=lambda name: means[name], default=None)


def growth(results: Results, what: str) -> Spread | None:
    """What the large file takes in times of the small one, round by round.

    Args:
        what: a field of Sample.
    """
    large, small = (of(results.samples, DROPFIT, rows) for rows in (results.rows, results.small))
    shared = large.keys() & small.keys()
    return spread([getattr(large[turn], what) / getattr(small[turn], what) for turn in shared]) if shared else None


def targets(results: Results) -> list[Target]:
    """Every promise that this run can tell something about."""
    found = _faster(results)
    times = results.rows / results.small if results.small else 10
    for what, text, bound in (("seconds", "time", 1.05 * times), ("peak_mb", "memory", 1.3)):
        grown = growth(results, what)
        if grown is not None:
            told = f"{results.small:,} to {results.rows:,} rows, imports excluded"
            found.append(
                Target(f"Dropfit, {times:g} times the rows: times the {text}", grown, bound, False, "", told)
            )
    mine = of(results.samples, DROPFIT, results.rows).values()
    if mine:
        peak = spread([sample.peak_mb for sample in mine])
        found.append(Target("Dropfit, most resident memory", peak, MOST_MEGABYTES, False, " MB"))
    if results.uploads:
        found.append(_end_to_end(results.uploads))
    return found


def _faster(results: Results) -> list[Target]:
    found = []
    best = bare(results)
    for other, bound in ((SPARK, 2.5), (PANDAS, 5.0), (best, 0.7)):
        ratio = faster(results, other) if other else None
        if other and ratio:
            rates = [rate(results, name).median for name in (DROPFIT, other)]
            told = f"{rates[0]:,.0f} rows/s beside {rates[1]:,.0f}"
            target = Target(f"Dropfit, rows a second: times {other}'s", ratio, bound, True, "", told)
            rows = sizes(results, other)[0]
            fewer = "" if rows == results.rows else f"; of {rows:,} rows"
            found.append(replace(target, detail=told + fewer))
    return found


def rate(results: Results, name: str) -> Spread:
    """A contender's rows a second on its largest file."""
    return spread([sample.rate for sample in largest(results, name).values()])


def _end_to_end(uploads: Sequence[Upload]) -> Target:
    shares = spread([upload.share(OTHER) for upload in uploads])
    spent = ", ".join(f"{upload.name}: {upload.spent(OTHER):.2f} of {upload.rest:.2f} s" for upload in uploads)
    what = "from upload to served, imports apart: neither fitting nor predicting nor loading"
    return Target(what, shares, 0.3, at_least=False, detail=spent)
