# SPDX-License-Identifier: Apache-2.0
"""Proof 1, second half: real runs, killed with SIGKILL inside each of their steps and in the seams between them.

In long steps the killer strikes at a random time after the run told that it had begun the step; in short ones it
kills itself at a random one of the step's HTTP calls. Only what truly hit inside counts: each miss halves the time
to the next blow, since a step measured on a busy machine looks longer than it is, and in the end the run kills itself
as it enters the step.
"""

from __future__ import annotations

import itertools
import random
import threading
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

import ordeal
from herd import Ended, Herd
from ordeal import Verdict
from worlds import AT_LEISURE, Figure, World, season_file

from dropfit.receipts import UploadedObject
from dropfit.runs import Run
from localcloud.cloud import LocalCloud

NAME = "kills"
LONG = ("ingest", "train", "export", "table")
SHORT = {"gate": 4, "promote": 5, "gap": 3}
"""Steps that are over in a few HTTP calls, of which one is chosen."""
SEAMS = ("launch", "after-2xx")
TARGETS = (*LONG, *SHORT, *SEAMS)
TRIES = 8
"""How often a kill may miss its step for each one that must hit."""
HALVINGS = 4
"""Misses in a row after which a run kills itself as it enters the step."""


class Targets:
    """What must still be hit, handed out to many worlds at once."""

    def __init__(self, each: int, targets: Sequence[str]) -> None:
        self._lock = threading.Lock()
        self._open = Counter({(scene, t): each // 2 + each % 2 for t in targets for scene in ("first", "over")})
        self._tries = Counter({key: n * TRIES for key, n in self._open.items()})
        self._misses: Counter[str] = Counter()

    def next(self, scene: str) -> tuple[str, int] | None:
        """A target for an upload of that kind, the one with most to do, and how often it was missed of late."""
        with self._lock:
            left = [(n, t) for (s, t), n in self._open.items() if s == scene and n > 0 and self._tries[s, t] > 0]
            if not left:
                return None
            target = max(left)[1]
            self._open[scene, target] -= 1
            self._tries[scene, target] -= 1
            return target, self._misses[target]

    def struck(self, scene: str, target: str, inside: bool) -> None:
        """What came of it; when it did not hit inside: once more."""
        with self._lock:
            self._misses[target] = 0 if inside else self._misses[target] + 1
            self._open[scene, target] += not inside


def run(
    cloud: LocalCloud,
    herd: Herd,
    count: int,
    seed: int,
    tick: Callable[[], None] = lambda: None,
    targets: Sequence[str] = TARGETS,
) -> Figure:
    """Kill runs.

    Args:
        cloud: where.
        herd: starts the runs.
        count: kills for each target, half of them on a first upload, half over a served version.
        seed: of files, times and calls. (When a step ends is the machine's affair: the same seed strikes the same
            moments, and what it finds there may differ.)
        tick: called after each that hit.
        targets: steps and seams.
    """
    seconds = length_of_steps(cloud, herd, seed)
    todo, found = Targets(count, targets), []

    def world_after_world(number: int) -> None:
        dice = random.Random(f"{seed} {number}")  # noqa: S311
        for turn in itertools.count():
            wanted = [todo.next("first"), todo.next("over")]
            if wanted == [None, None]:
                return
            world = World(cloud, herd)
            for scene, chosen in zip(("first", "over"), wanted, strict=True):
                if chosen is None:
                    _in_peace(world, dice)
                    continue
                verdict = _one(world, *chosen, seconds, dice)
                inside = hit(chosen[0], verdict)
                todo.struck(scene, chosen[0], inside)
                if inside:
                    tick()
                found.append((scene, chosen[0], f"world {number}.{turn}", verdict))

    broken = ordeal.abreast(world_after_world, range(ordeal.ABREAST))
    return figure(found, broken, seed, count, targets)


def _in_peace(world: World, dice: random.Random) -> None:
    """An upload and its run."""
    world.upload("a.csv", season_file("PAL0708", dice))
    world.job()


def _one(world: World, target: str, misses: int, seconds: dict[str, float], dice: random.Random) -> Verdict:
    """An upload, and a kill in the target."""
    before = world.served()
    put = world.put if target in SEAMS else world.upload
    uploaded = put("a.csv", season_file("PAL0708", dice))
    return ordeal.suffer(world, uploaded, before, lambda: strike(world, uploaded, target, misses, seconds, dice))


def strike(
    world: World, uploaded: UploadedObject, target: str, misses: int, seconds: dict[str, float], dice: random.Random
) -> Ended:
    """Start what is to be killed."""
    blow: dict[str, Any] = {"when": dice.choice(("before", "after")), "how": "kill"}
    if target == "launch":  # between its receipt and its launch, at the launch itself or at a call before it
        return world.event(uploaded, blow | dice.choice([{"step": "launch"}, {"call": dice.randrange(2, 6)}]))
    if target == "after-2xx":
        answered = world.event(uploaded)
        # The launch is lost as it is; or the job that it started is killed at once.
        return answered if dice.random() < 0.5 else world.job(blow | {"call": dice.randrange(4)})
    step = place(target, seconds)
    if target in SHORT:
        return world.job(blow | {"step": step, "call": dice.randrange(SHORT[target])})
    if misses >= HALVINGS:
        return world.job({"enters": step})
    delay = dice.uniform(0.0, seconds[target]) / 2**misses
    return world.job(kill={"after": f"begin {step}", "delay": delay, "until": f"end {step}"})


def place(target: str, seconds: dict[str, float]) -> str:
    """The gate's place in a run that does not name its step."""
    return "judge" if target == "gate" and "gate" not in seconds else target


def hit(target: str, verdict: Verdict) -> bool:
    """Whether the kill struck inside the target."""
    ended = verdict.ended
    if target == "after-2xx":
        return "status 200" in ended.told or ended.status == -9
    if ended.status != -9:
        return False
    if target == "launch":
        posted = any(call.startswith("POST") for call in ended.calls)
        return posted and "end launch" not in ended.told
    if target == "promote":
        return "promote" in ended.places and "gap" not in ended.places
    return bool({target, "judge" if target == "gate" else target} & set(ended.places))


def length_of_steps(cloud: LocalCloud, herd: Herd, seed: int) -> dict[str, float]:
    """Seconds of each step, from two runs in peace."""
    world, dice = World(cloud, herd, **AT_LEISURE), random.Random(seed)  # noqa: S311
    for _ in range(2):
        _in_peace(world, dice)
    last: Run = world.runs()[-1]
    return {step.name: step.seconds or 0.0 for step in last.steps}


def figure(
    found: list[tuple[str, str, str, Verdict]], broken: list[str], seed: int, count: int, targets: Sequence[str]
) -> Figure:
    """The numbers, and a sentence."""
    struck = [(scene, target, v) for scene, target, _, v in found if hit(target, v)]
    by_target = Counter(target for _, target, _ in struck)
    killed = [v for _, _, v in struck if v.ended.status == -9]
    numbers = ordeal.count(v for _, _, v in struck)
    numbers |= {"kills": len(killed), "struck": len(struck), "first": sum(s == "first" for s, _, _ in struck)}
    numbers |= {f"in {target}": by_target[target] for target in targets}
    failures = [
        f"{what}: {scene} {target} in {where}; `python tests/torture kills --seed {seed}` strikes there again"
        for scene, target, where, verdict in found
        for what in (verdict.mixed, verdict.lost)
        if what
    ]
    missing = [f"only {by_target[t]} hit inside {t}" for t in targets if by_target[t] < count]
    sentence = (
        f"{len(killed)} runs killed with SIGKILL and {len(struck) - len(killed)} launches lost "
        f"({', '.join(f'{by_target[t]} {t}' for t in targets)}; {numbers['first']} on a first upload): "
        f"{numbers['mixed']} mixed states, {numbers['lost']} lost uploads; {numbers['expired']} leases truly ran out"
    )
    ok = not failures and not broken and not missing
    return Figure(NAME, sentence, ok, seed, dict(numbers), (*failures, *missing, *broken))
