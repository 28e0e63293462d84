# SPDX-License-Identifier: Apache-2.0
"""Thousands of seeded histories of a deployment in memory, each checked against written invariants (invariants.py).

A history is a list of operations that a seed gives: what people do (upload, overwrite, delete, order, roll back ...),
what delivery does (duplicate, reorder, drop), what machines do (die, hang, lose an answer, have a wrong clock). An
operation may happen inside a process, at one of its calls to storage or BigQuery. A history that breaks an invariant
is replayed from its seed, and cut down to the fewest operations that still break it:

    .venv/bin/python tests/torture/histories.py 42        the history of seed 42
    .venv/bin/python tests/torture/histories.py 0 2000    2,000 of them, from seed 0
"""

from __future__ import annotations

import logging
import random
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import msgspec

if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).parents[1] / "unit"))

from happenings import ACTS, DISTURBANCES, DISTURBING, MEANWHILE, WEIGHTS, Op
from invariants import ENDS
from processes import Interruption, Process, Violation
from stage import staged
from world import World

NAMES = ("a.csv", "b.csv", "c.csv")
LAST = -1
"""The event or version that came last."""
LONGEST = 90
"""Calls of a whole job, about: an interruption falls on one of them."""


class History(NamedTuple):
    """What a seed gives: the deployment's settings, and what happens to it."""

    seed: int
    changes: dict[str, Any]
    ops: tuple[Op, ...]


class Told(NamedTuple):
    """How a history ended.

    Attributes:
        violation: which invariant broke, empty when none did.
        calls: calls that processes made.
        trainings: fits that were begun.
        moves: writes of the pointer.
        log: every write, in order.
    """

    violation: str
    jobs: int
    crashes: int
    trainings: int
    moves: int
    log: list[str]


def history(seed: int) -> History:
    """The history of a seed."""
    chance = random.Random(seed)  # noqa: S311 (a history, not a secret)
    changes: dict[str, Any] = {"keep_versions": 2, "gc_grace_seconds": 600.0}
    if chance.random() < 0.1:
        changes["training"] = "static"
    if chance.random() < 0.2:
        changes["publish"] = "hold"
    ops: list[Op] = []
    if chance.random() < 0.7:  # most deployments serve something
        for name in NAMES[: chance.randint(1, 3)]:
            ops += [Op("upload", f"{name} good"), Op("deliver", count=LAST), Op("job")]
    for _ in range(chance.randint(6, 24)):
        if chance.random() < 0.1:
            ops += _broken_off(chance)
        if chance.random() < 0.4:
            ops += _inside(chance)
        ops += _arrival(chance) if chance.random() < 0.4 else [_plain(chance, WEIGHTS)]
    return History(seed, changes, tuple(ops))


def _arrival(chance: random.Random) -> list[Op]:
    """The usual: a file, its event, its job."""
    return [_plain(chance, {"upload": 1}), Op("deliver", count=LAST), Op("job")]


def _broken_off(chance: random.Random) -> list[Op]:
    """A job does not come to its end, people decide something, and then another takes it up."""
    broken = Op(_pick(chance, DISTURBING), count=1, inside="job", at=chance.randint(15, LONGEST))
    decided = [_plain(chance, {"rollback": 6, "pin": 1, "unpin": 1, "approve": 1, "gc": 1}) for _ in range(2)]
    return [broken, *_arrival(chance), *decided, Op("wait", count=3600), Op("sweep"), Op("job")]


def _pick(chance: random.Random, weights: dict[str, int]) -> str:
    return chance.choices(list(weights), list(weights.values()))[0]


def _plain(chance: random.Random, weights: dict[str, int]) -> Op:
    what = _pick(chance, weights)
    name = chance.choice(NAMES)
    if what == "upload":
        kinds = {"good": 60, "weak": 14, "hollow": 5, "lethal": 3, "bad": 6, "odd": 8, "poison": 3}
        return Op(what, f"{name} {_pick(chance, kinds)}")
    if what == "delete":
        return Op(what, name)
    if what in ("order", "replay"):
        return Op(what, name if chance.random() < 0.4 else "")
    if what in ("rollback", "pin", "approve"):
        return Op(what, "named" if chance.random() < 0.4 else "", chance.choice((LAST, LAST, *range(6))))
    if what == "deliver":
        return Op(what, "again" if chance.random() < 0.25 else "", chance.randrange(5))
    if what == "wait":
        return Op(what, count=chance.choice((1, 31, 61, 300, 3600)))
    if what == "skew":
        return Op(what, count=chance.choice((-600, -45, 0, 0, 45, 600)))
    return Op(what, count=chance.randrange(5))


def _inside(chance: random.Random) -> list[Op]:
    """What happens inside a process, mostly a job: something else meanwhile, a disturbance, or both at once."""
    inside = chance.choices(("job", "function", "sweep", "person"), (14, 3, 2, 2))[0]
    at = chance.randint(1, chance.choice((15, 40, LONGEST)) if inside == "job" else 8)
    ops = []
    if inside == "job" and chance.random() < 0.5:
        ops += _arrival(chance) if chance.random() < 0.4 else [_plain(chance, MEANWHILE)]
    if not ops or chance.random() < 0.3:
        what = _pick(chance, DISTURBING if inside == "job" else {"crash": 3, "fault": 2})
        ops.append(Op(what, count=chance.choice((61, 200)) if what == "hang" else chance.choice((1, 1, 2, 8))))
    after = chance.random() < 0.5
    return [op._replace(inside=inside, at=at, after=after) for op in ops]


def play(told: History) -> Told:
    """Let it happen, let the world come to rest, and check what must hold."""
    world = World(**told.changes)
    violation = ""
    with world.time():
        try:
            for op in told.ops:
                _do(world, op)
            world.settle()
            for invariant in ENDS:
                invariant(world.watch)
        except Violation as broken:
            violation = str(broken)
    trainings = sum(map(len, world.watch.fits.values()))
    return Told(violation, world.jobs, world.crashes, trainings, len(world.watch.moves), world.log)


def _do(world: World, op: Op) -> None:
    if not op.inside:
        ACTS[op.what](world, op)
        return

    def act(process: Process) -> None:
        if op.what in DISTURBANCES:
            DISTURBANCES[op.what](process, op)
        else:
            ACTS[op.what](world, op)

    world.armed[op.inside].append(Interruption(op.at, op.after, act))


def shrink(told: History) -> History:
    """The same kind of failure with fewer operations: chunks are left out as long as it still breaks."""
    size = max(1, len(told.ops) // 2)
    while size:
        start = 0
        while start < len(told.ops):
            shorter = told._replace(ops=told.ops[:start] + told.ops[start + size :])
            if play(shorter).violation:
                told = shorter
            else:
                start += size
        size //= 2
    return told


def report(told: History) -> str:
    """A broken history for people: the invariant, and the fewest operations that break it."""
    shortest = shrink(told)
    lines = [f"seed {told.seed}, {told.changes or 'usual settings'}: {play(shortest).violation}"]
    return "\n".join(lines + [f"  {number}. {op}" for number, op in enumerate(shortest.ops, 1)])


class Figure(msgspec.Struct, frozen=True, kw_only=True):
    """What a number of histories showed.

    Attributes:
        histories: how many were played.
        seed: of the first; the others follow.
        operations: in all of them.
        jobs: that ran.
        crashes: processes that were killed, terminated or got no answer.
        trainings: fits that were begun.
        moves: writes of the pointer.
        violations: each with its shortest history.
        seconds: it took.
    """

    histories: int
    seed: int
    operations: int
    jobs: int
    crashes: int
    trainings: int
    moves: int
    violations: tuple[str, ...]
    seconds: float

    @property
    def ok(self) -> bool:
        """Whether every invariant held."""
        return not self.violations

    @property
    def sentence(self) -> str:
        """The figure, for people."""
        return (
            f"{self.histories:,} histories from seed {self.seed} ({self.operations:,} operations, {self.jobs:,} "
            f"jobs, {self.crashes:,} crashes and faults, {self.trainings:,} trainings, {self.moves:,} writes of the "
            f"pointer): {len(self.violations)} violations in {self.seconds:.0f} s"
        )


def run(count: int, seed: int, most: int = 5) -> Figure:
    """Play histories.

    Args:
        count: how many.
        seed: of the first.
        most: stop after so many violations.
    """
    begun = time.monotonic()
    ended: list[Told] = []
    violations: list[str] = []
    operations = 0
    quiet = logging.root.manager.disable
    logging.disable(logging.CRITICAL)
    try:
        with staged():
            for number in range(seed, seed + count):
                told = history(number)
                operations += len(told.ops)
                ended.append(play(told))
                if ended[-1].violation:
                    violations.append(report(told))
                if len(violations) >= most:
                    break
    finally:
        logging.disable(quiet)
    return Figure(
        histories=len(ended),
        seed=seed,
        operations=operations,
        jobs=sum(t.jobs for t in ended),
        crashes=sum(t.crashes for t in ended),
        trainings=sum(t.trainings for t in ended),
        moves=sum(t.moves for t in ended),
        violations=tuple(violations),
        seconds=time.monotonic() - begun,
    )


def main(arguments: Sequence[str]) -> int:
    """`histories.py SEED [COUNT]`."""
    figure = run(int(arguments[1]) if len(arguments) > 1 else 1, int(arguments[0]))
    print("\n\n".join((*figure.violations, figure.sentence)))
    return not figure.ok


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
