# SPDX-License-Identifier: Apache-2.0
"""Versions are immutable, the pointer is swapped whole, and nothing is parsed before it is proven ours."""

from __future__ import annotations

import datetime as dt
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import msgspec
import pytest
from fake_bucket import FakeBucket
from fakes import completed, manifest

from dropfit import artifacts, documents
from dropfit.documents import SMALL
from dropfit.encoding import sha256
from dropfit.errors import ArtifactError, Conflict, NotFound, Unavailable
from dropfit.manifest import Artifact
from dropfit.pointer import CURRENT, Current
from dropfit.registry import Registry
from dropfit.verdict import Report


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
    payload = documents.encode(manifest("v1"))
    bucket.create("versions/v2/manifest.json", payload, {artifacts.SEAL: sha256(payload)})
    with pytest.raises(ArtifactError, match="says it is v1"):
        registry.manifest("v2")


def test_a_manifest_that_is_not_the_one_pointed_at_is_refused(bucket: FakeBucket, registry: Registry) -> None:
    registry.publish(manifest("v1"))
    seal = registry.seal("v1")
    assert registry.manifest("v1", seal).version == "v1"
    bucket.put("versions/v1/manifest.json", msgspec.json.encode(manifest("v1", rows=7)))
    with pytest.raises(ArtifactError, match="hash"):
        registry.manifest("v1", seal)


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


def test_a_file_comes_back_as_it_was_stored_under_a_new_name_each_time(registry: Registry, tmp_path: Path) -> None:
    (tmp_path / "made.head").write_bytes(b"rows" * 1000)
    artifact = registry.add_file("v1", "snapshot", tmp_path / "made.head")
    assert artifact == registry.add_artifact("v1", "snapshot", ".head", b"rows" * 1000)
    first, second = (registry.fetch_artifact(artifact, tmp_path) for _ in range(2))
    assert first != second
    assert first.read_bytes() == second.read_bytes() == b"rows" * 1000
    registry.prove_artifact(artifact)


def _flip(bucket: FakeBucket, name: str) -> None:
    bucket.rot(name, b"X" + bucket.read(name)[1:])


SPOIL: dict[str, Any] = {
    "flipped": _flip,
    "cut": lambda bucket, name: bucket.put(name, bucket.read(name)[:-1]),
    "cut unseen": lambda bucket, name: bucket.rot(name, bucket.read(name)[:-1]),
    "swollen": lambda bucket, name: bucket.put(name, bucket.read(name) * 2),
    "swollen unseen": lambda bucket, name: bucket.rot(name, bucket.read(name) * 2),
    "gone": lambda bucket, name: bucket.delete(name),
    "gone after a look": lambda bucket, name: (
        bucket.fail("download", NotFound("")),
        bucket.fail("open", NotFound("")),
    ),
}


@pytest.mark.parametrize("spoil", SPOIL)
def test_a_file_that_is_not_as_declared_is_refused_and_removed(
    bucket: FakeBucket, registry: Registry, tmp_path: Path, spoil: str
) -> None:
    artifact = registry.add_artifact("v1", "snapshot", ".head", b"rows" * 1000)
    SPOIL[spoil](bucket, artifact.name)
    with pytest.raises(ArtifactError):
        registry.fetch_artifact(artifact, tmp_path)
    with pytest.raises(ArtifactError):
        registry.prove_artifact(artifact)
    assert list(tmp_path.iterdir()) == []


def test_a_file_is_removed_when_storage_breaks_off(bucket: FakeBucket, registry: Registry, tmp_path: Path) -> None:
    artifact = registry.add_artifact("v1", "snapshot", ".head", b"rows")
    bucket.fail("download")
    with pytest.raises(Unavailable):
        registry.fetch_artifact(artifact, tmp_path)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "name", ["current.json", "versions/v1/../v2/a.head", "versions/../a.head", "versions//a.head", "versions/v1/"]
)
def test_a_file_outside_any_versions_folder_is_not_asked_for(
    bucket: FakeBucket, registry: Registry, tmp_path: Path, name: str
) -> None:
    bucket.put(name, b"rows")
    bucket.fail("stat", AssertionError("it was asked for"))
    with pytest.raises(ArtifactError, match="not its own"):
        registry.fetch_artifact(Artifact(name, 4, sha256(b"rows")), tmp_path)


def test_a_versions_table_mark_may_not_name_another_versions_snapshot(bucket: FakeBucket, registry: Registry) -> None:
    registry.complete(completed("v1", "t1", 3, registry.add_artifact("v2", "snapshot", ".head", b"rows"), 3, 0))
    with pytest.raises(ArtifactError, match="not its own"):
        registry.completed("v1")


def test_versions_are_told_oldest_first_and_those_without_a_manifest_do_not_exist(registry: Registry) -> None:
    registry.add_artifact("v0", "model", ".onnx", b"never finished")
    for version in ("v2", "v1"):
        registry.publish(manifest(version))
    registry.judge(report("v2", passed=True))
    told = registry.versions()
    assert [(m.version, r.passed if r else None) for m, r in told] == [("v1", None), ("v2", True)]


@pytest.mark.parametrize(
    "name",
    ["versions/v2/model.onnx", "versions/v1/../v2/model.onnx", "current.json", "versions/v1/", "/versions/v1/x", "x"],
)
@pytest.mark.parametrize("role", ["model", "encoding", "probe", "trial", "trial_encoding"])
def test_a_manifest_that_names_a_file_outside_its_own_folder_is_refused(
    registry: Registry, role: str, name: str
) -> None:
    registry.publish(manifest("v1", **{role: Artifact(name, 1, "0" * 64)}))
    with pytest.raises(ArtifactError, match="not its own"):
        registry.manifest("v1")


@pytest.mark.parametrize("version", ["", "../v1", "v1/..", "v1/manifest.json", "v1\n", "x" * 200, "."])
def test_an_id_that_leads_elsewhere_is_no_versions_name(registry: Registry, version: str) -> None:
    for ask in (registry.manifest, registry.seal):
        with pytest.raises(NotFound):
            ask(version)


def test_an_artifact_bomb_is_refused_by_its_declared_size_without_a_request(
    bucket: FakeBucket, registry: Registry
) -> None:
    artifact = Artifact("versions/v1/model-x.onnx", artifacts.MAX_ARTIFACT + 1, "0" * 64)
    for method in ("stat", "read", "fetch"):
        bucket.fail(method, AssertionError("storage was asked"))
    with pytest.raises(ArtifactError, match="declares 1,073,741,825 bytes"):
        registry.read_artifact(artifact)


def test_what_could_not_be_read_again_is_not_stored(
    bucket: FakeBucket, registry: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(artifacts, "MAX_ARTIFACT", 3)
    with pytest.raises(ArtifactError, match="larger"):
        registry.add_artifact("v1", "model", ".onnx", b"1234")
    assert not list(bucket.list())
