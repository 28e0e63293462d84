# SPDX-License-Identifier: Apache-2.0
"""How often the drift check is wrong: honest files that it stops, and mistakes that it lets pass.

.venv/bin/python -m benchmarks.drift            about a minute

Honest files are cut from the flights of 2013: months in order and in 20 shuffles, every pair of months, single days,
single carriers and single origins beside one month, beside each other and beside a year, random samples, a year whose
rate doubles; and the three seasons of the penguins. Mistakes are made on February's flights beside January's alone,
and beside the eleven other months. "rows" are the mistakes that the declared columns already set aside.
"""

from __future__ import annotations

import io
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

sys.path.append(str(Path(__file__).parents[1] / "tests/problems"))

import penguins as penguin_problem

from dropfit import drift, profile
from dropfit.contract import Problem
from dropfit.errors import BadFile
from dropfit.ingest import Caps, from_table, ingest
from dropfit.problem import problem as flights_problem
from dropfit.profile import Profile
from localcloud import flights

Change = Callable[[Any], Any]
SIZES = (300, 1000, 20_000)


def columns_of(problem: Problem, rows: pd.DataFrame) -> dict[str, Any]:
    """Accepted rows of a file; raises BadFile when it is condemned for them."""
    import pyarrow.parquet as pq

    good = io.BytesIO()
    ingest(problem, io.BytesIO(rows.to_csv(index=False).encode()), good, io.StringIO(), Caps())
    return from_table(pq.read_table(io.BytesIO(good.getvalue())))


def profiled(problem: Problem, rows: pd.DataFrame) -> Profile:
    """Of a raw file."""
    return profile.profile(problem, columns_of(problem, rows))


def part(columns: dict[str, Any], mask: Any) -> Profile:
    """Of accepted rows, so that a thousand small files need no thousand reads."""
    return profile.profile(flights_problem, {name: values[mask] for name, values in columns.items()})


def honest(year: dict[str, Any], months: list[Profile]) -> Iterator[tuple[str, list[tuple[list[Profile], Profile]]]]:
    """Kinds of honest files: what they are compared with, and the file."""
    chance = np.random.default_rng(1)
    day = year["date"].astype("datetime64[D]")
    carrier, origin = year["carrier"], year["origin"]
    days = [part(year, day == d) for d in np.unique(day)]
    carriers = [part(year, carrier == c) for c in np.unique(carrier.astype(str))]
    origins = [part(year, origin == o) for o in np.unique(origin.astype(str))]
    routes = [
        part(year, (carrier == c) & (origin == o))
        for c in np.unique(carrier.astype(str))
        for o in np.unique(origin.astype(str))
    ]
    yield "every pair of months", [([a], b) for a in months for b in months if a is not b]
    yield "months in order", [(months[:n], months[n]) for n in range(1, 12)]
    shuffles = [list(chance.permutation(12)) for _ in range(20)]
    yield "months, 20 shuffles", [([months[i] for i in s[:n]], months[s[n]]) for s in shuffles for n in range(1, 12)]
    yield "a day beside a month", [([m], d) for m in (months[0], months[6]) for d in days]
    yield "a day beside the day before", list(zip([[d] for d in days], days[1:], strict=False))
    yield "a day beside the 12 days before", [(days[n - 12 : n], days[n]) for n in range(12, len(days))]
    yield "a month beside a day", [([d], m) for d in days[::7] for m in months]
    yield "a carrier beside a month", [([m], c) for m in months for c in carriers]
    yield "a carrier beside a carrier", [([a], b) for a in carriers for b in carriers if a is not b]
    yield (
        "carriers in 20 orders",
        [
            ([carriers[i] for i in s[:n]], carriers[s[n]])
            for s in (list(chance.permutation(len(carriers))) for _ in range(20))
            for n in range(1, len(carriers))
        ],
    )
    yield "a month beside a carrier", [([c], m) for m in months for c in carriers]
    yield (
        "an origin beside an origin or a month",
        [([a], b) for a in [*origins, *months] for b in origins if a is not b],
    )
    yield "carrier and origin beside another such", [([a], b) for a in routes for b in routes if a is not b]
    for rows in (30, 100, 1000):
        samples = [part(year, chance.choice(len(day), rows, replace=False)) for _ in range(60)]
        yield (
            f"{rows} random rows beside others, or a month",
            [([a], b) for a in [*samples[:30], *months[:3]] for b in samples[30:]],
        )
        yield f"a month beside {rows} random rows", [([a], m) for a in samples for m in months[:3]]
    late = {**year, "late": np.where(chance.random(len(day)) < 0.3, 1.0, year["late"])}
    yield "the target's rate doubles", [([m], part(late, day >= np.datetime64("2013-10-01"))) for m in months]


def mistakes() -> dict[str, Change]:
    """Name -> what is done to the raw file."""
    names = {c: str(i) for i, c in enumerate(sorted(CARRIERS))}
    return {
        "miles -> kilometres": lambda f: f.assign(distance=f.distance * 1.609344),
        "distance / 10": lambda f: f.assign(distance=f.distance / 10),
        "distance * 10": lambda f: f.assign(distance=f.distance * 10),
        "distance * -1": lambda f: f.assign(distance=-f.distance),
        "hour * 100": lambda f: f.assign(sched_dep_time=f.sched_dep_time * 100),
        "minutes of the day for hhmm": lambda f: f.assign(
            sched_dep_time=f.sched_dep_time // 100 * 60 + f.sched_dep_time % 100
        ),
        "origin <-> dest": lambda f: f.assign(origin=f.dest, dest=f.origin),
        "carrier <-> origin": lambda f: f.assign(carrier=f.origin, origin=f.carrier),
        "month <-> day": lambda f: f.assign(month=f.day, day=f.month),
        "distance <-> flight": lambda f: f.assign(distance=f.flight, flight=f.distance),
        "all columns shifted by one": lambda f: f.set_axis([*f.columns[1:], f.columns[0]], axis=1),
        "carrier, origin, dest shifted": lambda f: f.assign(carrier=f.origin, origin=f.dest, dest=f.carrier),
        "codes for carriers": lambda f: f.assign(carrier=f.carrier.map(names)),
        "lower case": lambda f: f.assign(carrier=f.carrier.str.lower(), origin=f.origin.str.lower()),
        "another spelling of origins": lambda f: f.assign(origin="K" + f.origin),
        "distances shuffled": lambda f: f.assign(distance=f.distance.sample(frac=1, random_state=1).to_numpy()),
        "distance empty but for 1%": lambda f: f.assign(distance=f.distance.where(np.arange(len(f)) % 100 == 0)),
        "delay in hours": lambda f: f.assign(arr_delay=f.arr_delay / 60),
        "target inverted": lambda f: f.assign(arr_delay=30 - f.arr_delay),
        "delays shuffled": lambda f: f.assign(arr_delay=f.arr_delay.sample(frac=1, random_state=1).to_numpy()),
        "blanks around names (harmless)": lambda f: f.assign(carrier=" " + f.carrier + " "),
    }


CARRIERS: set[str] = set()


def verdict(references: Sequence[Profile], rows: pd.DataFrame) -> str:
    """Which check stops a file, if any."""
    try:
        found = drift.judge(references, profiled(flights_problem, rows))
    except BadFile as bad:
        return f"rows ({bad.code})"
    return "drift: " + ", ".join(f.column for f in found) if found else "passes"


def synthetic() -> Iterator[tuple[str, list[int]]]:
    """Numbers of known kinds beside as many of the same kind: how many of 200 draws are stopped, by rows."""
    chance = np.random.default_rng(2)
    kinds: dict[str, Change] = {
        "celsius": lambda n: chance.normal(15, 8, n),
        "prices": lambda n: chance.lognormal(3, 1, n),
        "ages": lambda n: chance.integers(18, 80, n).astype(float),
    }
    changes: list[tuple[str, str, Change]] = [
        ("celsius", "the same again (honest)", lambda v: v),
        ("celsius", "10 degrees warmer (honest)", lambda v: v + 10),
        ("prices", "the same again (honest)", lambda v: v),
        ("prices", "a third dearer (honest)", lambda v: v * 1.33),
        ("prices", "doubled (honest)", lambda v: v * 2),
        ("prices", "2.5 times as dear (honest)", lambda v: v * 2.5),
        ("ages", "the same again (honest)", lambda v: v),
        ("celsius", "Fahrenheit", lambda v: v * 1.8 + 32),
        ("celsius", "kelvin", lambda v: v + 273.15),
        ("prices", "in cents", lambda v: v * 100),
        ("prices", "miles -> kilometres", lambda v: v * 1.609344),
        ("prices", "sign turned", lambda v: -v),
        ("ages", "in months", lambda v: v * 12),
        ("ages", "in days", lambda v: v * 365.25),
    ]
    for kind, name, change in changes:
        stopped = []
        for rows in SIZES:
            draws = [(kinds[kind](rows), change(kinds[kind](rows))) for _ in range(200)]
            pairs = [[Profile(rows, {"x": profile.number(v)}, {}, {}) for v in pair] for pair in draws]
            stopped.append(sum(bool(drift.judge([before], after)) for before, after in pairs))
        yield f"{kind}: {name}", stopped


def main() -> None:
    """Print the tables."""
    with tempfile.TemporaryDirectory() as folder:
        raw = [pd.read_csv(file) for file in flights.months(Path(folder))]
    CARRIERS.update(raw[0].carrier)
    accepted = [columns_of(flights_problem, rows) for rows in raw]
    months = [profile.profile(flights_problem, columns) for columns in accepted]
    year = {name: np.concatenate([m[name] for m in accepted]) for name in accepted[0]}
    print(f"| honest files | comparisons | stopped |\n|{'---|' * 3}")
    for kind, pairs in honest(year, months):
        stopped = [found for references, file in pairs if (found := drift.judge(references, file))]
        print(f"| {kind} | {len(pairs):,} | {len(stopped)} |", flush=True)
        for found in stopped[:3]:
            print("   !", found[0])
    print(f"| penguins, every season beside every other | 6 | {seasons()} |")
    print(f"\n| mistake on February | beside January | beside the other 11 |\n|{'---|' * 3}")
    for name, change in mistakes().items():
        rows = change(raw[1].copy())
        alone, others = verdict(months[:1], rows), verdict([*months[:1], *months[2:]], rows)
        print(f"| {name} | {alone} | {others} |", flush=True)
    print(
        "\n| numbers beside as many others, of 200 draws stopped | " + " | ".join(f"{n:,} rows" for n in SIZES) + " |"
    )
    print("|---" * (1 + len(SIZES)) + "|")
    for name, counts in synthetic():
        print(f"| {name} | " + " | ".join(map(str, counts)) + " |")


def seasons() -> int:
    """How many honest seasons of penguins are stopped."""
    import importlib.util

    found = importlib.util.find_spec("palmerpenguins")
    rows = pd.read_csv(Path(str(found.origin if found else "")).parent / "data" / "penguins-raw.csv")
    parts = [profiled(penguin_problem.problem, season) for _, season in rows.groupby("studyName")]
    return sum(bool(drift.judge([a], b)) for a in parts for b in parts if a is not b)


if __name__ == "__main__":
    main()
