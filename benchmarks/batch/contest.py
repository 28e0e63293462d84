# SPDX-License-Identifier: Apache-2.0
"""Who takes part, and how one of them is measured: a process tree watched from outside while it works."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from benchmarks.serving import tree

from . import agree
from .prepare import file_of

DROPFIT, THREADS, PROCESSES = "Dropfit", "bare loop, 2 threads", "bare loop, 2 processes"
PANDAS, PANDAS_2 = "pandas + sklearn", "pandas + sklearn, 2 OMP threads"
SPARK, IDIOM = "Spark mapInPandas", "RunInference"
BENCH_PYTHON = Path(".venv-bench/bin/python")
PAGE = os.sysconf("SC_PAGE_SIZE")
EVERY = 0.1
"""Seconds between two looks at the memory."""


class ContestError(Exception):
    """A contender failed."""


@dataclass(frozen=True)
class Contender:
    """One way to predict a file.

    Attributes:
        name: in the tables.
        module: in `contenders`, with its arguments.
        omp: OpenMP's threads.
        slow: whether it is measured in one round of the several.
        most: rows that it gets at most; 0 for all.
        spark: whether it runs in .venv-bench, and needs Java.
    """

    name: str
    module: tuple[str, ...]
    omp: int = 1
    slow: bool = False
    most: int = 0
    spark: bool = False

    def missing(self) -> str:
        """What it lacks here, empty when it can run."""
        if not self.spark:
            return ""
        if not (BENCH_PYTHON.parent.parent / "batch").exists():
            return f"{self.name} is not installed: `make bench-batch` makes .venv-bench"
        return "" if shutil.which("java") else f"{self.name} needs Java 17 or later"


CONTENDERS = (
    Contender(DROPFIT, ("dropfit",)),
    Contender(THREADS, ("bare", "threads")),
    Contender(PROCESSES, ("bare", "processes")),
    Contender(SPARK, ("spark",), slow=True, spark=True),
    Contender(PANDAS, ("pandas_sklearn",), slow=True),
    Contender(PANDAS_2, ("pandas_sklearn",), omp=2, slow=True),
    Contender(IDIOM, ("run_inference",), slow=True, most=20_000),
)


@dataclass(frozen=True)
class Sample:
    """One contender with one file.

    Attributes:
        contender: its name.
        rows: of the file.
        round: which.
        seconds: of work, by the contender's own clock.
        cpu: processor seconds of its process tree meanwhile.
        peak_mb: most resident memory of the tree meanwhile, what is shared counted in every process.
        start: seconds from the process's start until it was ready: imports, the JVM, a warm-up.
        largest: the largest difference from scikit-learn's own predictions in the rows that were compared.
    """

    contender: str
    rows: int
    round: int
    seconds: float
    cpu: float
    peak_mb: float
    start: float
    largest: float

    @property
    def rate(self) -> float:
        """Rows a second."""
        return self.rows / self.seconds


def measure(contender: Contender, folder: Path, rows: int, number: int) -> Sample:
    """Start it, wait until it is ready, give it the file, and compare what it wrote.

    Raises:
        ContestError: when it fails, or its predictions are others.
    """
    sink = folder / "out"
    shutil.rmtree(sink, ignore_errors=True)
    sink.mkdir()
    log = folder / "logs" / f"{contender.module[0]}-{rows}-{number}.log"
    log.parent.mkdir(exist_ok=True)
    began = time.perf_counter()
    with _running(contender, folder, log) as process:
        _answer(process, contender, log)
        start = time.perf_counter() - began
        with Watch(process.pid) as watch:
            _tell(process, {"source": str(file_of(folder, rows)), "sink": str(sink)})
            seconds = float(_answer(process, contender, log)["seconds"])
    try:
        largest = agree.check(folder, sink, rows)
    except ValueError as wrong:
        raise ContestError(f"{contender.name}: {wrong}") from wrong
    shutil.rmtree(sink)
    return Sample(contender.name, rows, number, seconds, watch.cpu, watch.peak / 1e6, start, largest)


@contextlib.contextmanager
def _running(contender: Contender, folder: Path, log: Path) -> Iterator[subprocess.Popen[str]]:
    python = str(BENCH_PYTHON) if contender.spark else sys.executable
    module, *more = contender.module
    command = [python, "-m", f"benchmarks.batch.contenders.{module}", str(folder), *more]
    with log.open("w") as errors:
        process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=errors, text=True, env=_environ(contender)
        )
    try:
        yield process
        assert process.stdin is not None
        process.stdin.close()
        process.wait(60)
    finally:
        if process.poll() is None:
            process.kill()
            process.wait()


def _environ(contender: Contender) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    kept |= {"OMP_NUM_THREADS": str(contender.omp), "PYTHONPATH": os.getcwd()}
    return kept | ({"PYSPARK_PYTHON": str(BENCH_PYTHON.absolute())} if contender.spark else {})


def _tell(process: subprocess.Popen[str], asked: Mapping[str, str]) -> None:
    assert process.stdin is not None
    process.stdin.write(json.dumps(asked) + "\n")
    process.stdin.flush()


def _answer(process: subprocess.Popen[str], contender: Contender, log: Path) -> dict[str, float]:
    assert process.stdout is not None
    line = process.stdout.readline()
    if not line:
        last = log.read_text(errors="replace").strip().splitlines()[-3:]
        raise ContestError(f"{contender.name} ended without an answer: {' '.join(last)}")
    answer: dict[str, float] = json.loads(line)
    return answer


class Watch:
    """Most memory and processor seconds of a process tree while it is watched.

    Args:
        root: the tree's first process.

    Attributes:
        peak: bytes.
        cpu: seconds.
    """

    def __init__(self, root: int) -> None:
        self.peak, self.cpu = 0, 0.0
        self._root = root
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def __enter__(self) -> Watch:
        self.peak, self._before = look(self._root, tree.stats())
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()
        memory, after = look(self._root, tree.stats())
        self.peak, self.cpu = max(self.peak, memory), (after - self._before) * tree.TICK

    def _watch(self) -> None:
        while not self._over.wait(EVERY):
            self.peak = max(self.peak, look(self._root, tree.stats())[0])


def look(root: int, stats: Mapping[int, str]) -> tuple[int, int]:
    """Resident bytes and clock ticks of a process tree, from every process's /proc/PID/stat."""
    family = tree.family(root, {pid: tree.parent(stat) for pid, stat in stats.items()})
    found = [stats[pid] for pid in family if pid in stats]
    return sum(resident(stat) for stat in found), sum(tree.cpu_ticks(stat) for stat in found)


def resident(stat: str) -> int:
    """Resident bytes of one process, from /proc/PID/stat."""
    return int(stat.rpartition(")")[2].split()[21]) * PAGE  # rss: field 24
