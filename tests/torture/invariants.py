# SPDX-License-Identifier: Apache-2.0
"""The written invariants of what is served and of how uploads end, one function each."""

from __future__ import annotations

from typing import TYPE_CHECKING

from processes import Violation

from dropfit.encoding import sha256
from dropfit.errors import ArtifactError, NotFound
from dropfit.manifest import Artifact, Manifest
from dropfit.receipts import Receipt, Receipts, accepted_name

if TYPE_CHECKING:
    from watch import Watch

REFRESHED = "__r"
"""A table that a refresh has filled says so behind its version's id."""


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
