# SPDX-License-Identifier: Apache-2.0
"""What a person names as input is found, each file once, and read as it was planned or not at all."""

from __future__ import annotations

import os
from pathlib import Path

import fakes
import pytest
from fake_bucket import FakeBucket

from beam_pipelines import sources
from beam_pipelines.sources import Source
from dropfit.errors import BadFile, Conflict, NotFound

SETTINGS = fakes.settings()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in ("b.csv", "a.csv", "deep/c.csv", ".hidden.csv", "deep/.cache/d.csv", "note.txt"):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("leaf,minutes\nassam,5\n")
    return tmp_path


@pytest.fixture
def bucket(monkeypatch: pytest.MonkeyPatch) -> FakeBucket:
    there = FakeBucket("lake")
    there.uri = lambda name: f"gs://lake/{name}"  # type: ignore[method-assign, misc]
    monkeypatch.setattr(sources.storage, "bucket", lambda settings, name: there)
    for name in ("in/b.csv", "in/a.csv", "in/deep/c.csv", "in/deep/", "in/d.txt", "odd[1].csv"):
        there.put(name, b"leaf,minutes\nassam,5\n" if not name.endswith("/") else b"")
    return there


def names(found: list[Source], under: Path) -> list[str]:
    return [str(Path(source.uri).relative_to(under.resolve())) for source in found]


def test_files_folders_and_patterns_are_found_each_once(folder: Path) -> None:
    def found(*inputs: str) -> list[str]:
        return names(sources.expand(SETTINGS, [str(folder / each) for each in inputs]), folder)

    assert found("b.csv", "a.csv", "b.csv") == ["b.csv", "a.csv"]
    assert found("*.csv") == ["a.csv", "b.csv"]
    assert found("**/*.csv") == ["a.csv", "b.csv", "deep/c.csv"]
    assert found(".") == ["a.csv", "b.csv", "deep/c.csv", "note.txt"]
    assert found("b.csv", ".") == ["b.csv", "a.csv", "deep/c.csv", "note.txt"]


def test_objects_prefixes_and_patterns_are_found_each_once(bucket: FakeBucket) -> None:
    def found(*inputs: str) -> list[str]:
        return [source.uri.removeprefix("gs://lake/") for source in sources.expand(SETTINGS, inputs)]

    assert found("gs://lake/in/b.csv", "gs://lake/in/*.csv") == ["in/b.csv", "in/a.csv", "in/deep/c.csv"]
    assert found("gs://lake/in/") == ["in/a.csv", "in/b.csv", "in/d.txt", "in/deep/c.csv"]
    assert found("gs://lake/in/?.csv") == ["in/a.csv", "in/b.csv"]
    assert found("gs://lake/odd[1].csv") == ["odd[1].csv"]
    assert len(found("gs://lake")) == 5


def test_what_matches_nothing_is_named(folder: Path, bucket: FakeBucket) -> None:
    with pytest.raises(NotFound) as refusal:
        sources.expand(SETTINGS, [str(folder / "a.csv"), "gs://lake/no*", "gs://lake/in/z", "nowhere/*.csv"])
    assert str(refusal.value).endswith(": gs://lake/no*, gs://lake/in/z, nowhere/*.csv")
    with pytest.raises(NotFound, match="no input was named"):
        sources.expand(SETTINGS, [])


def test_a_file_that_was_written_since_is_not_read(folder: Path) -> None:
    path = folder / "a.csv"
    (source,) = sources.expand(SETTINGS, [str(path)])
    (split,) = sources.plan(SETTINGS, [source])
    with sources.opened(SETTINGS, split) as stream:
        assert stream.read(4) == b"leaf"
    os.utime(path, ns=(1, source.generation + 1))
    with pytest.raises(Conflict, match="was written since"), sources.opened(SETTINGS, split):
        pass
    path.unlink()
    with pytest.raises(NotFound, match="does not exist"), sources.opened(SETTINGS, split):
        pass


def test_an_object_is_read_in_the_generation_that_was_planned(bucket: FakeBucket) -> None:
    splits = sources.plan(SETTINGS, sources.expand(SETTINGS, ["gs://lake/in/*.csv"]))
    assert [split.number for split in splits] == [0, 1, 2]
    bucket.put("in/a.csv", b"leaf,minutes\n")
    with pytest.raises(NotFound), sources.opened(SETTINGS, splits[0]):
        pass


def test_a_file_that_cannot_be_used_is_named(folder: Path) -> None:
    (folder / "a.csv").write_bytes(b"PK\x03\x04")
    with pytest.raises(BadFile, match=r"a\.csv: it is a zip archive"):
        sources.plan(SETTINGS, sources.expand(SETTINGS, [str(folder / "a.csv")]))


@pytest.mark.parametrize(
    ("text", "is_one"),
    [("bq://p.d.t", True), ("select 1", True), (" WITH x AS (SELECT 1)\nSELECT", True), ("selected.csv", False)],
)
def test_tables_and_queries_are_told_from_files(text: str, is_one: bool) -> None:
    assert sources.is_bigquery(text) is is_one
