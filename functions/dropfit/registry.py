# SPDX-License-Identifier: Apache-2.0
"""Immutable versions, one pointer. In the models bucket:

    versions/<id>/model-<sha256>.onnx, encoding-, trial-, probe- ...   content-addressed artifacts
    versions/<id>/manifest.json                                  written last, sealed: with it the version exists
    versions/<id>/report.json                                    the gate's verdict; report.md and plots for people
    versions/<id>/snapshot-<sha256> ...                          the head of its table, for serving
    versions/<id>/table.json                                     its table is verified: the version may be served
    versions/<id>/decision.json                                  what a person said of it, under publish=hold
    current.json                                                 the pointer: swapping it is the one commit

Nothing is parsed before its size and hash are those that the manifest declares.
"""

from __future__ import annotations

import collections
import logging
import re
from pathlib import Path

from . import artifacts, documents
from .documents import SMALL
from .encoding import sha256
from .errors import ArtifactError, Conflict, NotFound
from .manifest import Artifact, Manifest
from .pointer import PointerFile
from .storage import Stored
from .verdict import Completed, Decision, Report

LOG = logging.getLogger(__name__)
PREFIX = artifacts.PREFIX
PLAIN = re.compile(r"[a-z0-9_-]+\.[a-z]+\Z")


class Registry(PointerFile):
    """The versions in a models bucket, and the pointer to the one that is served.

    Args:
        bucket: the models bucket.
    """

    def add_artifact(self, version: str, stem: str, suffix: str, payload: bytes) -> Artifact:
        """Store a file of a version under a name that says its content."""
        return artifacts.store(self._bucket, version, stem, suffix, payload)

    def exists(self, version: str) -> bool:
        """Whether there is such a version."""
        return self._bucket.stat(f"{PREFIX}{version}/manifest.json") is not None

    def read_artifact(self, artifact: Artifact) -> bytes:
        """A version's file, checked before anybody parses it.

        Raises:
            ArtifactError: when size or hash are not as declared, or it is gone.
        """
        return artifacts.read(self._bucket, artifact)

    def add_file(self, version: str, stem: str, path: Path) -> Artifact:
        """The same as `add_artifact` from the disk, never whole in memory."""
        return artifacts.store_file(self._bucket, version, stem, path)

    def fetch_artifact(self, artifact: Artifact, folder: Path) -> Path:
        """A version's file as a new file in a folder, proven and never whole in memory.

        Raises:
            ArtifactError: as of `read_artifact`; nothing is left in the folder then.
        """
        return artifacts.fetch(self._bucket, artifact, folder)

    def prove_artifact(self, artifact: Artifact) -> None:
        """Check a version's file where it lies, never whole in memory.

        Raises:
            ArtifactError: as of `read_artifact`.
        """
        artifacts.prove(self._bucket, artifact)

    def publish(self, manifest: Manifest) -> Manifest:
        """Make a version exist; when it does already, the one that exists is returned."""
        name, payload = f"{artifacts.folder(manifest.version)}manifest.json", documents.encode(manifest)
        try:
            self._bucket.create(name, payload, {artifacts.SEAL: sha256(payload)})
        except Conflict:
            return self.manifest(manifest.version)
        return manifest

    def manifest(self, version: str, expected: str = "") -> Manifest:
        """A version's manifest, its hash proven before it is decoded.

        Args:
            version: which.
            expected: what the manifest must hash to, as the pointer says; empty: what its seal says.

        Raises:
            NotFound: when there is no such version.
            ArtifactError: when its manifest is damaged, exchanged, unsealed, or another version's.
        """
        return self._open(version, self._stat_manifest(version), expected)

    def seal(self, version: str) -> str:
        """What a version's manifest was published with: the hash for the pointer.

        Raises:
            NotFound: when there is no such version.
            ArtifactError: when its manifest carries no seal.
        """
        return artifacts.seal(self._stat_manifest(version))

    def _stat_manifest(self, version: str) -> Stored:
        stored = self._bucket.stat(f"{artifacts.folder(version)}manifest.json")
        if stored is None:
            raise NotFound(f"there is no version {version}")
        return stored

    def _open(self, version: str, stored: Stored, expected: str = "") -> Manifest:
        manifest = documents.decode(artifacts.read_sealed(self._bucket, stored, expected), Manifest)
        if manifest.version != version:
            raise ArtifactError(f"the manifest of {version} says it is {manifest.version}")
        artifacts.check_names(manifest)
        return manifest

    def judge(self, report: Report) -> Report:
        """Keep the gate's verdict; the first one against the same served version stands.

        Raises:
            Conflict: when somebody else judged it meanwhile.
        """
        name = f"{PREFIX}{report.version}/report.json"
        try:
            self._bucket.create(name, documents.encode(report))
        except Conflict:
            payload, generation = self._bucket.fetch(name)
            before = documents.decode(payload, Report)
            if before.champion == report.champion:
                return before
            self._bucket.replace(name, documents.encode(report), generation)
        return report

    def judged(self, version: str, champion: str) -> Report | None:
        """The gate's verdict on a version, when it was given against that served version."""
        try:
            report = self.report(version)
        except NotFound:
            return None
        return report if report.champion == champion else None

    def attach(self, version: str, name: str, payload: bytes, content_type: str) -> None:
        """Lay a page or a plot beside a version's report; no hash is kept of it, and nothing of ours reads it."""
        self._bucket.put(f"{PREFIX}{version}/{name}", payload, content_type)

    def report(self, version: str) -> Report:
        """The gate's verdict.

        Raises:
            NotFound: when it has not been judged.
        """
        return documents.decode(self._bucket.read(f"{PREFIX}{version}/report.json"), Report, SMALL)

    def complete(self, done: Completed) -> None:
        """Say that a version's table is verified. Said again, the later one stands: a newer table, or more facts."""
        self._bucket.put(f"{PREFIX}{done.version}/table.json", documents.encode(done), "application/json")

    def completed(self, version: str) -> Completed:
        """A version's verified table, with the snapshot of its head.

        Raises:
            NotFound: when it has none: it did not pass the gate, or its job did not come so far.
            ArtifactError: when what is said is not readable, or names a file that is not the version's own.
        """
        done = documents.decode(self._bucket.read(f"{PREFIX}{version}/table.json"), Completed, SMALL)
        if done.snapshot is not None:
            artifacts.check_name(version, done.snapshot)
        return done

    def withdraw(self, version: str) -> None:
        """Say that a version's table is about to change or go: it may not be served until it is complete again."""
        self._bucket.delete(f"{PREFIX}{version}/table.json")

    def is_complete(self, version: str) -> bool:
        """Whether a version's table is verified."""
        return self._bucket.stat(f"{PREFIX}{version}/table.json") is not None

    def decide(self, decision: Decision) -> None:
        """Keep what a person said of a version."""
        name = f"{PREFIX}{decision.version}/decision.json"
        self._bucket.put(name, documents.encode(decision), "application/json")

    def decision(self, version: str) -> Decision | None:
        """What a person said of a version, None when nobody did."""
        try:
            return documents.decode(self._bucket.read(f"{PREFIX}{version}/decision.json"), Decision, SMALL)
        except NotFound:
            return None

    def files(self) -> dict[str, set[str]]:
        """Every version -> the names of its files, by one listing."""
        found: dict[str, set[str]] = collections.defaultdict(set)
        for stored in self._bucket.list(PREFIX):
            version, _, file = stored.name.removeprefix(PREFIX).partition("/")
            found[version].add(file)
        return found

    def save_files(self, version: str, suffixes: tuple[str, ...], folder: Path) -> list[Path]:
        """Copy a version's files with such endings into a folder; returns where they are.

        Names in storage are opaque: only the plain ones that we give ourselves are copied.
        """
        folder.mkdir(parents=True, exist_ok=True)
        saved = []
        for file in sorted(self.files()[version]):
            if PLAIN.match(file) and file.endswith(suffixes):
                saved.append(folder / file)
                saved[-1].write_bytes(self._bucket.read(f"{PREFIX}{version}/{file}"))
        return saved

    def ids(self) -> list[str]:
        """Every version that exists, oldest first."""
        return sorted(version for version, files in self.files().items() if "manifest.json" in files)

    def versions(self) -> list[tuple[Manifest, Report | None]]:
        """Every version with its verdict, oldest first; one that is not readable is passed over."""
        files = self.files()
        found = []
        for version in sorted(v for v in files if "manifest.json" in files[v]):
            try:
                judged = "report.json" in files[version]
                found.append((self.manifest(version), self.report(version) if judged else None))
            except (ArtifactError, NotFound) as error:
                LOG.error("version %s is passed over: %s", version, error)
        return found
