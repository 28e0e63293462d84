# SPDX-License-Identifier: Apache-2.0
"""Everything in its order: one model, servers that agree, rounds, waits, starts, swaps, and the table."""

from __future__ import annotations

import argparse
import contextlib
import multiprocessing
import os
import signal
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import msgspec
from rich.console import Console

from dropfit.errors import DropfitError
from dropfit.text import plain
from localcloud.cloud import LocalCloud

from ..machine import interrupt, machine
from . import agree, bodies, latency, load, report, rounds, starts
from .prepare import Prepared, prepare
from .servers import (
    BY_NAME,
    ECHO,
    HYBRID,
    MODEL,
    NUMPY,
    PANDAS,
    SPECS,
    TABLE,
    Server,
    ServerError,
    Spec,
    base_environment,
    running,
)
from .targets import SWAPS, Results

PARTS = ("rounds", "latency", "starts", "imports", "swaps")
WAITED = (ECHO, MODEL, TABLE)
LATENCY_ROUNDS, LATENCY_SECONDS = 5, 4.0


def options(arguments: list[str]) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.serving", description=__doc__)
    parser.add_argument("--only", nargs="+", choices=PARTS, default=PARTS, help="measure these parts alone")
    parser.add_argument("--rounds", type=int, default=5, help="interleaved rounds (5)")
    parser.add_argument("--seconds", type=int, default=2, help="of load for each server and size in a round (2)")
    parser.add_argument("--starts", type=int, default=5, help="starts of each server (5)")
    parser.add_argument("--servers", nargs="+", default=[""], help="those alone whose names hold one of these words")
    parser.add_argument("--keep", type=Path, help="keep the trained model in this folder, or use the one kept there")
    parser.add_argument("--json", type=Path, help="also write everything to this file")
    return parser.parse_args(arguments)


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
        self.results = Results(machine=machine())
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
        home = self.folder / "home"
        with self._status:
            prepared = self._prepared(home, self.folder / "prepared.json")
            with LocalCloud(home, services=("storage",)) as cloud:  # nothing else runs beside the measuring
                os.environ.update(cloud.env)
                self._measure(prepared, base_environment(cloud.env))
        return self.results

    def _prepared(self, home: Path, kept: Path) -> Prepared:
        if not kept.exists():
            self.tell("a local cloud learns January's and February's flights")
            with LocalCloud(home) as cloud:
                kept.write_bytes(msgspec.json.encode(apart(cloud.env, self.folder)))
        return msgspec.json.decode(kept.read_bytes(), type=Prepared)

    def _measure(self, prepared: Prepared, environ: Mapping[str, str]) -> None:
        files, only = self._write_bodies(prepared), self.given.only
        if "rounds" in only or "latency" in only:
            with contextlib.ExitStack() as stack:
                self._side_by_side(list(self._started(stack, prepared, environ)), prepared, files)
        asked = {spec.name: self._requests(spec, prepared, 1) for spec in SPECS}
        if "starts" in only:
            alone = [BY_NAME[name] for name in (HYBRID, PANDAS, NUMPY)]
            self.results.starts = starts.starts(alone, environ, self.folder, asked, self.given.starts, self.tell)
        if "imports" in only:
            self.tell("what a prediction imports")
            self.results.imports = starts.imports(BY_NAME[HYBRID], environ, self.folder, asked[HYBRID][0])
        if "swaps" in only:
            with running(BY_NAME[HYBRID], environ, self.folder, latency.SWAP_SETTINGS) as server:
                server.await_answer(asked[HYBRID][0])
                file = self._one(BY_NAME[MODEL], prepared)
                self.results.swaps = latency.swaps(server, file, prepared, SWAPS, self.tell)

    def _side_by_side(self, servers: list[Server], prepared: Prepared, files: Mapping[tuple[str, int], Path]) -> None:
        """What is measured while all servers run, one at a time under load."""
        given, results = self.given, self.results
        if "rounds" in given.only:
            results.samples = rounds.measure(servers, files, bodies.SIZES, given.rounds, given.seconds, self.tell)
        if "latency" in given.only:
            some = [server for server in servers if server.spec.name in WAITED]
            ones = {server.spec.name: self._one(server.spec, prepared) for server in some}
            results.waits = latency.waits(some, ones, LATENCY_ROUNDS, LATENCY_SECONDS, self.tell)

    def _started(
        self, stack: contextlib.ExitStack, prepared: Prepared, environ: Mapping[str, str]
    ) -> Iterator[Server]:
        """Every server that is installed, answering as the others do."""
        for spec in SPECS:
            if not any(word.lower() in spec.name.lower() for word in self.given.servers):
                continue
            if "rounds" not in self.given.only and spec.name not in WAITED:
                continue
            if spec.needs is not None and not spec.needs.exists():
                self.results.missing.append(f"{spec.name} is not installed: `make bench-serving` makes .venv-bench")
                continue
            self.tell(f"starting {spec.name}")
            server = stack.enter_context(running(spec, environ, self.folder))
            server.await_answer(self._requests(spec, prepared, 1)[0])
            agreement = agree.check(server, prepared)
            self.results.agreements.append(agreement)
            if agreement.complaint:
                self._console.print(f"[yellow]{plain(spec.name)}: {plain(agreement.complaint)}[/]")
            yield server

    def _requests(self, spec: Spec, prepared: Prepared, size: int) -> list[bytes]:
        kind = bodies.kind(spec.mix, size)
        pairs = zip(prepared.requests[kind], prepared.matrices[kind], strict=True)
        return [bodies.body(spec.form, instances, matrix) for instances, matrix in pairs]

    def _write_bodies(self, prepared: Prepared) -> dict[tuple[str, int], Path]:
        files = {}
        for spec in SPECS:
            for size in bodies.SIZES:
                file = self.folder / f"{spec.form}-{spec.mix}-{size}.txt"
                file.write_bytes(b"\n".join(self._requests(spec, prepared, size)) + b"\n")
                files[spec.name, size] = file
        return files

    def _one(self, spec: Spec, prepared: Prepared) -> Path:
        file = self.folder / f"{spec.form}-{spec.mix}.json"
        file.write_bytes(self._requests(spec, prepared, 1)[0])
        return file


def apart(environ: Mapping[str, str], folder: Path) -> Prepared:
    """The preparation in a process of its own."""
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as pool:
        return pool.submit(prepare, dict(environ), folder).result()


def main() -> int:
    """Measure and print; 1 when something failed."""
    given = options(sys.argv[1:])
    console = Console(highlight=False, width=None if sys.stdout.isatty() else 200)
    if lacking := load.missing():
        console.print("\n".join(map(plain, lacking)))
        return 1
    for caught in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(caught, interrupt)
    try:
        with contextlib.ExitStack() as stack:
            folder = given.keep or Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="dropfit-bench-")))
            folder.mkdir(parents=True, exist_ok=True)
            results = Bench(given, console, folder.absolute()).run()
    except KeyboardInterrupt:
        console.print("interrupted; all that was started is stopped")
        return 130
    except (DropfitError, ServerError, load.LoadError) as error:
        console.print(f"[bold red]The benchmark failed:[/] {plain(str(error))}")
        return 1
    report.show(console, results)
    if given.json:
        report.write(given.json, results)
    return 0


if __name__ == "__main__":
    sys.exit(main())
