# SPDX-License-Identifier: Apache-2.0
"""Versions are immutable, the pointer is swapped whole, and nothing is parsed before it is proven ours."""

from __future__ import annotations

import datetime as dt
from concurrent.futures import ThreadPoolExecutor

import msgspec
import pytest
from fakes import FakeBucket, manifest

from dropfit.documents import SMALL
from dropfit.errors import ArtifactError, Conflict, NotFound, Unavailable
from dropfit.manifest import Report
from dropfit.pointer import CURRENT, Current
from dropfit.registry import Registry


@pytest.fixture
def registry(bucket: FakeBucket) -> Registry:
    return Registry(bucket)


def report(version: str, passed: bool) -> Report:
    return Report(version=version, passed=passed, reasons=("so",), judged_at=dt.datetime.now(dt.UTC))


def test_before_the_first_promotion_nothing_is_served(registry: Registry) -> None:
    assert registry.current() == Current(None, 0)
    assert registry.generation() == 0


def test_a_promotion_is_what_is_served_and_remembers_what_was(registry: Registry) -> None:
    registry.promote("v1", "t1", registry.current())
    registry.promote("v2", "t2", registry.current())
    pointer = registry.current().pointer
    assert pointer is not None
    assert (pointer.version, pointer.table, pointer.previous, pointer.epoch) == ("v2", "t2", "v1", 0)
    assert registry.current().generation == registry.generation() > 0


def test_of_two_promotions_decided_on_the_same_pointer_one_is_refused(registry: Registry) -> None:
    since = registry.current()
    with ThreadPoolExecutor(2) as pool:
        tries = [pool.submit(registry.promote, f"v{n}", "t", since) for n in range(2)]
    refused = [t.exception() for t in tries if t.exception()]
    assert [type(e) for e in refused] == [Conflict]
    pointer = registry.current().pointer
    assert pointer is not None
    assert pointer == next(t.result() for t in tries if not t.exception())


def test_a_promotion_decided_before_another_persons_does_not_overwrite_it(registry: Registry) -> None:
    registry.promote("v1", "t", registry.current())
    since = registry.current()
    registry.promote("rolled-back", "t", since)
    with pytest.raises(Conflict):
        registry.promote("v2", "t", since)
    assert registry.current().pointer.version == "rolled-back"  # type: ignore[union-attr]


def test_a_promotion_that_storage_did_not_take_leaves_the_old_version(bucket: FakeBucket, registry: Registry) -> None:
    registry.promote("v1", "t", registry.current())
    bucket.fail("replace")
    with pytest.raises(Unavailable):
        registry.promote("v2", "t", registry.current())
    assert registry.current().pointer.version == "v1"  # type: ignore[union-attr]


@pytest.mark.parametrize("garbage", [b"", b"{}", b"null", b'{"version": 5}', b" " * (SMALL + 1)])
def test_a_corrupt_pointer_is_refused_and_not_taken_for_an_empty_registry(
    bucket: FakeBucket, registry: Registry, garbage: bytes
) -> None:
    bucket.put(CURRENT, garbage)
    with pytest.raises(ArtifactError):
        registry.current()


def test_a_pointer_with_a_flipped_bit_in_its_text_is_refused(bucket: FakeBucket, registry: Registry) -> None:
    registry.promote("v1", "t", registry.current())
    bucket.put(CURRENT, bucket.read(CURRENT).replace(b'"v1"', b'"\xf61"'))
    with pytest.raises(ArtifactError):
        registry.current()


def test_a_version_is_published_once_and_the_first_one_stands(registry: Registry) -> None:
    first = registry.publish(manifest("v1", rows=1))
    second = registry.publish(manifest("v1", rows=2))
    assert second == first == registry.manifest("v1")


def test_the_first_verdict_on_a_version_stands(registry: Registry) -> None:
    first = registry.judge(report("v1", passed=False))
    assert registry.judge(report("v1", passed=True)) == first == registry.report("v1")


def test_a_version_that_does_not_exist_is_not_found(registry: Registry) -> None:
    with pytest.raises(NotFound):
        registry.manifest("v1")
    with pytest.raises(NotFound):
        registry.report("v1")


def test_a_manifest_that_stands_in_anothers_place_is_refused(bucket: FakeBucket, registry: Registry) -> None:
    bucket.put("versions/v2/manifest.json", msgspec.json.encode(manifest("v1")))
    with pytest.raises(ArtifactError, match="says it is v1"):
        registry.manifest("v2")


def test_a_manifest_as_large_as_a_model_is_refused_unparsed(bucket: FakeBucket, registry: Registry) -> None:
    bucket.put("versions/v1/manifest.json", msgspec.json.encode(manifest("v1")) + b" " * SMALL)
    with pytest.raises(ArtifactError, match="none of ours"):
        registry.manifest("v1")


def test_an_artifact_comes_back_as_it_was_stored(registry: Registry) -> None:
    artifact = registry.add_artifact("v1", "model", ".onnx", b"weights")
    assert registry.read_artifact(artifact) == b"weights"
    assert artifact.name.startswith("versions/v1/model-")
    assert artifact.sha256[:16] in artifact.name


@pytest.mark.parametrize(("payload", "says"), [(b"weightS", "hash"), (b"weigh", "bytes"), (b"weights" * 9, "bytes")])
def test_a_flipped_truncated_or_swollen_artifact_is_refused(
    bucket: FakeBucket, registry: Registry, payload: bytes, says: str
) -> None:
    artifact = registry.add_artifact("v1", "model", ".onnx", b"weights")
    bucket.put(artifact.name, payload)
    with pytest.raises(ArtifactError, match=says):
        registry.read_artifact(artifact)


def test_a_swollen_artifact_is_refused_before_it_is_downloaded(bucket: FakeBucket, registry: Registry) -> None:
    artifact = registry.add_artifact("v1", "model", ".onnx", b"weights")
    bucket.put(artifact.name, b"bomb" * 1000)
    bucket.fail("read", AssertionError("it was downloaded"))
    with pytest.raises(ArtifactError):
        registry.read_artifact(artifact)


def test_an_artifact_that_is_gone_is_refused_by_name(bucket: FakeBucket, registry: Registry) -> None:
    artifact = registry.add_artifact("v1", "model", ".onnx", b"weights")
    bucket.delete(artifact.name)
    with pytest.raises(ArtifactError, match=r"model-.*gone"):
        registry.read_artifact(artifact)


def test_versions_are_told_oldest_first_and_those_without_a_manifest_do_not_exist(registry: Registry) -> None:
    registry.add_artifact("v0", "model", ".onnx", b"never finished")
    for version in ("v2", "v1"):
        registry.publish(manifest(version))
    registry.judge(report("v2", passed=True))
    told = registry.versions()
    assert [(m.version, r.passed if r else None) for m, r in told] == [("v1", None), ("v2", True)]
