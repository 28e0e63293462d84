# SPDX-License-Identifier: Apache-2.0
"""The head of the table in SQLite, in LMDB and in Dropfit's own file: bytes, memory, and microseconds a look-up.

.venv/bin/uv pip install -p .venv/bin/python lmdb   # not one of Dropfit's own packages; left out when it is missing
.venv/bin/python -m benchmarks.snapshots --keys 10000000
.venv/bin/python -m benchmarks.snapshots --keys 10000000 --bound   # what it takes to choose 64 MiB of them

Each file is made and read in processes of its own, on /dev/shm, as on Cloud Run, where the disk is memory. All hold
the same keys and the same rows, and every reader gives a `Row`.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import random
import resource
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from dropfit import snapshot
from dropfit.records import Row, packed

Get = Callable[[str], Row | None]
NONE = "-"
FORMATS = {
    "nothing": "a process that imports the same and opens no file",
    "sqlite-1k": "SQLite, pages of 1 kB",
    "sqlite-4k": "SQLite, pages of 4 kB",
    "sqlite-4k-mmap": "the same, mmap_size",
    "lmdb": "LMDB",
    "head-4": "Dropfit, 4 keys a bucket",
    "head-8": "Dropfit, 8 keys a bucket",
}
MEBIBYTES = 1024 * 1024


def key_of(number: int) -> str:
    """A flight's key; 10,080,000 different ones."""
    rest, hour = divmod(number, 20)
    rest, weekday = divmod(rest, 7)
    rest, dest = divmod(rest, 60)
    carrier, origin = divmod(rest, 60)
    return f"{chr(65 + carrier % 26)}{carrier // 26 or 'A'}\tO{origin:02d}\tD{dest:02d}\t{weekday + 1}\t{hour + 4}"


def pairs(keys: int) -> Iterator[tuple[str, Row]]:
    """Keys in no order, each with a float32's value, as an ONNX model gives it."""
    for turn in range(keys):
        number = turn * 7_368_787 % keys  # a prime, so each number comes once
        yield key_of(number), Row((number * 2_654_435_761 % 2**24) / 2**24)


def build(form: str, path: Path, keys: int) -> None:
    """Write the file."""
    if form.startswith("sqlite"):
        database = sqlite3.connect(path)
        kilobytes = int(form.split("-")[1][:-1])
        database.execute(f"PRAGMA page_size = {1024 * kilobytes}")
        database.executescript("PRAGMA journal_mode = OFF; PRAGMA synchronous = OFF;")
        database.execute("CREATE TABLE head (key TEXT PRIMARY KEY, value, fired, probabilities) WITHOUT ROWID")
        ordered = sorted((key, row.value) for key, row in pairs(keys))
        database.executemany("INSERT INTO head (key, value) VALUES (?, ?)", ordered)
        database.commit()
        database.close()
    elif form == "lmdb":
        import lmdb

        size = 64 * keys + MEBIBYTES
        ordered = sorted((key.encode(), packed(row)) for key, row in pairs(keys))
        environment = lmdb.open(str(path), map_size=size, subdir=False, lock=False, sync=False)
        with environment, environment.begin(write=True) as writer:
            writer.cursor().putmulti(ordered, append=True)
    else:
        snapshot.KEYS_PER_BUCKET = int(form.split("-")[1])
        snapshot.write(path, pairs(keys), (), 2**32 - 1)


def opened(form: str, path: Path) -> Get:
    """The file's look-up, prepared."""
    if form == "nothing":
        return lambda _: None
    if form.startswith("sqlite"):
        database = sqlite3.connect(f"file:{path}?mode=ro&immutable=1", uri=True, isolation_level=None)
        if form.endswith("mmap"):
            database.execute(f"PRAGMA mmap_size = {2**32}")
        execute, query = database.cursor().execute, "SELECT value, fired, probabilities FROM head WHERE key = ?"

        def select(key: str) -> Row | None:
            found = execute(query, (key,)).fetchone()
            return found and Row(found[0], found[1] or (), found[2] or ())

        return select
    if form == "lmdb":
        import lmdb
        import msgspec

        environment = lmdb.open(str(path), readonly=True, subdir=False, lock=False, readahead=False)
        look, read = environment.begin(buffers=True).get, msgspec.msgpack.Decoder(Row).decode

        def get(key: str) -> Row | None:
            found = look(key.encode())
            return None if found is None else read(found)

        return get
    return snapshot.Snapshot(path).get


def memory(path: Path) -> tuple[int, int]:
    """Resident bytes: of the file's own pages (proportional set size), and of memory that no file is behind."""
    own = other = 0
    ours = False
    for line in Path("/proc/self/smaps").read_text().splitlines():
        name, *rest = line.split()
        if name == "Pss:" and ours:
            own += int(rest[0])
        elif name == "Anonymous:":
            other += int(rest[0])
        elif "-" in name:
            ours = line.endswith(path.name)
    return 1024 * own, 1024 * other


def loop(get: Get, keys: list[str]) -> float:
    """Microseconds of CPU a look-up, one after the other: the best of three rounds, each of other keys."""
    rounds = []
    for part in range(3):
        chosen = keys[part::3]
        began = time.process_time()
        for key in chosen:
            get(key)
        rounds.append(1e6 * (time.process_time() - began) / len(chosen))
    return min(rounds)


def cold(get: Get, keys: list[str]) -> float:
    """Median microseconds of a look-up after 4 MB of other memory were read, as a server does; the best of three."""
    other, medians = bytearray(4 * MEBIBYTES), []
    for part in range(3):
        spent = []
        for key in keys[part::3]:
            other.count(1)
            began = time.perf_counter_ns()
            get(key)
            spent.append(time.perf_counter_ns() - began)
        medians.append(sorted(spent)[len(spent) // 2] / 1000)
    return min(medians)


def measure(form: str, path: Path, keys: int) -> dict[str, float]:
    """Everything that is measured in a process that has opened the file just now."""
    chosen = random.Random(4)  # noqa: S311 - a seeded sample
    there = [key_of(chosen.randrange(keys)) for _ in range(100_000)]
    missing = [f"{key}5" for key in there]
    opened(form, path)("warm")  # the imports
    before = memory(path)
    began = time.perf_counter()
    get = opened(form, path)
    milliseconds = 1000 * (time.perf_counter() - began)
    after = memory(path)
    if form != "nothing":
        assert all(get(key) is not None for key in there[:1000])
        assert all(get(key) is None for key in missing[:1000])
    hit, miss = loop(get, there), loop(get, missing)
    read = memory(path)
    return {
        "open_ms": milliseconds,
        "hit": hit,
        "miss": miss,
        "cold_hit": cold(get, there[:900]),
        "cold_miss": cold(get, missing[:900]),
        "opening": after[1] - before[1],
        "beside": read[1],
        "own": read[0],
    }


def child(*arguments: str | int) -> Any:
    """What this module prints in a process of its own."""
    command = [sys.executable, "-m", "benchmarks.snapshots", *map(str, arguments)]
    return json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout)


def made(form: str, folder: Path, keys: int) -> tuple[str, str]:
    """Write a format's file where there is none: seconds, and whether two processes write the same bytes."""
    path, hashes = folder / form, set()
    for _ in range(2):
        child("--build", form, "--path", path.with_suffix(".small"), "--keys", keys // 100)
        hashes.add(hashlib.sha256(path.with_suffix(".small").read_bytes()).hexdigest())
        path.with_suffix(".small").unlink()
    seconds = NONE if path.exists() else f"{child('--build', form, '--path', path, '--keys', keys):.0f}"
    return seconds, "yes" if len(hashes) == 1 else "no"


def compare(keys: int, folder: Path, rounds: int) -> None:
    """Print one table. The rounds are interleaved, and of each figure the smallest counts."""
    forms = [form for form in FORMATS if form != "lmdb" or find_spec("lmdb")]
    files = {form: made(form, folder, keys) for form in forms if form != "nothing" and not form.endswith("mmap")}
    found: dict[str, dict[str, float]] = {}
    for _ in range(rounds):
        for form in forms:
            fresh = child("--measure", form, "--path", folder / form.removesuffix("-mmap"), "--keys", keys)
            found[form] = {name: min(value, found.get(form, fresh)[name]) for name, value in fresh.items()}
    table = Table(title=f"{keys:,} keys such as {key_of(4711)!r}, on {folder.parent}")
    headings = [
        "format",
        "bytes",
        "a key",
        "in 64 MiB",
        "build CPU s",
        "same bytes",
        "open ms",
        "hit CPU us",
        "miss CPU us",
    ]
    headings += ["cold hit us", "cold miss us", "opening adds MiB", "after 100,000 gets: beside the file MiB"]
    headings += ["the file's pages MiB", "file + own MiB"]
    for heading in headings:
        table.add_column(heading, justify="left" if heading == "format" else "right")
    for form in forms:
        size = 0 if form == "nothing" else (folder / form.removesuffix("-mmap")).stat().st_size
        table.add_row(*cells(form, size, keys, files.get(form, (NONE, NONE)), found[form], found["nothing"]))
    Console(width=220).print(table)


def cells(
    form: str, size: int, keys: int, file: tuple[str, str], found: dict[str, float], base: dict[str, float]
) -> list[str]:
    """A format's row of the table."""
    beside = found["beside"] - (base["beside"] if size else 0)
    sizes = [f"{size:,}", f"{size / keys:.1f}", f"{int(64 * MEBIBYTES / (size / keys)):,}"] if size else [NONE] * 3
    times = [f"{found[name]:.2f}" for name in ("open_ms", "hit", "miss", "cold_hit", "cold_miss")]
    memories = (found["opening"], beside, found["own"], size + beside)
    return [FORMATS[form], *sizes, *file, *times, *(f"{value / MEBIBYTES:.1f}" for value in memories)]


def bounded(keys: int, path: Path) -> str:
    """What it takes to write as many of the keys as 64 MiB hold."""
    began = time.process_time()
    written = snapshot.write(path, pairs(keys), (), 64 * MEBIBYTES)
    seconds, peak = time.process_time() - began, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return f"{written}: {seconds:.1f} s of CPU, this process's peak {peak:.0f} MiB"


def main() -> None:
    """Print the table, or be one of the processes that it is made of."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--keys", type=int, default=1_000_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument(
        "--bound", action="store_true", help="only write what fits in 64 MiB, and say what that takes"
    )
    parser.add_argument("--folder", type=Path, help="keep the files there; those that are there are not made again")
    parser.add_argument("--build", choices=FORMATS, help=argparse.SUPPRESS)
    parser.add_argument("--measure", choices=FORMATS, help=argparse.SUPPRESS)
    parser.add_argument("--path", type=Path, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.build:
        begun = time.process_time()
        build(given.build, given.path, given.keys)
        print(json.dumps(time.process_time() - begun))
    elif given.measure:
        print(json.dumps(measure(given.measure, given.path, given.keys)))
    elif given.folder:
        compare(given.keys, given.folder, given.rounds)
    else:
        where = "/dev/shm" if Path("/dev/shm").is_dir() else None  # noqa: S108 - memory, as on Cloud Run
        with tempfile.TemporaryDirectory(dir=where) as folder:
            if given.bound:
                print(bounded(given.keys, Path(folder) / "bounded"))
                return
            compare(given.keys, Path(folder), given.rounds)


if __name__ == "__main__":
    main()
