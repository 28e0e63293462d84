# SPDX-License-Identifier: Apache-2.0
"""Immutable versions, one pointer. In the models bucket:

    versions/<id>/model-<sha256>.onnx, encoding-<sha256>.json    content-addressed artifacts
    versions/<id>/manifest.json                                  written last: with it the version exists
    versions/<id>/report.json                                    the gate's verdict
    current.json                                                 the pointer: swapping it is the one commit

Nothing is parsed before its size and hash are those that the manifest declares.
"""

from __future__ import annotations

import datetime as dt
import logging
import secrets
from typing import TypeVar

import msgspec

from . import documents
from .encoding import sha256
from .errors import ArtifactError, Conflict, NotFound
from .manifest import Artifact, Manifest, Pointer, Report
from .storage import Bucket

LOG = logging.getLogger(__name__)
CURRENT = "current.json"
PREFIX = "versions/"
MAX_MANIFEST = 1024**2

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

    def manifest(self, version: str) -> Manifest:
        """A version's manifest.

        Raises:
            NotFound: when there is no such version.
            ArtifactError: when its manifest is not one, or is another version's.
        """
        manifest = _decode(self._bucket.read(f"{PREFIX}{version}/manifest.json"), Manifest)
        if manifest.version != version:
            raise ArtifactError(f"the manifest of {version} says it is {manifest.version}")
        return manifest

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

    def promote(self, version: str, table: str, since: Current) -> Pointer:
        """Compare-and-swap the pointer to a version.

        Args:
            version: the version to serve.
            table: its table, complete and verified.
            since: the pointer as it was when the decision was made.

        Raises:
            Conflict: when the pointer has moved since then.
        """
        before = since.pointer
        pointer = Pointer(
            version=version,
            table=table,
            previous=before.version if before else "",
            epoch=before.epoch if before else 0,
            nonce=secrets.token_hex(8),
            promoted_at=dt.datetime.now(dt.UTC),
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
