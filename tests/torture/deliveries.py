# SPDX-License-Identifier: Apache-2.0
"""Proof 2: many uploads, each delivered one to five times in no order, through the local Eventarc and the function.

Nothing here is simulated: the storage emulator notifies, the local Eventarc delivers, the function runs in its own
process, jobs are processes that it launches, and the sweeper looks after both.
"""

from __future__ import annotations

import contextlib
import os
import random
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from pathlib import Path

from worlds import AT_LEISURE, IMPATIENT, Figure, as_csv, clean_environment, seasons

from dropfit import lease, settings, storage
from dropfit.receipts import OPEN, PREFIX, Receipt, Receipts, UploadedObject
from dropfit.runs import Run, latest
from dropfit.storage import Buckets
from localcloud.cloud import Chaos, LocalCloud, Options, event_counts

NAME = "deliveries"
PATIENCE = 900.0


@contextlib.contextmanager
def wild_cloud(seed: int, copies: int = 5, delay: float = 1.0) -> Iterator[LocalCloud]:
    """A local cloud whose Eventarc delivers every event 1 to `copies` times, each up to `delay` seconds late."""
    options = Options(
        chaos=Chaos(seed=seed, copies=copies, delay=delay), concurrency=48, backoff_min=0.2, sweep_seconds=15.0
    )
    environ = clean_environment(**(IMPATIENT | AT_LEISURE), DROPFIT_PREDICT_URL="http://127.0.0.1:1")
    services = ("storage", "bigquery", "eventarc", "on_upload")
    with tempfile.TemporaryDirectory(prefix="dropfit-torture-") as home:
        cloud = LocalCloud(Path(home), environ=environ, services=services, eventarc=options)
        with cloud:
            os.environ.update(cloud.env)
            yield cloud


def run(cloud: LocalCloud, count: int, seed: int, tick: Callable[[int], None] = lambda done: None) -> Figure:
    """Upload and wait for every outcome.

    Args:
        cloud: from `wild_cloud`.
        count: how many uploads.
        seed: of the files; the cloud's chaos has its own.
        tick: told how many uploads have their outcome.
    """
    buckets = storage.connect(settings.load(cloud.env))
    begun = time.monotonic()
    files = small_files(count, random.Random(seed))  # noqa: S311
    with ThreadPoolExecutor(8) as pool:
        uploads = list(pool.map(lambda name: put(buckets, name, files[name]), files))
    wait_for_outcomes(buckets, uploads, tick)
    wait_for_quiet(cloud, buckets)
    return figure(cloud, buckets, uploads, seed, time.monotonic() - begun)


def put(buckets: Buckets, name: str, payload: bytes) -> UploadedObject:
    """Upload; the storage emulator tells Eventarc."""
    stored = buckets.landing.put(name, payload)
    return UploadedObject(stored.bucket, name, stored.generation)


def small_files(count: int, dice: random.Random) -> dict[str, bytes]:
    """Name -> a file of six real penguins, two of each species; no penguin is in two of them."""
    rows = [row for season in seasons().values() for row in season[1:]]
    header = next(iter(seasons().values()))[0]
    species, number = header.index("Species"), header.index("Sample Number")
    kinds = sorted({row[species] for row in rows})
    files = {}
    for n in range(count):
        chosen = [row for kind in kinds for row in dice.sample([r for r in rows if r[species] == kind], 2)]
        for place, row in enumerate(chosen):
            chosen[place] = [*row[:number], str(1000 + n * 10 + place), *row[number + 1 :]]
        files[f"penguins-{n:04}.csv"] = as_csv([header, *chosen])
    return files


def wait_for_outcomes(
    buckets: Buckets, uploads: list[UploadedObject], tick: Callable[[int], None] = lambda done: None
) -> None:
    """Until every upload has an outcome.

    Raises:
        AssertionError: when that does not come true.
    """
    wanted, deadline = {u.id for u in uploads}, time.monotonic() + PATIENCE
    while True:
        # By a listing, whose metadata tells the state: to read them all every second would be most of the load.
        listed = buckets.data.list(PREFIX)
        final = {s.name[len(PREFIX) : -len(".json")] for s in listed if s.metadata["state"] not in OPEN}
        done = len(final & wanted)
        tick(done)
        if done == len(wanted):
            return
        assert time.monotonic() < deadline, f"{done} of {len(wanted)} uploads have an outcome"
        time.sleep(1.0)


def wait_for_quiet(cloud: LocalCloud, buckets: Buckets) -> None:
    """Until no event is on its way and nobody works, so that a late duplicate would have done its harm."""
    deadline, quiet = time.monotonic() + 600, 0
    while quiet < 3:
        assert time.monotonic() < deadline, "the cloud does not come to rest"
        busy = (
            event_counts(cloud.home.root).pending or lease.read(buckets.data)[0] or Receipts(buckets.data).any_open()
        )
        quiet = 0 if busy else quiet + 1
        time.sleep(0.5)


def trainings(runs: list[Run]) -> list[tuple[str, float, float]]:
    """Version, begin and end in seconds since 1970 of each fit that the runs tell of."""
    found = []
    for run in runs:
        for step in run.steps:
            if step.name == "train" and "metrics" in step.detail:
                begin = step.started.timestamp()
                found.append((run.version, begin, begin + (step.seconds or 0.0)))
    return sorted(found, key=lambda fit: fit[1])


def doubled(fits: list[tuple[str, float, float]]) -> list[str]:
    """Trainings that should not be: a version fitted twice, or two fits at the same time."""
    times = Counter(version for version, _, _ in fits)
    again = [f"{version} was fitted {n} times" for version, n in times.items() if n > 1]
    overlapping = [f"{b[0]} was fitted while {a[0]} was" for a, b in pairwise(fits) if b[1] < a[2]]
    return again + overlapping


def miscounted(uploads: list[UploadedObject], receipts: list[Receipt]) -> list[str]:
    """Uploads without exactly one receipt with an outcome, and receipts of nothing."""
    by_object = Counter((r.object.name, r.object.generation) for r in receipts if not r.is_open)
    wanted = {(u.name, u.generation) for u in uploads}
    wrong = [f"{name} of {generation}: {by_object[name, generation]} outcomes" for name, generation in wanted]
    wrong = [w for w, key in zip(wrong, wanted, strict=True) if by_object[key] != 1]
    return wrong + [f"a receipt of {key}, which nobody uploaded" for key in set(by_object) - wanted]


def figure(cloud: LocalCloud, buckets: Buckets, uploads: list[UploadedObject], seed: int, seconds: float) -> Figure:
    """The numbers, and a sentence."""
    receipts, runs = Receipts(buckets.data).all(), latest(buckets.data, 100_000)
    fits, states = trainings(runs), Counter(r.state for r in receipts)
    wrong, twice = miscounted(uploads, receipts), doubled(fits)
    delivered = posts(cloud)
    jobs = len(list(cloud.home.logs.glob("retrain-*.log")))
    numbers = {
        "uploads": len(uploads),
        "deliveries": delivered,
        "outcomes": sum(1 for r in receipts if not r.is_open),
        "double": len(twice),
        "trainings": len(fits),
        "jobs": jobs,
        "seconds": round(seconds),
        **states,
    }
    ok = not wrong and not twice and numbers["outcomes"] == len(uploads) and delivered >= len(uploads)
    sentence = (
        f"{len(uploads):,} uploads in {delivered:,} deliveries: {numbers['outcomes']:,} outcomes "
        f"({', '.join(f'{n:,} {state}' for state, n in states.most_common())}), {len(twice)} double trainings; "
        f"{len(fits)} trainings in {len(runs)} rounds, {jobs} jobs launched, {seconds:.0f} s"
    )
    replay = f"replay with `python tests/torture deliveries --count {len(uploads)} --seed {seed}`"
    return Figure(NAME, sentence, ok, seed, numbers, tuple(f"{w}: {replay}" for w in (*wrong, *twice)))


def posts(cloud: LocalCloud) -> int:
    """How many events the function was sent, as Eventarc's log tells."""
    return sum(log.read_text().count("copy of event") for log in cloud.home.logs.glob("eventarc*.log"))
