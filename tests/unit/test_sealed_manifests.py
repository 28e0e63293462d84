# SPDX-License-Identifier: Apache-2.0
"""A manifest is sealed by its hash, and one that was exchanged or damaged is refused undecoded."""

from __future__ import annotations

import pytest
from fakes import FakeBucket, manifest

from dropfit import documents
from dropfit.encoding import sha256
from dropfit.errors import ArtifactError, NotFound
from dropfit.registry import Registry


def sealed(bucket: FakeBucket, registry: Registry) -> bytes:
    registry.publish(manifest("v1"))
    return bucket.read("versions/v1/manifest.json")


def test_the_seal_of_a_manifest_is_what_it_hashes_to(bucket: FakeBucket, registry: Registry) -> None:
    assert registry.seal("v1" if sealed(bucket, registry) else "") == sha256(sealed(bucket, registry))
    with pytest.raises(NotFound):
        registry.seal("v2")


def test_a_manifest_without_a_seal_is_refused_unless_the_pointer_knows_its_hash(
    bucket: FakeBucket, registry: Registry
) -> None:
    payload = sealed(bucket, registry)
    bucket.put("versions/v1/manifest.json", payload)
    with pytest.raises(ArtifactError, match="no seal"):
        registry.manifest("v1")
    assert registry.manifest("v1", sha256(payload)).version == "v1"


def test_a_manifest_exchanged_together_with_its_seal_is_refused_by_the_pointers_hash(
    bucket: FakeBucket, registry: Registry
) -> None:
    known = sha256(sealed(bucket, registry))
    bucket.delete("versions/v1/manifest.json")
    registry.publish(manifest("v1", rows=301))
    assert registry.manifest("v1").rows == 301
    with pytest.raises(ArtifactError, match="exchanged"):
        registry.manifest("v1", known)


def test_a_damaged_manifest_is_refused_before_it_is_decoded(
    bucket: FakeBucket, registry: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    payload = sealed(bucket, registry)
    bucket.rot("versions/v1/manifest.json", payload.replace(b"300", b"301"))
    monkeypatch.setattr(documents, "decode", lambda *given: pytest.fail("it was decoded"))
    with pytest.raises(ArtifactError, match="does not hash"):
        registry.manifest("v1")
