# SPDX-License-Identifier: Apache-2.0
"""A version's files in storage: written with their hash, and never given to a parser before it is proven.

An artifact's hash stands in the manifest. The manifest's own hash, its *seal*, stands in the metadata of its object
and, once the version is served, in the pointer. A seal beside the manifest shows damage; only the pointer's shows a
manifest that was exchanged together with its metadata.
"""

from __future__ import annotations

import re

from .documents import SMALL
from .encoding import sha256
from .errors import ArtifactError, NotFound
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


def read(bucket: Bucket, artifact: Artifact) -> bytes:
    """A version's file, checked before anybody parses it.

    Raises:
        ArtifactError: when it is larger than anything of ours, size or hash are not as declared, or it is gone.
    """
    if artifact.size > MAX_ARTIFACT:
        raise ArtifactError(f"{artifact.name} declares {artifact.size:,} bytes, more than {MAX_ARTIFACT:,}: refused")
    stored = bucket.stat(artifact.name)
    if stored is None:
        raise ArtifactError(f"{artifact.name} is gone")
    if stored.size != artifact.size:
        raise ArtifactError(f"{artifact.name} holds {stored.size} bytes, declared {artifact.size}")
    payload = bucket.read(artifact.name, stored.generation)
    if len(payload) != artifact.size or sha256(payload) != artifact.sha256:
        raise ArtifactError(f"{artifact.name} does not hash to what its manifest declares")
    return payload


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
    place = folder(manifest.version)
    for artifact in manifest.artifacts:
        rest = artifact.name.removeprefix(place)
        if not artifact.name.startswith(place) or "/" in rest or not rest:
            raise ArtifactError(
                f"the manifest of {manifest.version} names {artifact.name[:200]!r}, which is not its own"
            )
