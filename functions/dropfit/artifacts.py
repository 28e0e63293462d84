# SPDX-License-Identifier: Apache-2.0
"""A version's files in storage: written with their hash, and never given to a parser before it is proven.

An artifact's hash stands in the manifest. The manifest's own hash, its *seal*, stands in the metadata of its object
and, once the version is served, in the pointer. A seal beside the manifest shows damage; only the pointer's shows a
manifest that was exchanged together with its metadata.
"""

from __future__ import annotations

import hashlib
import re
import tempfile
from pathlib import Path, PurePosixPath
from typing import Any

from .documents import SMALL
from .encoding import sha256
from .errors import ArtifactError, NotFound, disk
from .manifest import Artifact, Manifest
from .storage import Bucket, Stored

PREFIX = "versions/"
MAX_ARTIFACT = 1024**3
"""Bytes. What declares more is refused before it is fetched: a function would die of it."""
SEAL = "sha256"
"""The key of a manifest's hash in the metadata of its object."""
ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,79}\Z")


def folder(version: str) -> str:
    """Where a version's files lie.

    Raises:
        NotFound: when no version can be called so: an id never leads elsewhere.
    """
    if not ID.match(version):
        raise NotFound(f"{version[:80]!r} is the name of no version")
    return f"{PREFIX}{version}/"


def store(bucket: Bucket, version: str, stem: str, suffix: str, payload: bytes) -> Artifact:
    """Write a file of a version under a name that says its content.

    Raises:
        ArtifactError: when it is larger than what would be read again.
    """
    if len(payload) > MAX_ARTIFACT:
        raise ArtifactError(f"the {stem} of {len(payload):,} bytes is larger than {MAX_ARTIFACT:,}: nothing opens it")
    digest = sha256(payload)
    name = f"{folder(version)}{stem}-{digest[:16]}{suffix}"
    bucket.put(name, payload)
    return Artifact(name, len(payload), digest)


def store_file(bucket: Bucket, version: str, stem: str, path: Path) -> Artifact:
    """Write a file of a version from the disk, as `store` does; it is never whole in memory.

    Raises:
        ArtifactError: when it is larger than what would be read again.
    """
    size = path.stat().st_size
    if size > MAX_ARTIFACT:
        raise ArtifactError(f"the {stem} of {size:,} bytes is larger than {MAX_ARTIFACT:,}: nothing opens it")
    with path.open("rb") as stream:
        digest = hashlib.file_digest(stream, "sha256").hexdigest()
        name = f"{folder(version)}{stem}-{digest[:16]}{path.suffix}"
        bucket.put(name, stream)
    return Artifact(name, size, digest)


def read(bucket: Bucket, artifact: Artifact) -> bytes:
    """A version's file, checked before anybody parses it.

    Raises:
        ArtifactError: when it is larger than anything of ours, size or hash are not as declared, or it is gone.
    """
    payload = bucket.read(artifact.name, _declared(bucket, artifact).generation)
    if len(payload) != artifact.size or sha256(payload) != artifact.sha256:
        raise ArtifactError(f"{artifact.name} does not hash to what its manifest declares")
    return payload


def fetch(bucket: Bucket, artifact: Artifact, target: Path) -> Path:
    """A version's file on the disk, checked before anybody opens it, never whole in memory.

    Args:
        bucket: where it is.
        artifact: which, as the pointer or a manifest says.
        target: the folder to put it into; its name there is new each time, so that an older one can still be open.

    Returns:
        The file; whoever opens it removes it.

    Raises:
        ArtifactError: when it lies in no version's folder, is larger than anything of ours, size or hash are not as
            declared, or it is gone. Nothing is left in the folder then.
    """
    check_name(artifact.name.removeprefix(PREFIX).partition("/")[0], artifact)
    stored = _declared(bucket, artifact)
    handle, name = tempfile.mkstemp(dir=target, suffix=PurePosixPath(artifact.name).suffix)
    path = Path(name)
    try:
        with disk(), open(handle, "w+b") as stream:
            bucket.download(artifact.name, stored.generation, stream)
            stream.seek(0)
            _check(artifact, stream)
    except BaseException as error:
        path.unlink()
        if isinstance(error, NotFound):
            raise ArtifactError(f"{artifact.name} is gone") from error
        raise
    return path


def prove(bucket: Bucket, artifact: Artifact) -> None:
    """Check a version's file where it lies, in ranges.

    Raises:
        ArtifactError: as `read`.
    """
    stored = _declared(bucket, artifact)
    try:
        with bucket.open(artifact.name, stored.generation) as stream:
            _check(artifact, stream)
    except NotFound as gone:
        raise ArtifactError(f"{artifact.name} is gone") from gone


def _check(artifact: Artifact, stream: Any) -> None:
    """A file's content, read in pieces."""
    if hashlib.file_digest(stream, "sha256").hexdigest() != artifact.sha256:
        raise ArtifactError(f"{artifact.name} does not hash to what is declared of it")


def _declared(bucket: Bucket, artifact: Artifact) -> Stored:
    """The stored object, which is as large as declared.

    Raises:
        ArtifactError: when it is larger than anything of ours, not as large as declared, or gone.
    """
    if artifact.size > MAX_ARTIFACT:
        raise ArtifactError(f"{artifact.name} declares {artifact.size:,} bytes, more than {MAX_ARTIFACT:,}: refused")
    stored = bucket.stat(artifact.name)
    if stored is None:
        raise ArtifactError(f"{artifact.name} is gone")
    if stored.size != artifact.size:
        raise ArtifactError(f"{artifact.name} holds {stored.size} bytes, declared {artifact.size}")
    return stored


def seal(stored: Stored) -> str:
    """The hash that a manifest was written with.

    Raises:
        ArtifactError: when it carries none.
    """
    found = stored.metadata.get(SEAL, "")
    if not found:
        raise ArtifactError(f"{stored.name} carries no seal: it was not published by Dropfit")
    return found


def read_sealed(bucket: Bucket, stored: Stored, expected: str = "") -> bytes:
    """A manifest's bytes, checked before anybody decodes them.

    Args:
        bucket: where it is.
        stored: which generation, as a listing says.
        expected: what it must hash to; empty: what its seal says.

    Raises:
        ArtifactError: when it is too large, carries no seal, or hashes to something else.
    """
    if stored.size > SMALL:
        raise ArtifactError(f"{stored.name} of {stored.size} bytes is none of ours")
    wanted = expected or seal(stored)
    payload = bucket.read(stored.name, stored.generation)
    if len(payload) > SMALL or sha256(payload) != wanted:
        raise ArtifactError(f"{stored.name} does not hash to its seal {wanted[:12]}: it was damaged or exchanged")
    return payload


def check_names(manifest: Manifest) -> None:
    """Every file that a manifest names must lie in its own version's folder.

    Raises:
        ArtifactError: when one does not: names from storage lead nowhere else.
    """
    for artifact in manifest.artifacts:
        check_name(manifest.version, artifact)


def check_name(version: str, artifact: Artifact) -> None:
    """A file that is said to be of a version must lie in its folder.

    Raises:
        ArtifactError: when it does not.
    """
    place = f"{PREFIX}{version}/"
    rest = artifact.name.removeprefix(place)
    if not ID.match(version) or not artifact.name.startswith(place) or "/" in rest or not rest:
        raise ArtifactError(f"{artifact.name[:200]!r} is said to be of {version[:80]!r} and is not its own")
