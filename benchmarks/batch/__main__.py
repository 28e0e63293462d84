# SPDX-License-Identifier: Apache-2.0
"""Everything in its order: one model, one file, rounds of contenders, growth, an upload's way, and the tables."""

from __future__ import annotations

import argparse
import contextlib
import multiprocessing
import signal
import sys
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict
from pathlib import Path

from rich.console import Console

from dropfit.errors import DropfitError
from dropfit.text import plain

from ..machine import interrupt, machine
from . import endtoend, report
from .contest import CONTENDERS, DROPFIT, Contender, ContestError, measure
from .prepare import Prepared, prepare
from .results import Results

PARTS = ("rounds", "growth", "endtoend")
MONTHS = (1, 2)


def options(arguments: list[str]) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.batch", description=__doc__)
    parser.add_argument("--only", nargs="+", choices=PARTS, default=PARTS, help="measure these parts alone")
    parser.add_argument("--rows", type=int, default=10_000_000, help="of the file (10000000)")
    parser.add_argument("--rounds", type=int, default=3, help="interleaved rounds of the quick ones (3)")
    parser.add_argument("--slow-rounds", type=int, default=1, help="of them with each of the slow ones (1)")
    parser.add_argument("--contenders", nargs="+", default=[""], help="those whose names hold one of these words")
    parser.add_argument("--keep", type=Path, help="keep model, files and logs in this folder")
    parser.add_argument("--json", type=Path, help="also write everything to this file")
    return parser.parse_args(arguments)


def turns(contenders: list[Contender], rounds: int, slow: int) -> list[list[Contender]]:
    """Who is measured in which round: the quick ones in all, the slow ones spread over them.

    Each round begins with another of the quick ones; a slow one comes right after Dropfit, whose rate it is compared
    with.
    """
    quick = [one for one in contenders if not one.slow]
    rare = [one for one in contenders if one.slow]
    plan = []
    for turn in range(rounds):
        start = turn % len(quick) if quick else 0
        order = [*quick[start:], *quick[:start]]
        mine = [one for place, one in enumerate(rare) if (turn - place) % rounds < slow]
        after = next((place + 1 for place, one in enumerate(order) if one.name == DROPFIT), 0)
        plan.append([*order[:after], *mine, *order[after:]])
    return plan


class Bench:
    """One run.

    Args:
        given: the command line.
        console: where progress is shown.
        folder: for files, logs and the local cloud.
    """

    def __init__(self, given: argparse.Namespace, console: Console, folder: Path) -> None:
        self.given = given
        self.folder = folder
        self.results = Results(given.rows, max(1, given.rows // 10), machine())
        self._console = console
        self._status = console.status("")
        self._began = time.monotonic()

    def tell(self, line: str) -> None:
        """One step begins."""
        line = f"[dim]{time.monotonic() - self._began:5.0f} s[/]  {plain(line)}"
        if self._console.is_terminal:
            self._status.update(line)
        else:
            self._console.print(line)

    def run(self) -> Results:
        """Measure what was asked for."""
        with self._status:
            if {"rounds", "growth"} & set(self.given.only):
                self._contest()
            if "endtoend" in self.given.only:
                self.results.uploads = endtoend.measure(self.folder / "home", MONTHS, self.tell)
        return self.results

    def _contest(self) -> None:
        taking_part = list(self._taking_part())
        sizes = [self.results.rows, self.results.small]
        sizes += [one.most for one in taking_part if 0 < one.most < self.results.rows]
        self.tell(f"a model of twelve months' flights, and a file of {self.results.rows:,} rows")
        self.results.prepared = asdict(apart(self.folder, sizes))
        for turn, order in enumerate(turns(taking_part, self.given.rounds, self.given.slow_rounds)):
            for one in order:
                if "growth" in self.given.only and one.name == DROPFIT:
                    self._measure(one, self.results.small, turn)
                if "rounds" in self.given.only or one.name == DROPFIT:
                    self._measure(one, min(one.most or self.results.rows, self.results.rows), turn)

    def _taking_part(self) -> list[Contender]:
        found = []
        for one in CONTENDERS:
            if not any(word.lower() in one.name.lower() for word in self.given.contenders):
                continue
            if lacking := one.missing():
                self.results.missing.append(f"{lacking}; it is left out")
            else:
                found.append(one)
        return found

    def _measure(self, one: Contender, rows: int, turn: int) -> None:
        self.tell(f"round {turn + 1} of {self.given.rounds}: {one.name}, {rows:,} rows")
        self.results.samples.append(measure(one, self.folder, rows, turn))


def apart(folder: Path, sizes: list[int]) -> Prepared:
    """The preparation in a process of its own."""
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as pool:
        return pool.submit(prepare, folder, sizes).result()


def main() -> int:
    """Measure and print; 1 when something failed."""
    given = options(sys.argv[1:])
    console = Console(highlight=False, width=None if sys.stdout.isatty() else 200)
    for caught in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(caught, interrupt)
    try:
        with contextlib.ExitStack() as stack:
            folder = given.keep or Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="dropfit-batch-")))
            folder.mkdir(parents=True, exist_ok=True)
            results = Bench(given, console, folder.absolute()).run()
    except KeyboardInterrupt:
        console.print("interrupted; all that was started is stopped")
        return 130
    except (DropfitError, ContestError) as error:
        console.print(f"[bold red]The benchmark failed:[/] {plain(str(error))}")
        return 1
    report.show(console, results)
    if given.json:
        report.write(given.json, results)
    return 0


if __name__ == "__main__":
    sys.exit(main())
