# SPDX-License-Identifier: Apache-2.0
"""How often the gate is wrong, on the flights of 2013. The numbers in docs/adr/0011 are this script's.

    OMP_NUM_THREADS=1 .venv/bin/python -m benchmarks.gate            # about 5 minutes
    OMP_NUM_THREADS=1 .venv/bin/python -m benchmarks.gate --quick    # half of the repeats

1. A random fifth of February against its newest days: what a retraining seems to gain.
2. Month after month: the verdict, and which of both versions is better on the month that follows.
3. Equally good challengers (fitted on another bootstrap sample of the same rows) and clearly worse ones: how often
   each is kept, for several tolerances.
"""

from __future__ import annotations

import io
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
import numpy as np
import typer
from rich.console import Console

from dropfit import comparison, display, gate, holdout, ingest, training
from dropfit.contract import Columns
from dropfit.encoding import Encoder, length, take
from dropfit.gate import Contest, Rival
from dropfit.problem import problem
from dropfit.verdict import Report
from localcloud import flights

CONSOLE = Console(width=150)
METRIC, CLASSES = "log_loss", ("0", "1")
Array = np.ndarray[Any, Any]
Model = Callable[[Columns], Array]
"""Rows -> raw output."""


def months(folder: Path) -> list[dict[str, Array]]:
    """The accepted rows of each month."""
    import pyarrow.parquet as pq

    found = []
    for file in flights.months(folder):
        good = io.BytesIO()
        with file.open("rb") as stream:
            ingest.ingest(problem, stream, good, io.StringIO(), ingest.Caps())
        good.seek(0)
        found.append(ingest.from_table(pq.read_table(good)))
    return found


def joined(parts: list[dict[str, Array]]) -> dict[str, Array]:
    """Months below each other."""
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


def fitted(rows: Columns) -> Model:
    """The problem's estimator on those rows."""
    estimator, encoding = training._fit(problem, rows, CLASSES)
    encoder = Encoder(problem, encoding, problem.derive)
    return lambda columns: training.raw_output(estimator, encoder.matrix(columns), len(CLASSES))


def loss(model: Model, rows: Columns) -> float:
    """The metric of a model on rows."""
    return float(comparison.losses(METRIC, training.truth(problem, rows, CLASSES), model(rows)).mean())


def verdict(rows: Columns, held: Array, challenger: Model, champion: Model | None, tolerance: float) -> Report:
    """The gate's report on a challenger by rows held out."""
    judged = take(rows, held)
    rival = Rival() if champion is None else Rival("champion", "final", "", champion(judged))
    made = Contest(
        version="challenger",
        holdout=holdout.span(problem, rows, held),
        columns=judged,
        truth=training.truth(problem, judged, CLASSES),
        blocks=holdout.blocks(problem, rows)[held],
        classes=(),
        challenger=challenger(judged),
        constant=training.baseline(problem, take(rows, ~held), CLASSES, length(judged)),
        rival=rival,
    )
    changed = msgspec.structs.replace(problem, gate=msgspec.structs.replace(problem.gate, tolerance=tolerance))
    return gate.judge(changed, made)


def fresh(rows: Columns, known: int) -> Array:
    """The holdout against a served version that was fitted on the first so many rows."""
    seen = np.arange(length(rows)) < known
    return np.asarray(holdout.plan(problem, rows, holdout.Seen(seen, None)).mask)


def random_against_newest(year: list[dict[str, Array]]) -> None:
    """What retraining with February seems to gain, by two holdouts of February."""
    january, rows = length(year[0]), joined(year[:2])
    champion = fitted(year[0])
    new = np.arange(length(rows)) >= january
    chance = new & (np.random.default_rng(problem.seed).random(length(rows)) < problem.gate.holdout_share)
    table = display.grid(
        "February: what retraining seems to gain", "holdout", "rows", "January's", "challenger", "gain"
    )
    for name, held in (("random fifth", chance), ("newest days", fresh(rows, january))):
        old, young = loss(champion, take(rows, held)), loss(fitted(take(rows, ~held)), take(rows, held))
        table.add_row(name, f"{held.sum():,}", f"{old:.4f}", f"{young:.4f}", f"{old - young:.4f}")
    CONSOLE.print(table)


class Month(NamedTuple):
    """A month's challenger: the report, and both versions' loss on the month that follows."""

    number: int
    report: Report
    challenger: float
    champion: float


def through_the_year(year: list[dict[str, Array]]) -> Iterator[Month]:
    """Upload month after month; the served version is the one last promoted."""
    champion, known = fitted(year[0]), length(year[0])
    for number in range(2, 12):
        rows = joined(year[:number])
        held = fresh(rows, known)
        report = verdict(rows, held, fitted(take(rows, ~held)), champion, problem.gate.tolerance)
        challenger = fitted(rows)
        yield Month(number, report, loss(challenger, year[number]), loss(champion, year[number]))
        if report.passed:
            champion, known = challenger, length(rows)


def show_year(year: list[dict[str, Array]]) -> None:
    """Print the verdicts beside the truth."""
    right = ["rows", "challenger", "champion", "difference", "interval"]
    heads = ("upload", *right, "verdict", "next month: challenger", "champion", "right?")
    table = display.grid("The year", *heads, right=right)
    agreed, worse = [], []
    for m in through_the_year(year):
        apart, r = m.report.difference, m.report
        assert apart is not None
        agreed.append(r.passed == (m.challenger <= m.champion * (1 + problem.gate.tolerance)))
        worse += [s for s in r.slices if s.worse]
        numbers = [f"{r.holdout['rows']:,}", *(f"{r.scores[n][METRIC]:.4f}" for n in ("challenger", "champion"))]
        numbers += [f"{apart.value:+.4f}", f"{apart.low:+.4f} to {apart.high:+.4f}"]
        after = [f"{m.challenger:.4f}", f"{m.champion:.4f}", "yes" if agreed[-1] else "no"]
        table.add_row(f"2013-{m.number:02d}", *numbers, "promoted" if r.passed else "kept", *after)
    CONSOLE.print(table)
    CONSOLE.print(f"right in {sum(agreed)} of {len(agreed)} months; slices worse: {worse or 'none'}")


def resampled(rows: Columns, chance: np.random.Generator) -> Columns:
    """As many rows, drawn again with replacement."""
    return take(rows, np.sort(chance.integers(0, length(rows), length(rows))))


def flipped(rows: Columns, share: float, chance: np.random.Generator, carrier: str = "") -> Columns:
    """Rows of which a share has the wrong target; of one carrier, when it is named."""
    wrong = chance.random(length(rows)) < share
    if carrier:
        wrong &= rows["carrier"] == carrier
    return {**rows, "late": np.where(wrong, 1 - rows["late"], rows["late"])}


def shuffled(rows: Columns, name: str, chance: np.random.Generator) -> Columns:
    """Rows whose column no longer says anything."""
    return {**rows, name: rows[name][chance.permutation(length(rows))]}


WORSE: dict[str, Callable[[Columns, np.random.Generator], Columns]] = {
    "identical": lambda rows, chance: rows,
    "equally good: another sample": resampled,
    "30% of the targets wrong": lambda rows, chance: flipped(rows, 0.3, chance),
    "the hour is shuffled": lambda rows, chance: shuffled(rows, "hour", chance),
    "one row in 50": lambda rows, chance: take(rows, chance.choice(length(rows), length(rows) // 50, replace=False)),
    "half of United's targets wrong": lambda rows, chance: flipped(rows, 0.5, chance, "UA"),
}
TOLERANCES = (0.0, 0.005, 0.01, 0.02)


def passes(report: Report, tolerance: float, by: str) -> bool:
    """The gate's rules with another tolerance, by the difference itself or by the lower bound of its interval."""
    ours, theirs, constant = (report.scores[name][METRIC] for name in ("challenger", "champion", "constant"))
    whole = not any(cut.worse for cut in report.slices)
    return bool(ours < constant and whole and getattr(report.difference, by) <= tolerance * theirs)


def rates(year: list[dict[str, Array]], repeats: int) -> None:
    """How often each kind of challenger passes, against a champion fitted on a sample of the same rows."""
    reports: dict[str, list[Report]] = {name: [] for name in WORSE}
    for number in range(2, 13):
        rows = joined(year[number - 2 : number])
        held = fresh(rows, length(year[number - 2]))
        rest = take(rows, ~held)
        for repeat in range(repeats):
            chance = np.random.default_rng((number, repeat))
            base = resampled(rest, chance)
            champion = fitted(base)
            for name, spoil in WORSE.items():
                source = rest if name.startswith("equally") else base
                challenger = champion if name == "identical" else fitted(spoil(source, chance))
                reports[name].append(verdict(rows, held, challenger, champion, problem.gate.tolerance))
    heads = [f"{t:.1%}" for t in TOLERANCES]
    columns = (
        "challenger",
        "n",
        *heads,
        "bound 0%",
        "bound 1%",
        "beats constant",
        "no slice worse",
        "median difference",
        "largest",
    )
    table = display.grid(
        "Share that passes, by tolerance; by the interval's lower bound", *columns, right=columns[1:]
    )
    for name, found in reports.items():
        shares = [np.mean([passes(r, t, "value") for r in found]) for t in TOLERANCES]
        shares += [np.mean([passes(r, t, "low") for r in found]) for t in (0.0, 0.01)]
        shares.append(np.mean([r.scores["challenger"][METRIC] < r.scores["constant"][METRIC] for r in found]))
        shares.append(np.mean([not any(cut.worse for cut in r.slices) for r in found]))
        apart = [r.difference.value / r.scores["champion"][METRIC] for r in found if r.difference]
        spread = f"{np.median(apart):+.2%}", f"{max(apart):+.2%}"
        table.add_row(name, str(len(found)), *(f"{share:.0%}" for share in shares), *spread)
    CONSOLE.print(table)


def main(quick: bool = False) -> None:
    """Measure and print."""
    with tempfile.TemporaryDirectory() as folder:
        year = months(Path(folder))
    random_against_newest(year)
    show_year(year)
    rates(year, 1 if quick else 2)


if __name__ == "__main__":
    typer.run(main)
