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
import secrets
from typing import TypeVar

import msgspec

from . import documents
from .contract import Contract
from .encoding import sha256
from .errors import ArtifactError, Conflict, NotFound
from .storage import Bucket

CURRENT = "current.json"
PREFIX = "versions/"
MAX_MANIFEST = 1024**2

T = TypeVar("T")


class Artifact(msgspec.Struct, frozen=True):
    """A file of a version: where, how large, and what it must hash to."""

    name: str
    size: int
    sha256: str


class Input(msgspec.Struct, frozen=True):
    """One upload a version was trained on."""

    object: str
    generation: int
    receipt: str
    rows: int
    sha256: str


class Parity(msgspec.Struct, frozen=True):
    """How far the exported model is from the fitted estimator, on the holdout and on rows with gaps.

    Attributes:
        rows: rows compared.
        differing: share of rows (0 to 1) that differ by more than the tolerance.
        largest: largest absolute difference.
    """

    rows: int
    differing: float
    largest: float


class Manifest(msgspec.Struct, frozen=True, kw_only=True):
    """Everything about a version that was known when it was made.

    Attributes:
        version: its id.
        created: when.
        contract: the contract it was trained under; serving uses this one.
        problem: `module:attribute` it came from.
        derive_sha256: hash of the derive function's source, empty without one.
        classes: labels in the order of the model's probabilities; empty unless the target is a label.
        model: the ONNX file.
        encoding: the encoding's JSON.
        inputs: the uploads it was trained on.
        rows: training rows after duplicates were dropped.
        duplicates: rows that an upload repeated, by identity.
        holdout: the blocks it was judged on, first and last, and their number of rows.
        metrics: metric -> value of the challenger on the holdout.
        constant: the same metrics of the constant prediction.
        parity: of the export.
        seed: of everything random.
        libraries: package -> version.
        revision: git revision, when known.
    """

    version: str
    created: dt.datetime
    contract: Contract
    problem: str
    derive_sha256: str
    classes: tuple[str, ...]
    model: Artifact
    encoding: Artifact
    inputs: tuple[Input, ...]
    rows: int
    duplicates: int
    holdout: dict[str, str | int]
    metrics: dict[str, float]
    constant: dict[str, float]
    parity: Parity
    seed: int
    libraries: dict[str, str]
    revision: str = ""


class Report(msgspec.Struct, frozen=True, kw_only=True):
    """The gate's verdict on a version: whether it may be served, and the sentences why."""

    version: str
    passed: bool
    reasons: tuple[str, ...]
    judged_at: dt.datetime


class Pointer(msgspec.Struct, frozen=True, kw_only=True):
    """What is served.

    Attributes:
        version: the served version.
        table: its static-serving table.
        previous: the version served before.
        epoch: grows with every decision of a person (rollback), so that an older training cannot undo it.
        nonce: of the write, to recognise it after a retried request.
        promoted_at: when.
    """

    version: str
    table: str
    previous: str
    epoch: int
    nonce: str
    promoted_at: dt.datetime


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
        """Every version with its verdict, oldest first."""
        names = {s.name for s in self._bucket.list(PREFIX)}
        ids = sorted(n.split("/")[1] for n in names if n.endswith("/manifest.json"))
        return [(self.manifest(v), self.report(v) if f"{PREFIX}{v}/report.json" in names else None) for v in ids]


def _decode(payload: bytes, kind: type[T]) -> T:
    if len(payload) > MAX_MANIFEST:
        raise ArtifactError(f"a {kind.__name__.lower()} of {len(payload)} bytes is none of ours")
    return documents.decode(payload, kind)
