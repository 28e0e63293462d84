# SPDX-License-Identifier: Apache-2.0
"""A version made ready to serve: verified, loaded, warmed, and its model's cost measured."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import msgspec

from . import artifacts, openapi
from . import version as versions
from .admission import Lane
from .contract import Category, Problem
from .instances import InstanceDecoder
from .ladder import Ladder
from .pointer import Pointer
from .registry import Registry
from .settings import Settings
from .snapshot import Snapshot
from .version import Version


class Served(msgspec.Struct, frozen=True):
    """One version with all that a request needs of it, exchanged as a whole."""

    pointer: Pointer
    version: Version
    decoder: InstanceDecoder
    ladder: Ladder
    snapshot: Snapshot | None


def load(registry: Registry, problem: Problem, settings: Settings, lane: Lane, pointer: Pointer) -> Served:
    """What a pointer names.

    Args:
        registry: where it is.
        problem: the deployed problem, for its derive function alone.
        settings: mode and limits.
        lane: where slow runs go.
        pointer: names version and snapshot.

    Raises:
        NotFound: when there is no such version.
        ArtifactError: when a file of it is broken, or it does not answer as when it was made.
    """
    version = versions.load(registry, problem, pointer.version, seal=pointer.manifest_sha256)
    snapshot = _open(registry, pointer)
    decoder = InstanceDecoder(version.manifest.contract, settings.max_instances)
    ladder = Ladder(version, snapshot, settings.mode, settings.miss, lane)
    if settings.mode != "static":
        ladder.online.warm(msgspec.convert(sample(version), decoder.kind))
    return Served(pointer, version, decoder, ladder, snapshot)


def _open(registry: Registry, pointer: Pointer) -> Snapshot | None:
    if pointer.snapshot is None:
        return None
    artifacts.check_name(pointer.version, pointer.snapshot)
    with tempfile.TemporaryDirectory(prefix="dropfit-") as folder:
        # The file is open when its name goes; its memory is given back with the last reader.
        return Snapshot(registry.fetch_artifact(pointer.snapshot, Path(folder)))


def sample(version: Version) -> dict[str, Any]:
    """An instance that the version's decoder takes, without what others determine: of what training saw."""
    encoding = version.scorer.encoder.encoding
    found: dict[str, Any] = openapi.made_example(version.manifest.contract)
    for feature in version.manifest.contract.features:
        if isinstance(feature, Category):
            seen = encoding.vocabularies.get(feature.name)
            found[feature.name] = seen[len(seen) // 2] if seen else found[feature.name]
        elif feature.given_by:
            del found[feature.name]
        elif feature.name in encoding.ranges:
            middle = sum(encoding.ranges[feature.name]) / 2
            found[feature.name] = round(middle) if feature.integer else middle
    return found
