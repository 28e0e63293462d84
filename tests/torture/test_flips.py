# SPDX-License-Identifier: Apache-2.0
"""No flipped byte of a version gets as far as a parser; a short pass, and some through the real storage emulator."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

sys.path.append(str(Path(__file__).parents[1] / "unit"))

import flips
from fakes import Shelf, shelve

from dropfit import artifacts, storage, version
from dropfit.contract import Probability
from dropfit.errors import ArtifactError, DropfitError
from dropfit.registry import Registry
from dropfit.settings import Settings


@pytest.fixture(scope="module")
def shelf() -> Shelf:
    return shelve(Probability(name="drunk"))


def test_every_flipped_byte_is_refused_and_none_is_parsed(shelf: Shelf) -> None:
    figure = flips.run(seed=7, artifact_bytes=100, versions=[shelf])
    assert figure.ok, figure
    assert figure.manifest == 2 * len(shelf.bucket.read("versions/v1/manifest.json"))
    assert (figure.seals, figure.artifacts) == (64, 100)


def test_the_proof_notices_when_a_hash_is_not_checked(shelf: Shelf, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Registry, "read_artifact", lambda self, artifact: self._bucket.read(artifact.name))
    monkeypatch.setattr(artifacts, "_check", lambda artifact, stream: None)
    figure = flips.run(seed=7, artifact_bytes=25, versions=[shelf])
    assert figure.parsed >= 25
    assert not figure.ok


@pytest.fixture
def there(shelf: Shelf, deployment: Callable[..., Settings]) -> storage.Bucket:
    """The version in the storage emulator."""
    bucket = storage.connect(deployment()).models
    for stored in shelf.bucket.list():
        bucket.create(stored.name, shelf.bucket.read(stored.name), stored.metadata)
    version.load(Registry(bucket), shelf.problem, "v1")
    return bucket


@pytest.mark.parametrize("which", ["manifest", "model", "encoding", "probe", "trial", "head"])
@pytest.mark.parametrize("by", ["the disk", "an overwrite"])
def test_a_flipped_byte_is_refused_through_the_storage_emulator(
    which: str, by: str, there: storage.Bucket, shelf: Shelf, cloud: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    named = shelf if which == "head" else shelf.manifest
    name = "versions/v1/manifest.json" if which == "manifest" else getattr(named, which).name
    payload = shelf.bucket.read(name)
    damaged = payload[:50] + bytes([payload[50] ^ 4]) + payload[51:]
    if by == "the disk":
        (file,) = Path(cloud.home.storage).glob(f"{there.name}/{name}")
        with file.open("r+b") as stream:  # in place: its metadata stays
            stream.write(damaged)
    else:
        there.put(name, damaged)
    registry = Registry(there)
    with flips.Watch().over(flips.PARSERS) as watch, pytest.raises(DropfitError) as refused:
        flips.load(registry, shelf)
    assert damaged not in watch.given
    assert isinstance(refused.value, ArtifactError) or by == "the disk"  # the client notices it by itself
