# SPDX-License-Identifier: Apache-2.0
"""Immutable versions, one pointer. In the models bucket:

    versions/<id>/model-<sha256>.onnx, encoding-<sha256>.json    content-addressed artifacts
    versions/<id>/manifest.json                                  written last: with it the version exists
    versions/<id>/report.json                                    the gate's verdict
    versions/<id>/table.json                                     its table is verified: the version may be served
    versions/<id>/decision.json                                  what a person said of it, under publish=hold
    current.json                                                 the pointer: swapping it is the one commit

Nothing is parsed before its size and hash are those that the manifest declares.
"""

from __future__ import annotations

import datetime as dt
import logging
import secrets
import time
from typing import TypeVar

import msgspec

from . import documents
from .encoding import sha256
from .errors import ArtifactError, Conflict, NotFound
from .manifest import Artifact, Completed, Decision, Manifest, Pointer, Report, Served
from .storage import Bucket

LOG = logging.getLogger(__name__)
CURRENT = "current.json"
PREFIX = "versions/"
MAX_MANIFEST = 1024**2
TRAIL = 50
"""So many versions that were served are remembered in the pointer."""

T = TypeVar("T")


class Current(msgspec.Struct, frozen=True):
    """The pointer as read, and the generation that a swap must replace (0: there is none yet)."""

    pointer: Pointer | None
    generation: int


class Registry:
    """The versions in a models bucket.

    Args:
        bucket: the models bucket.
    """

    def __init__(self, bucket: Bucket) -> None:
        self._bucket = bucket

    def add_artifact(self, version: str, stem: str, suffix: str, payload: bytes) -> Artifact:
        """Store a file of a version under a name that says its content."""
        digest = sha256(payload)
        name = f"{PREFIX}{version}/{stem}-{digest[:16]}{suffix}"
        self._bucket.put(name, payload)
        return Artifact(name, len(payload), digest)

    def publish(self, manifest: Manifest) -> Manifest:
        """Make a version exist; when it does already, the one that exists is returned."""
        name = f"{PREFIX}{manifest.version}/manifest.json"
        try:
            self._bucket.create(name, documents.encode(manifest))
        except Conflict:
            return self.manifest(manifest.version)
        return manifest

    def manifest(self, version: str, expected: str = "") -> Manifest:
        """A version's manifest.

        Args:
            version: which.
            expected: what it must hash to, when the caller knows.

        Raises:
            NotFound: when there is no such version.
            ArtifactError: when its manifest is not one, or is another version's.
        """
        payload = self._bucket.read(f"{PREFIX}{version}/manifest.json")
        if expected and sha256(payload) != expected:
            raise ArtifactError(f"the manifest of {version} does not hash to what the pointer declares")
        manifest = _decode(payload, Manifest)
        if manifest.version != version:
            raise ArtifactError(f"the manifest of {version} says it is {manifest.version}")
        return manifest

    def seal(self, version: str) -> str:
        """What a version's manifest hashes to.

        Raises:
            NotFound: when there is no such version.
        """
        return sha256(self._bucket.read(f"{PREFIX}{version}/manifest.json"))

    def read_artifact(self, artifact: Artifact) -> bytes:
        """A version's file, checked before anybody parses it.

        Raises:
            ArtifactError: when size or hash are not as declared, or it is gone.
        """
        stored = self._bucket.stat(artifact.name)
        if stored is None:
            raise ArtifactError(f"{artifact.name} is gone")
        if stored.size != artifact.size:
            raise ArtifactError(f"{artifact.name} holds {stored.size} bytes, declared {artifact.size}")
        payload = self._bucket.read(artifact.name, stored.generation)
        if len(payload) != artifact.size or sha256(payload) != artifact.sha256:
            raise ArtifactError(f"{artifact.name} does not hash to what its manifest declares")
        return payload

    def judge(self, report: Report) -> Report:
        """Keep the gate's verdict; the first one stands."""
        try:
            self._bucket.create(f"{PREFIX}{report.version}/report.json", documents.encode(report))
        except Conflict:
            return self.report(report.version)
        return report

    def report(self, version: str) -> Report:
        """The gate's verdict.

        Raises:
            NotFound: when it has not been judged.
        """
        return _decode(self._bucket.read(f"{PREFIX}{version}/report.json"), Report)

    def current(self) -> Current:
        """What is served, and what a swap must replace.

        Raises:
            ArtifactError: when the pointer is not readable.
        """
        try:
            payload, generation = self._bucket.fetch(CURRENT)
        except NotFound:
            return Current(None, 0)
        return Current(_decode(payload, Pointer), generation)

    def generation(self) -> int:
        """The pointer's generation alone, 0 when there is none: one small request."""
        stored = self._bucket.stat(CURRENT)
        return stored.generation if stored else 0

    def complete(self, version: str, table: str, rows: int) -> Completed:
        """Say that a version's table is verified; done twice, the later one stands, of the same table."""
        done = Completed(version=version, table=table, rows=rows, verified_at=dt.datetime.now(dt.UTC))
        self._bucket.put(f"{PREFIX}{version}/table.json", documents.encode(done), "application/json")
        return done

    def completed(self, version: str) -> Completed:
        """A version's verified table.

        Raises:
            NotFound: when it has none: it did not pass the gate, or its job did not come so far.
        """
        return _decode(self._bucket.read(f"{PREFIX}{version}/table.json"), Completed)

    def decide(self, decision: Decision) -> None:
        """Keep what a person said of a version."""
        name = f"{PREFIX}{decision.version}/decision.json"
        self._bucket.put(name, documents.encode(decision), "application/json")

    def decision(self, version: str) -> Decision | None:
        """What a person said of a version, None when nobody did."""
        try:
            return _decode(self._bucket.read(f"{PREFIX}{version}/decision.json"), Decision)
        except NotFound:
            return None

    def promote(self, version: str, table: str, since: Current, by: str = "", manifest_sha256: str = "") -> Pointer:
        """Compare-and-swap the pointer to a version that has passed the gate.

        Args:
            version: the version to serve.
            table: its table, complete and verified.
            since: the pointer as it was when the decision was made.
            by: the job, for people.
            manifest_sha256: what its manifest hashes to.

        Raises:
            Conflict: when the pointer has moved since then, or is pinned.
        """
        before = since.pointer
        if before is not None and before.pinned:
            raise Conflict(f"{before.version} is pinned by {before.by}")
        target = Served(version, table, before.version if before else "", manifest_sha256)
        return self._swap(since, target, before.epoch if before else 0, by, pinned=False)

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
        trail = (
            [*before.trail, Served(before.version, before.table, before.previous, before.manifest_sha256)]
            if before
            else []
        )
        newest = {served.version: served for served in trail if served.version != target.version}
        pointer = Pointer(
            version=target.version,
            table=target.table,
            previous=target.previous,
            epoch=epoch,
            nonce=secrets.token_hex(8),
            promoted_at=dt.datetime.now(dt.UTC),
            manifest_sha256=target.manifest_sha256,
            pinned=pinned,
            by=by,
            trail=tuple(newest.values())[-TRAIL:],
        )
        self._bucket.replace(CURRENT, documents.encode(pointer), since.generation)
        return pointer

    def versions(self) -> list[tuple[Manifest, Report | None]]:
        """Every version with its verdict, oldest first; one that is not readable is passed over."""
        names = {s.name for s in self._bucket.list(PREFIX)}
        ids = sorted(n.split("/")[1] for n in names if n.endswith("/manifest.json"))
        found = []
        for version in ids:
            try:
                judged = f"{PREFIX}{version}/report.json" in names
                found.append((self.manifest(version), self.report(version) if judged else None))
            except ArtifactError as error:
                LOG.error("version %s is passed over: %s", version, error)
        return found


def _decode(payload: bytes, kind: type[T]) -> T:
    if len(payload) > MAX_MANIFEST:
        raise ArtifactError(f"a {kind.__name__.lower()} of {len(payload)} bytes is none of ours")
    return documents.decode(payload, kind)
