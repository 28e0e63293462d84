# SPDX-License-Identifier: Apache-2.0
"""The pointer, `current.json` in the models bucket: swapping it is the one commit."""

from __future__ import annotations

import datetime as dt
import secrets
import time

import msgspec

from . import artifacts, documents
from .errors import Conflict, NotFound
from .manifest import Artifact
from .storage import Bucket

CURRENT = "current.json"
EVER = "served-once.json"
"""Says that there was a pointer: where it is missing later, it was lost, and the next version is not the first."""
TRAIL = 50
"""So many versions that were served are remembered in the pointer."""


class Served(msgspec.Struct, frozen=True):
    """A version that was served once, with all that serving it again takes.

    Attributes:
        version: its id.
        table: its static-serving table.
        previous: the version served before it, empty for the first.
        manifest_sha256: what its manifest hashes to.
        since: from when it was served last.
        by: the person or the job that made it so.
        snapshot: the head of its table as a file, None in a version that has none.
    """

    version: str
    table: str
    previous: str
    manifest_sha256: str = ""
    since: dt.datetime | None = None
    by: str = ""
    snapshot: Artifact | None = None


class Pointer(msgspec.Struct, frozen=True, kw_only=True):
    """What is served.

    Attributes:
        version: the served version.
        table: its static-serving table.
        previous: where `dropfit rollback` leads: the version served before this one was first.
        epoch: grows with every decision of a person (rollback, approve, pin), so that a training that began before it
            cannot undo it.
        nonce: of the write, to recognise it after a retried request.
        promoted_at: when.
        manifest_sha256: what the version's manifest hashes to.
        pinned: whether trainings may not replace it.
        by: the person or the job that swapped the pointer.
        trail: what was served before, the newest last, each version once.
        snapshot: the head of its table as a file, None in a version that has none.
    """

    version: str
    table: str
    previous: str
    epoch: int
    nonce: str
    promoted_at: dt.datetime
    manifest_sha256: str = ""
    pinned: bool = False
    by: str = ""
    trail: tuple[Served, ...] = ()
    snapshot: Artifact | None = None

    def as_served(self) -> Served:
        """What it points at, as the trail keeps it."""
        return Served(
            version=self.version,
            table=self.table,
            previous=self.previous,
            manifest_sha256=self.manifest_sha256,
            since=self.promoted_at,
            by=self.by,
            snapshot=self.snapshot,
        )


class Current(msgspec.Struct, frozen=True):
    """The pointer as read, and the generation that a swap must replace (0: there is none yet)."""

    pointer: Pointer | None
    generation: int


class PointerFile:
    """Reads and swaps the pointer.

    Args:
        bucket: the models bucket.
    """

    def __init__(self, bucket: Bucket) -> None:
        self._bucket = bucket

    def current(self) -> Current:
        """What is served, and what a swap must replace.

        Raises:
            ArtifactError: when the pointer is not readable, or names a snapshot that is not its version's own.
        """
        try:
            payload, generation = self._bucket.fetch(CURRENT)
        except NotFound:
            return Current(None, 0)
        pointer = documents.decode(payload, Pointer, documents.SMALL)
        for served in (pointer.as_served(), *pointer.trail):
            if served.snapshot is not None:
                artifacts.check_name(served.version, served.snapshot)
        return Current(pointer, generation)

    def pointer(self) -> Pointer:
        """What is served.

        Raises:
            NotFound: when there is no pointer.
            ArtifactError: when it is not readable.
        """
        found = self.current().pointer
        if found is None:
            raise NotFound("there is no pointer")
        return found

    def generation(self) -> int:
        """The pointer's generation alone, 0 when there is none: one small request."""
        stored = self._bucket.stat(CURRENT)
        return stored.generation if stored else 0

    def promote(
        self,
        version: str,
        table: str,
        since: Current,
        by: str = "",
        manifest_sha256: str = "",
        snapshot: Artifact | None = None,
    ) -> Pointer:
        """Compare-and-swap the pointer to a version that has passed the gate.

        Args:
            version: the version to serve.
            table: its table, complete and verified.
            since: the pointer as it was when the decision was made.
            by: the job, for people.
            manifest_sha256: what its manifest hashes to.
            snapshot: the head of its table as a file.

        Raises:
            Conflict: when the pointer has moved since then, or is pinned.
        """
        before = since.pointer
        if before is not None and before.pinned:
            raise Conflict(f"{before.version} is pinned by {before.by}")
        target = Served(version, table, before.version if before else "", manifest_sha256, snapshot=snapshot)
        return self._swap(since, target, before.epoch if before else 0, by, pinned=False)

    def refill(self, table: str, since: Current, snapshot: Artifact | None = None) -> Pointer:
        """Compare-and-swap the table of the version that is served, and nothing else of the pointer.

        Since when it is served, by whom, whether it is pinned, the epoch and the trail stay as they are: nobody has
        decided anything about a version.

        Args:
            table: a newer table of the same version, complete and verified.
            since: the pointer as it was when that was found out.
            snapshot: the head of its table as a file.

        Raises:
            Conflict: when the pointer has moved since then, or there is none.
        """
        if since.pointer is None:
            raise Conflict("nothing is served whose table could be replaced")
        fresh = {"table": table, "snapshot": snapshot, "nonce": secrets.token_hex(8)}
        pointer = msgspec.structs.replace(since.pointer, **fresh)
        self._bucket.replace(CURRENT, documents.encode(pointer), since.generation)
        return pointer

    def move(self, target: Served, since: Current, by: str, pinned: bool = False) -> Pointer:
        """Compare-and-swap the pointer because a person says so: no training begun before may undo it.

        Args:
            target: what to serve.
            since: the pointer as read; its pointer is None when it was not readable.
            by: who.
            pinned: whether trainings may not replace it.

        Raises:
            Conflict: when the pointer has moved since then.
        """
        # A pointer that cannot be read hides its epoch: seconds since 1970 are beyond any that was counted.
        epoch = since.pointer.epoch + 1 if since.pointer else int(time.time())
        return self._swap(since, target, epoch, by, pinned)

    def _swap(self, since: Current, target: Served, epoch: int, by: str, pinned: bool) -> Pointer:
        before = since.pointer
        trail = (*before.trail, before.as_served()) if before else ()
        stays = before is not None and before.version == target.version  # a pin leaves it served since it was
        newest = {served.version: served for served in trail if served.version != target.version}
        pointer = Pointer(
            version=target.version,
            table=target.table,
            previous=target.previous,
            epoch=epoch,
            nonce=secrets.token_hex(8),
            promoted_at=before.promoted_at if before and stays else dt.datetime.now(dt.UTC),
            manifest_sha256=target.manifest_sha256,
            pinned=pinned,
            by=by,
            trail=tuple(newest.values())[-TRAIL:],
            snapshot=target.snapshot,
        )
        self._bucket.replace(CURRENT, documents.encode(pointer), since.generation)
        if not since.generation:
            self.remember()
        return pointer

    def remember(self) -> None:
        """Note that there is a pointer; done again by every job, since the first promotion may die before it."""
        try:
            self._bucket.create(EVER, b"{}")
        except Conflict:
            return

    def was_lost(self) -> bool:
        """Whether there is no pointer although there was one."""
        return self.generation() == 0 and self._bucket.stat(EVER) is not None
