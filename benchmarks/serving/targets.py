# SPDX-License-Identifier: Apache-2.0
"""What serving has promised, beside what was measured. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from . import latency
from .agree import Agreement
from .latency import Swaps, Waits
from .rounds import Sample, Spread, cost, ratio, spread
from .servers import BY_HAND, BY_NAME, ECHO, HYBRID, MODEL, NUMPY, PANDAS, TABLE
from .starts import Imports, Start

MOST_MEGABYTES = 130.0
SWAPS = 100


@dataclass
class Results:
    """Everything that a run measured; a part that was left out is empty or None."""

    machine: dict[str, str | int | float] = field(default_factory=dict)
    missing: list[str] = field(default_factory=list)
    agreements: list[Agreement] = field(default_factory=list)
    samples: list[Sample] = field(default_factory=list)
    waits: list[Waits] = field(default_factory=list)
    starts: list[Start] = field(default_factory=list)
    imports: Imports | None = None
    swaps: Swaps | None = None


@dataclass(frozen=True)
class Target:
    """One promise.

    Attributes:
        what: in words.
        measured: the figure, with its spread.
        bound: what was promised.
        at_least: whether it must be no less; else no more.
        unit: of both.
        detail: the figures it was made from.
        spoiled: why the figure does not count, empty when it does.
    """

    what: str
    measured: Spread
    bound: float
    at_least: bool
    unit: str = ""
    detail: str = ""
    spoiled: str = ""

    @property
    def met(self) -> bool:
        """Whether the promise is kept, by the median."""
        if self.spoiled:
            return False
        return self.measured.median >= self.bound if self.at_least else self.measured.median <= self.bound


def targets(results: Results) -> list[Target]:
    """Every promise that this run can tell something about."""
    found = _speed(results) + _waits(results) + _swaps(results.swaps) + _starts(results.starts)
    if results.imports is not None:
        heavy = results.imports.heavy
        number = Spread(*[float(len(heavy))] * 3)
        what = "modules of sklearn, pandas, scipy, pyarrow imported on the predict path"
        found.append(Target(what, number, 0, at_least=False, detail=", ".join(heavy)))
    spoilt = {agreement.server: agreement.complaint for agreement in results.agreements if agreement.complaint}
    return [_spoiled(target, spoilt) for target in found]


def _spoiled(target: Target, spoilt: dict[str, str]) -> Target:
    for server in (MODEL, TABLE, HYBRID):
        if target.what.startswith(server) and server in spoilt:
            return replace(target, spoiled=spoilt[server])
    return target


def best_sklearn(samples: Sequence[Sample], size: int) -> str | None:
    """The scikit-learn server that uses the least processor time."""
    names = {s.server for s in samples if s.size == size and BY_NAME[s.server].sklearn}
    return min(names, key=lambda name: cost(samples, name, size).median, default=None)


def _speed(results: Results) -> list[Target]:
    samples, found = results.samples, []
    for size in sorted({sample.size for sample in samples}):
        rows = f"{size} row{'s' * (size > 1)}"

        def add(server: str, other: str | None, bound: float, text: str, size: int = size, rows: str = rows) -> None:
            times = ratio(samples, server, other, size) if other else None
            if times and other:
                told = f"{cost(samples, server, size).median:,.0f} us beside {cost(samples, other, size).median:,.0f}"
                found.append(Target(f"{server}, {rows}: {text}", times, bound, at_least=True, detail=told))

        best = best_sklearn(samples, size)
        add(MODEL, ECHO, 0.55, "of the echo")
        add(TABLE, ECHO, 0.7, "of the echo")
        add(MODEL, BY_HAND, 1.1, "times FastAPI + onnxruntime")
        add(MODEL, PANDAS, 30, f"times {PANDAS}, a DataFrame through a pipeline")
        add(MODEL, best, 30, f"times the best scikit-learn server, {best}{_ceiling(samples, best, size)}")
    return found


def _ceiling(samples: Sequence[Sample], best: str | None, size: int) -> str:
    """How far the web server alone would come: no function can be quicker than the server it runs in."""
    times = ratio(samples, ECHO, best, size) if best else None
    return f"; the echo alone comes to {times.median:.0f}" if times else ""


def _waits(results: Results) -> list[Target]:
    by_name = {waits.server: waits for waits in results.waits}
    echo, found = by_name.get(ECHO), []
    for name in (MODEL, TABLE):
        if echo is not None and name in by_name:
            of = by_name[name]
            detail = f"p99 {of.p99.median:.1f} ms beside {echo.p99.median:.1f}, {of.errors + echo.errors} errors"
            what = f"{name}: p99 at {latency.RATE}/s in times of the echo's"
            found.append(Target(what, latency.ratio(echo, of), 2.0, at_least=False, detail=detail))
    return found


def _swaps(swaps: Swaps | None) -> list[Target]:
    if swaps is None:
        return []
    steady, swapping = swaps.steady, swaps.swapping
    detail = f"p99 {swapping.p99.median:.1f} ms beside {steady.p99.median:.1f}, {swaps.seen} swaps served"
    lost = "" if swaps.seen >= SWAPS else f"only {swaps.seen} swaps were served"
    return [
        Target(
            f"p99 during {SWAPS} swaps in times of the steady one",
            latency.ratio(steady, swapping),
            1.5,
            at_least=False,
            detail=detail,
            spoiled=lost,
        ),
        Target(
            f"errors during {SWAPS} swaps",
            Spread(*[float(swapping.errors)] * 3),
            0,
            at_least=False,
            detail=f"of {sum(block.sent for block in swapping.blocks):,} requests",
            spoiled=lost,
        ),
    ]


def _starts(starts: Sequence[Start]) -> list[Target]:
    by_name, found = {start.server: start for start in starts}, []
    dropfit = by_name.get(HYBRID)
    if dropfit is None:
        return []
    for name in (PANDAS, NUMPY):
        if name in by_name:
            shares = spread([a / b for a, b in zip(dropfit.seconds, by_name[name].seconds, strict=True)])
            detail = f"{dropfit.took.median:.2f} s beside {by_name[name].took.median:.2f} s"
            what = f"start to first prediction in times of {name}'s"
            found.append(Target(what, shares, 0.333, at_least=False, detail=detail))
    what = "memory of the process tree after 1,000 requests (PSS)"
    rest = ", ".join(f"{s.server}: {s.megabytes.median:.0f} MB" for s in starts if s is not dropfit)
    found.append(Target(what, dropfit.megabytes, MOST_MEGABYTES, at_least=False, unit=" MB", detail=rest))
    return found
