# SPDX-License-Identifier: Apache-2.0
"""The written invariants, one function each, and the watch that checks them at every write and at the end.

The watch looks at the world itself and not through any process, so it sees what a person with a console would.
"""

from __future__ import annotations

import collections
from collections.abc import Sequence
from typing import Any, NamedTuple

import msgspec
from world import Process, Violation, World

from dropfit import lease
from dropfit.encoding import sha256
from dropfit.errors import ArtifactError, NotFound
from dropfit.lease import Claim
from dropfit.manifest import Artifact, Manifest
from dropfit.pointer import CURRENT, Pointer
from dropfit.receipts import PREFIX, Receipt, Receipts, accepted_name
from dropfit.registry import Registry

REFRESHED = "__r"
"""A table that a refresh has filled says so behind its version's id."""
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


def served_version_is_complete(watch: Watch) -> None:
    """The pointer always names a complete version: manifest and artifacts with the declared hashes."""
    pointer = watch.pointer()
    if pointer is not None:
        version_is_complete(watch, pointer.version, pointer.manifest_sha256)
        snapshot_is_whole(watch, pointer.version, pointer.table, pointer.snapshot)


def snapshot_is_whole(watch: Watch, version: str, table: str, snapshot: Artifact | None) -> None:
    """What is pointed at has a snapshot of its own table, and no other."""
    if snapshot is None:
        raise Violation(f"{version} is pointed at without a snapshot")
    try:
        rows = watch.registry.read_artifact(snapshot).decode().splitlines()
    except (ArtifactError, NotFound) as error:
        raise Violation(f"the snapshot of {version} is not whole: {error}") from error
    held = watch.world.warehouse.held.get(table, [])
    if sorted(rows) != sorted(f"{row.key}\t{row.version}" for row in held):
        raise Violation(f"the snapshot of {version} holds {rows}, and {table} holds {held}")


def version_is_complete(watch: Watch, version: str, manifest_sha256: str) -> Manifest:
    """The manifest of a version whose artifacts are whole."""
    try:
        if watch.registry.seal(version) != manifest_sha256:
            raise Violation(f"the manifest of {version} is not the one that was pointed at")
        manifest: Manifest = watch.registry.manifest(version)
        for artifact in (manifest.model, manifest.encoding):
            watch.registry.read_artifact(artifact)
    except (ArtifactError, NotFound) as error:
        raise Violation(f"{version} is pointed at and not complete: {error}") from error
    return manifest


def served_table_is_whole(watch: Watch) -> None:
    """The pointer's table holds every key once, each predicted by the pointer's version and no other."""
    pointer = watch.pointer()
    if pointer is not None:
        table_is_whole(watch, pointer.table, pointer.version)


def table_is_whole(watch: Watch, table: str, version: str) -> None:
    """A table holds each key once, predicted by a version: those of its training, or what a refresh found."""
    rows = watch.world.warehouse.held.get(table, [])
    if REFRESHED in table:
        if not rows or len({row.key for row in rows}) != len(rows) or {row.version for row in rows} != {version}:
            raise Violation(f"{table} of {version} holds {rows}")
        return
    manifest = watch.registry.manifest(version)
    wanted = sorted(f"leaf {serial}" for serial in watch.registry.read_artifact(manifest.model).decode().split())
    if sorted(row.key for row in rows) != wanted or {row.version for row in rows} != {version}:
        raise Violation(f"{table} of {version} holds {rows} instead of {wanted}")


def rollback_targets_are_whole(watch: Watch) -> None:
    """The versions served last can be served again, model and table: nothing of them is ever collected."""
    pointer = watch.pointer()
    if pointer is not None:
        for served in pointer.trail[-watch.world.settings.keep_versions :]:
            version_is_complete(watch, served.version, served.manifest_sha256)
            snapshot_is_whole(watch, served.version, served.table, served.snapshot)
            table_is_whole(watch, served.table, served.version)


def view_shows_old_or_new(watch: Watch) -> None:
    """The view shows nothing, or a table that the pointer names or named: wholly old or wholly new, never mixed."""
    view = watch.world.warehouse.view
    if not view:
        return
    if view not in watch.tables_shown:
        raise Violation(f"the view shows {view}, which no pointer ever named")
    if len({row.version for row in watch.world.warehouse.held.get(view, [])}) != 1:
        raise Violation(f"the view shows {view}, which is not of one version")


def served_version_passed_the_gate(watch: Watch) -> None:
    """A version that was not judged, or failed the gate, is never served, whoever points at it."""
    if not watch.moves:
        return
    version = watch.moves[-1].pointer.version
    try:
        passed = watch.registry.report(version).passed
    except NotFound:
        raise Violation(f"{version} is served and was never judged") from None
    newest = watch.inputs[version][-1]
    if not passed or watch.world.uploads[newest.id].kind not in ("good", "odd"):
        raise Violation(f"{version} is served, and its newest file is {watch.world.uploads[newest.id].kind}")


MOMENTS = (
    served_version_is_complete,
    served_table_is_whole,
    rollback_targets_are_whole,
    view_shows_old_or_new,
    served_version_passed_the_gate,
)
"""Checked after every write to the models bucket and to BigQuery."""


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


def every_upload_has_one_outcome(watch: Watch) -> None:
    """Each generation that an event announced or a sweep saw has exactly one receipt, final, that says why."""
    world = watch.world
    receipts = {r.id: r for r in Receipts(world.data).all()}  # type: ignore[arg-type]
    lost = world.known - receipts.keys()
    if lost:
        raise Violation(f"no receipt: {[world.uploads[r] for r in lost]}")
    live = {s.generation for s in world.landing.list()}
    lost = {u.serial for i, u in world.uploads.items() if u.object.generation in live and i not in receipts}
    if lost:
        raise Violation(f"uploads {sorted(lost)} lie in the bucket and have no receipt")
    for receipt in receipts.values():
        outcome_is_true(watch, receipt)


def outcome_is_true(watch: Watch, receipt: Receipt) -> None:
    """The outcome that a receipt tells is what happened."""
    world, upload = watch.world, watch.world.uploads[receipt.id]
    newer = any(
        u.object.name == receipt.object.name and u.object.generation > receipt.object.generation
        for u in world.uploads.values()
    )
    live = world.landing.stat(receipt.object.name)
    fits = {
        "promoted": watch.moves_to(receipt.version) > 0
        and receipt.id in {i.receipt for i in watch.registry.manifest(receipt.version).inputs},
        "kept": upload.kind not in ("bad", "poison"),
        "held": (world.settings.publish == "hold" or world.pinned) and watch.moves_to(receipt.version) == 0,
        "recorded": world.settings.training == "static" or bool(world.problem.window) or world.ordered,
        "quarantined": upload.kind == "bad" or (upload.kind == "odd" and receipt.override is None),
        "superseded": newer,
        "deleted": live is None or newer,
        "failed": world.crashes > 0 or world.tears > 0,
    }
    if not fits.get(receipt.state, False):
        raise Violation(f"upload {upload.serial} ({upload.kind}) is said to be {receipt.state}: {receipt.reason}")
    if not receipt.reason:
        raise Violation(f"upload {upload.serial} is {receipt.state}, and its receipt does not say why")


def view_follows_pointer(watch: Watch) -> None:
    """Once the world is at rest, the view shows the pointer's table."""
    pointer = watch.pointer()
    if pointer is not None and watch.world.warehouse.view != pointer.table:
        raise Violation(f"the view shows {watch.world.warehouse.view}, the pointer says {pointer.table}")


def what_was_trained_on_is_there(watch: Watch) -> None:
    """The accepted rows of every served version's inputs are there, with the hash that its manifest declares."""
    for move in watch.moves:
        for entry in watch.registry.manifest(move.pointer.version).inputs:
            name = accepted_name(entry.receipt, entry.sha256)
            if watch.world.data.stat(name) is None or sha256(watch.world.data.read(name)) != entry.sha256:
                raise Violation(f"{name} is not what {move.pointer.version} was trained on")


def what_waits_is_whole(watch: Watch) -> None:
    """A version that waits for a person can be approved: its files and its table are there."""
    for receipt in Receipts(watch.world.data).held():  # type: ignore[arg-type]
        version_is_complete(watch, receipt.version, watch.registry.seal(receipt.version))
        table_is_whole(watch, watch.registry.completed(receipt.version).table, receipt.version)


def uploads_are_untouched(watch: Watch) -> None:
    """What people uploaded lies in the landing bucket as they left it."""
    for stored in watch.world.landing.list():
        (upload,) = [u for u in watch.world.uploads.values() if u.object.generation == stored.generation]
        if watch.world.landing.read(stored.name) != f"{upload.kind} {upload.serial}".encode():
            raise Violation(f"{stored.name} was altered")


def nothing_waits(watch: Watch) -> None:
    """At rest there is no order, and nobody holds the lease."""
    if any(watch.world.data.list("requests/")) or any(watch.world.data.list("refreshes/")):
        raise Violation("an order waits for ever")


ENDS = (
    every_upload_has_one_outcome,
    view_follows_pointer,
    what_was_trained_on_is_there,
    what_waits_is_whole,
    uploads_are_untouched,
    nothing_waits,
)
"""Checked once the world is at rest."""
