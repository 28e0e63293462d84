# SPDX-License-Identifier: Apache-2.0
"""Proof 1, first half: a run dies, or its call fails for good, at every call to storage and BigQuery in turn.

The calls of a real run are counted at the HTTP layer, through which both official clients speak. Then, for each of
them, a run ends exactly there, before the call was sent or after its answer came.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from typing import NamedTuple

import ordeal
from herd import Herd
from ordeal import Verdict
from worlds import AT_LEISURE, Figure, World, season_file
from zygote import DIED

from localcloud.cloud import LocalCloud

NAME = "faults"


class Point(NamedTuple):
    """Where a run ends: `first` upload or one over a served version; at which call; when; how."""

    scene: str
    call: int
    when: str
    how: str

    def __str__(self) -> str:
        return ":".join(map(str, self))


def point(text: str) -> Point:
    """A point as a failure names it: `over:17:before:exit`."""
    scene, call, when, how = text.split(":")
    return Point(scene, int(call), when, how)


def run(
    cloud: LocalCloud,
    herd: Herd,
    count: int,
    seed: int,
    tick: Callable[[], None] = lambda: None,
    only: Sequence[Point] = (),
) -> Figure:
    """Inject faults.

    Args:
        cloud: where.
        herd: starts the runs.
        count: how many points; 0 for all.
        seed: of which, and of the files.
        tick: called after each.
        only: these points and no others.
    """
    calls = calls_of_a_run(cloud, herd, seed)
    chosen = list(only) or choose(calls, count, random.Random(seed))  # noqa: S311
    found: dict[Point, Verdict] = {}

    def pair(points: tuple[Point | None, Point | None]) -> None:
        world, dice = World(cloud, herd), random.Random(f"{seed} {points}")  # noqa: S311
        for scene, at in zip(("first", "over"), points, strict=True):
            uploaded = world.upload("a.csv", season_file("PAL0708", dice))
            if at is None:
                world.job()
                continue
            before = world.served()
            plan = {"call": at.call, "when": at.when, "how": at.how}
            found[at] = ordeal.suffer(world, uploaded, before, lambda plan=plan: world.job(plan))  # type: ignore[misc]
            assert scene == at.scene
            tick()

    broken = ordeal.abreast(pair, pairs(chosen))
    return figure(found, broken, seed, max(calls.values()))


def calls_of_a_run(cloud: LocalCloud, herd: Herd, seed: int) -> dict[str, int]:
    """How many calls a run makes, on a first upload and over a served version."""
    world, dice = World(cloud, herd, **AT_LEISURE), random.Random(seed)  # noqa: S311
    calls = {}
    for scene in ("first", "over"):
        world.upload("a.csv", season_file("PAL0708", dice))
        ended = world.job()
        assert ended.status == 0, ended.log.read_text()[-2000:]
        calls[scene] = len(ended.calls)
    return calls


def choose(calls: dict[str, int], count: int, dice: random.Random) -> list[Point]:
    """Every call before and after, half of them on a first upload; and every second one failing instead of dying."""
    points = []
    for call in range(max(calls.values())):
        for turn, when in enumerate(("before", "after")):
            scene = ("first", "over")[(call + turn) % 2]
            if call < calls[scene]:
                points.append(Point(scene, call, when, "exit"))
        scene = ("first", "over")[call // 2 % 2]
        if call % 2 == 0 and call < calls[scene]:
            points.append(Point(scene, call, "before", "raise"))
    return sorted(dice.sample(points, count)) if 0 < count < len(points) else points


def pairs(points: Sequence[Point]) -> list[tuple[Point | None, Point | None]]:
    """Points that share a world: the upload that is the first one there, and the one that overwrites it."""
    first = [p for p in points if p.scene == "first"]
    over = [p for p in points if p.scene == "over"]
    longest = max(len(first), len(over))
    padded = [[*half, *[None] * (longest - len(half))] for half in (first, over)]
    return list(zip(*padded, strict=True))


def figure(found: dict[Point, Verdict], broken: list[str], seed: int, calls: int) -> Figure:
    """The numbers, and a sentence."""
    hit = {at: v for at, v in found.items() if "died" in v.ended.told}
    died = sum(v.ended.status == DIED for v in hit.values())
    numbers = ordeal.count(hit.values())
    numbers |= {"calls": calls, "points": len(hit), "died": died, "failed": len(hit) - died}
    failures = [
        f"{what}: replay with `python tests/torture faults --seed {seed} --only {at}`"
        for at, verdict in found.items()
        for what in (verdict.mixed, verdict.lost)
        if what
    ]
    ok = not failures and not broken and bool(hit)
    sentence = (
        f"{len(hit)} points in the {calls} storage and BigQuery calls of a run ({died} deaths, {len(hit) - died} "
        f"faults): {numbers['mixed']} mixed states, {numbers['lost']} lost uploads; "
        f"{numbers['expired']} leases truly ran out"
    )
    return Figure(NAME, sentence, ok, seed, dict(numbers), (*failures, *broken))
