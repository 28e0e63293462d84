# SPDX-License-Identifier: Apache-2.0
"""Every proof of reliability, each figure with its seed: `make torture`, or some of them by name.

.venv/bin/python tests/torture faults kills --seed 7
.venv/bin/python tests/torture faults --only over:17:before:exit
"""

from __future__ import annotations

import argparse
import contextlib
import importlib
import inspect
import os
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import places  # noqa: F401 (the tests' problems and fakes can be imported from here on)
from herd import Herd
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table
from worlds import OURS, Figure, World, clean_environment, quiet_cloud

from dropfit.receipts import Receipts
from dropfit.settings import DEFAULT_PROBLEM
from localcloud.cloud import LocalCloud

# Proof -> how much of it: points (0: all), kills for each step, uploads, rounds, histories, files, bytes, guards,
# sabotages (0: all), requests, connections of a kind, swaps, seconds.
PROOFS = {
    "faults": 0,
    "kills": 12,
    "deliveries": 1000,
    "parallel": 20,
    "histories": 2000,
    "corpus": 0,
    "flips": 1000,
    "guards": 0,
    "sabotage": 0,
    "fuzz": 20_000,
    "slow": 200,
    "swaps": 100,
    "deadline": 10,
}
SEED = 20130101


def main(arguments: list[str]) -> int:
    """Run the proofs that are asked for; 1 unless all is as it must be."""
    asked = parse(arguments)
    for variable in [variable for variable in os.environ if variable.startswith(OURS)]:
        del os.environ[variable]
    console, figures = Console(), []
    columns = (TextColumn("{task.description:<12}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=console) as progress:
        for name in asked.proofs or PROOFS:
            module = find(name)
            if module is None:
                console.print(f"[yellow]{name}: not in this clone[/]")
                continue
            begun = time.monotonic()
            count = PROOFS[name] if asked.count is None else asked.count
            try:
                figure = prove(module, name, count, asked, progress)
            except Exception as error:
                console.print_exception()
                figure = Figure(name, f"broke: {type(error).__name__}: {error}", False, asked.seed, {})
            figures.append((figure, time.monotonic() - begun))
            # At once: the table comes at the end, and where nobody looks there is no bar.
            console.print(f"{name}: {figure.sentence} (seed {figure.seed})", markup=False, soft_wrap=True)
            for failure in figure.failures:
                console.print(f"[red]{name}[/]: {failure}", markup=True, highlight=False, soft_wrap=True)
    console.print(table(figures))
    return 0 if figures and all(figure.ok for figure, _ in figures) else 1


def parse(arguments: list[str]) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python tests/torture", description=__doc__.splitlines()[0])
    parser.add_argument("proofs", nargs="*", metavar="PROOF", help="which; all when none is named")
    parser.add_argument("--seed", type=int, default=SEED)
    parser.add_argument("--count", type=int, help="how much of it")
    parser.add_argument(
        "--only", nargs="*", default=(), help="points of faults, or sabotages, as a failure names them"
    )
    asked = parser.parse_args(arguments)
    if unknown := set(asked.proofs) - set(PROOFS):
        parser.error(f"no proof is called {', '.join(sorted(unknown))}; there are {', '.join(PROOFS)}")
    return asked


def find(name: str) -> Any:
    """The module of a proof, or None."""
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name != name:
            raise
        return None


def prove(module: Any, name: str, count: int, asked: argparse.Namespace, progress: Progress) -> Figure:
    """One proof with what it needs: forked runs, a wild cloud, a deployment, or nothing."""
    bar = progress.add_task(name, total=None)

    def tick(done: int | None = None) -> None:
        progress.update(bar, completed=done) if done is not None else progress.advance(bar)

    needs = inspect.signature(module.run).parameters
    if "herd" in needs:
        only = {"only": [module.point(text) for text in asked.only]} if asked.only else {}
        with herded() as (cloud, herd):
            found = module.run(cloud, herd, count, asked.seed, tick, **only)
    elif "cloud" in needs:
        from deliveries import wild_cloud

        progress.update(bar, total=count or None)
        with wild_cloud(asked.seed) as cloud:
            found = module.run(cloud, count, asked.seed, tick)
    elif "served" in needs:
        found = with_flights(module, asked.seed)
    else:
        given = {"count": count, "seed": asked.seed, "artifact_bytes": count, "tick": tick, "only": tuple(asked.only)}
        found = module.run(**{name: value for name, value in given.items() if name in needs})
    progress.update(bar, total=1, completed=1)
    return of(found, name, asked.seed)


def of(found: Any, name: str, seed: int) -> Figure:
    """The figure of a proof, whatever else its own tells."""
    if isinstance(found, Figure):
        return found
    wrong = next(
        (getattr(found, field) for field in ("failures", "violations", "wrong") if hasattr(found, field)), ()
    )
    return Figure(name, getattr(found, "sentence", None) or str(found), found.ok, seed, {}, tuple(wrong))


@contextlib.contextmanager
def herded() -> Iterator[tuple[LocalCloud, Herd]]:
    """A quiet cloud, and a zygote whose runs can be killed."""
    with (
        quiet_cloud() as cloud,
        tempfile.TemporaryDirectory(prefix="dropfit-torture-") as folder,
        Herd(Path(folder), clean_environment()) as herd,
    ):
        yield cloud, herd


def with_flights(corpus: Any, seed: int) -> Any:
    """The corpus in a deployment that serves January's flights and from then on only records."""
    from localcloud import flights

    with herded() as (cloud, herd), tempfile.TemporaryDirectory() as folder:
        world = World(
            cloud,
            herd,
            DROPFIT_PROBLEM=DEFAULT_PROBLEM,
            DROPFIT_MAX_UNPACKED_BYTES=str(corpus.UNPACKED),
        )
        first = world.upload("flights-2013-01.csv", flights.months(Path(folder))[0].read_bytes())
        world.job()
        assert world.receipt(first).state == "promoted", world.tell()
        world.environ["DROPFIT_TRAINING"] = "static"
        return corpus.run(
            seed,
            lambda name, payload: Receipts(world.buckets.data).get(world.upload(name, payload).id),
            lambda: world.job(),
            lambda receipt: Receipts(world.buckets.data).get(receipt.id),
            lambda: (world.registry.current(), world.served()),
        )


def table(figures: list[tuple[Figure, float]]) -> Table:
    """Every figure with its seed."""
    found = Table("proof", "found", "seed", "seconds", "", show_lines=True)
    for figure, seconds in figures:
        verdict = "[green]ok[/]" if figure.ok else "[red]NOT AS IT MUST BE[/]"
        found.add_row(figure.name, figure.sentence, str(figure.seed), f"{seconds:.0f}", verdict)
    return found


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
