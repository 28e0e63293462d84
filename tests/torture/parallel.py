# SPDX-License-Identifier: Apache-2.0
"""Proof 3: rounds of parallel uploads, several to the same names, through the local Eventarc and the function.

No update is lost when every generation that storage gave has exactly one receipt with one outcome, and the newest
generation of every name is what is trained on.
"""

from __future__ import annotations

import random
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

from deliveries import doubled, miscounted, put, small_files, trainings, wait_for_outcomes, wait_for_quiet, wild_cloud
from worlds import Figure

from dropfit import settings, storage
from dropfit.receipts import Receipts, UploadedObject
from dropfit.registry import Registry
from dropfit.runs import latest
from dropfit.storage import Buckets
from localcloud.cloud import LocalCloud

NAME = "parallel"
ABREAST = 32

__all__ = ["ABREAST", "NAME", "run", "wild_cloud"]


def run(
    cloud: LocalCloud, count: int, seed: int, tick: Callable[[int], None] = lambda done: None, abreast: int = ABREAST
) -> Figure:
    """Upload in rounds.

    Args:
        cloud: from `wild_cloud`.
        count: how many rounds.
        seed: of files and names.
        tick: told how many rounds are over.
        abreast: uploads at a time; a quarter of them overwrite each other or files of earlier rounds.
    """
    buckets = storage.connect(settings.load(cloud.env))
    dice, begun, uploads = random.Random(seed), time.monotonic(), []  # noqa: S311
    contents = list(small_files(count * abreast, dice).values())
    for turn in range(count):
        names = [f"round-{turn}-{n}.csv" for n in range(abreast - abreast // 4)]
        names += [f"again-{dice.randrange(4)}.csv" for _ in range(abreast // 4)]
        files = zip(names, contents[turn * abreast : (turn + 1) * abreast], strict=True)
        with ThreadPoolExecutor(abreast) as pool:
            uploads += pool.map(lambda file: put(buckets, *file), files)
        wait_for_outcomes(buckets, uploads)
        tick(turn + 1)
    wait_for_quiet(cloud, buckets)
    return figure(buckets, uploads, count, seed, time.monotonic() - begun)


def forgotten(buckets: Buckets, uploads: list[UploadedObject]) -> list[str]:
    """Names whose live generation the served version was not trained on.

    The live one, and not the largest: of two overwrites at the same moment the emulator may keep the one to which it
    gave the smaller generation, as Cloud Storage does not.
    """
    pointer = Registry(buckets.models).current().pointer
    if pointer is None:
        return ["nothing is served"]
    inputs = {(i.object, i.generation) for i in Registry(buckets.models).manifest(pointer.version).inputs}
    ours = {upload.name for upload in uploads}
    live = {(stored.name, stored.generation) for stored in buckets.landing.list() if stored.name in ours}
    return [f"{name} of {generation} is not in {pointer.version}" for name, generation in sorted(live - inputs)]


def figure(buckets: Buckets, uploads: list[UploadedObject], count: int, seed: int, seconds: float) -> Figure:
    """The numbers, and a sentence."""
    receipts, runs = Receipts(buckets.data).all(), latest(buckets.data, 100_000)
    states, fits = Counter(r.state for r in receipts), trainings(runs)
    last_kept = fits and any(run.version == fits[-1][0] and run.outcome == "kept" for run in runs)
    lost = miscounted(uploads, receipts) + ([] if last_kept else forgotten(buckets, uploads))
    twice = doubled(fits)
    same = len(uploads) - len({u.name for u in uploads})
    numbers = {"rounds": count, "uploads": len(uploads), "overwrites": same, "lost": len(lost), "double": len(twice)}
    sentence = (
        f"{count} rounds of {len(uploads) // max(1, count)} parallel uploads ({same} overwrote another): {len(lost)} "
        f"lost updates, {len(twice)} double trainings; {len(receipts)} receipts with one outcome each "
        f"({', '.join(f'{n} {state}' for state, n in states.most_common())}), {len(fits)} trainings, {seconds:.0f} s"
    )
    replay = f"replay with `python tests/torture parallel --count {count} --seed {seed}`"
    failures = tuple(f"{what}: {replay}" for what in (*lost, *twice))
    return Figure(NAME, sentence, not failures, seed, numbers | {"trainings": len(fits)}, failures)
