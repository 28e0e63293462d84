# SPDX-License-Identifier: Apache-2.0
"""The watch that checks the written invariants (invariants.py) at every write, and those of a write itself.

The watch looks at the world itself and not through any process, so it sees what a person with a console would.
"""

from __future__ import annotations

import collections
from collections.abc import Sequence
from typing import Any, NamedTuple

import msgspec
from invariants import MOMENTS, REFRESHED
from processes import Process, Violation
from world import World

from dropfit import lease
from dropfit.errors import ArtifactError
from dropfit.lease import Claim
from dropfit.pointer import CURRENT, Pointer
from dropfit.receipts import PREFIX, Receipt
from dropfit.registry import Registry

FILLED = ("table", "snapshot", "nonce")


class Moved(NamedTuple):
    """A write of the pointer: by whom, and when in the order of writes."""

    pointer: Pointer
    kind: str
    number: int


class Fit(NamedTuple):
    """A fit that was begun."""

    process: Process
    number: int


class Watch:
    """What has happened, as far as the invariants need it.

    Args:
        world: to be watched.
    """

    def __init__(self, world: World) -> None:
        self.world = world
        self.number = 0
        self.moves: list[Moved] = []
        self.tables_shown: list[str] = []
        self.begins: dict[str, int] = {}
        self.resumed: dict[str, int] = {}
        self._trainers: dict[str, Process] = {}
        self._ended: set[str] = set()
        self.inputs: dict[str, Sequence[Receipt]] = {}
        self.fits: dict[str, list[Fit]] = collections.defaultdict(list)
        self.accepted: dict[str, int] = {}
        self.holder: tuple[Process, Claim, float] | None = None
        self.registry: Any = Registry(world.models)  # type: ignore[arg-type]

    def written(self, process: Process, where: str, method: str, name: str) -> None:
        """Something was written: the invariants of every moment are checked."""
        self.number += 1
        if process.begins and method != "delete" and name.startswith(("attempts/", "versions/", "tables/")):
            self._first_write(process)
        if where == "landing":
            raise Violation(f"{process.name} wrote to the landing bucket: {method} {name}")
        if where == "data":
            if name.startswith(PREFIX):
                self._receipt_written(name)
            elif name == lease.NAME:
                nobody_else_holds_the_lease(self, process)
            return
        if name == CURRENT:
            self._pointer_written(process)
        for invariant in MOMENTS:
            invariant(self)

    def _receipt_written(self, name: str) -> None:
        receipt = msgspec.json.decode(self.world.data.read(name), type=Receipt)
        if receipt.accepted is not None:
            self.accepted.setdefault(receipt.id, self.number)

    def ended(self, process: Process) -> None:
        """A process came to its end in its own way: its trainings are over."""
        self._ended.update(v for v, by in self._trainers.items() if by is process)

    def asked_anew(self) -> None:
        """A person ordered a training: whatever is resumed from now on is theirs."""
        self._ended.update(self.begins)

    def _pointer_written(self, process: Process) -> None:
        pointer = self.registry.current().pointer
        before = self.moves[-1] if self.moves else None
        move = Moved(pointer, process.kind, self.number)
        self.moves.append(move)
        self.tables_shown.append(pointer.table)
        epochs_only_grow(before, move)
        if process.kind == "job" and before is not None and before.pointer.version == pointer.version:
            a_refresh_decides_nothing(before.pointer, pointer)
        elif process.kind == "job":
            nothing_is_published_behind_a_persons_back(self, move)
            a_training_undoes_no_persons_decision(self, move)
            nothing_is_promoted_whose_successor_was_known(self, pointer.version)

    def begun(self, process: Process, inputs: Sequence[Receipt]) -> None:
        """A training is to begin, for the first time or again; it has with the first that it writes of itself."""
        self.resumed[process.version] = self.number
        self.inputs[process.version] = inputs
        process.begins = True

    def _first_write(self, process: Process) -> None:
        process.begins = False
        if process.version not in self.begins or process.version in self._ended:
            self.begins[process.version] = self.number
            self._ended.discard(process.version)
        self._trainers[process.version] = process

    def fitted(self, process: Process) -> None:
        """A fit begins."""
        self.number += 1
        no_version_is_fitted_twice(self, process)
        self.fits[process.version].append(Fit(process, self.number))

    def moves_to(self, version: str) -> int:
        """How often the pointer was made to name a version."""
        return sum(move.pointer.version == version for move in self.moves)

    def pointer(self) -> Pointer | None:
        """What is served."""
        try:
            found: Pointer | None = self.registry.current().pointer
        except ArtifactError as error:
            raise Violation(f"the pointer is not readable: {error}") from error
        return found


def epochs_only_grow(before: Moved | None, move: Moved) -> None:
    """The pointer's epoch never shrinks, and a person's decision makes it grow."""
    last = before.pointer.epoch if before else 0
    if move.pointer.epoch < last or (move.kind == "person" and move.pointer.epoch == last):
        raise Violation(f"the epoch went from {last} to {move.pointer.epoch} by a {move.kind}")


def a_refresh_decides_nothing(before: Pointer, after: Pointer) -> None:
    """A refresh exchanges a version's table and its head for newer ones, and leaves the rest of the pointer alone."""
    same = {name: getattr(before, name) for name in before.__struct_fields__ if name not in FILLED}
    if REFRESHED not in after.table or same != {name: getattr(after, name) for name in same}:
        raise Violation(f"a job made {after} of {before}")


def nothing_is_published_behind_a_persons_back(watch: Watch, move: Moved) -> None:
    """With publish=hold no training moves the pointer, and never does one replace a pinned version."""
    if watch.world.settings.publish == "hold":
        raise Violation(f"{move.pointer.version} was promoted although publish=hold")
    if len(watch.moves) > 1 and watch.moves[-2].pointer.pinned:
        raise Violation(f"{move.pointer.version} replaced a pinned version")


def a_training_undoes_no_persons_decision(watch: Watch, move: Moved) -> None:
    """A training never replaces what a person chose after it began, also when it was broken off and resumed."""
    decisions = [m for m in watch.moves[:-1] if m.kind == "person"]
    if decisions and watch.begins[move.pointer.version] < decisions[-1].number:
        raise Violation(f"{move.pointer.version} began before a person chose {decisions[-1].pointer.version}")


def nothing_is_promoted_whose_successor_was_known(watch: Watch, version: str) -> None:
    """A generation is never trained on after its successor was accepted."""
    began = watch.resumed[version]
    for receipt in watch.inputs[version]:
        newer = [
            u.object.generation
            for id_, u in watch.world.uploads.items()
            if u.object.name == receipt.object.name
            and u.object.generation > receipt.object.generation
            and watch.accepted.get(id_, began) < began
        ]
        if newer:
            raise Violation(f"{version} holds {receipt.object.name} of {receipt.object.generation}, not {newer[-1]}")


def no_version_is_fitted_twice(watch: Watch, process: Process) -> None:
    """A version is fitted once; again only when that ended in no version, or by a process that had stood still."""
    if watch.world.models.stat(f"versions/{process.version}/manifest.json") and not process.suspended:
        raise Violation(f"{process.version} is fitted although it exists")
    others = [f.process for f in watch.fits[process.version] if f.process is not process]
    busy = [other.name for other in others if not other.ended and not other.suspended]
    if busy:
        raise Violation(f"{process.name} fits {process.version} while {busy[0]} does")


def nobody_else_holds_the_lease(watch: Watch, process: Process) -> None:
    """Single flight: a job takes the lease only when its holder is dead, gave it back, or let it expire."""
    stored = watch.world.data.stat(lease.NAME)
    if stored is None:
        return
    claim = msgspec.json.decode(watch.world.data.read(lease.NAME), type=Claim)
    if watch.holder is not None and watch.holder[1].nonce != claim.nonce:
        other, held, renewed = watch.holder
        if not held.released and watch.world.now - renewed < held.seconds:
            raise Violation(
                f"{process.name} took the lease of {other.name}, renewed {watch.world.now - renewed:.0f} s ago"
            )
    watch.holder = process, claim, watch.world.now
