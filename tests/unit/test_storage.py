# SPDX-License-Identifier: Apache-2.0
"""dropfit.storage through the official client, against a few lines of Cloud Storage that can be told to fail."""

from __future__ import annotations

import io
from collections.abc import Iterator
from typing import Any

import pytest
from fake_bucket import FakeBucket
from gcs_server import METHODS, Gcs, calls
from google.auth.credentials import AnonymousCredentials
from google.cloud import storage as official

from dropfit import storage
from dropfit.errors import ArtifactError, Conflict, NotFound, Refused, Unavailable
from dropfit.storage import Bucket


@pytest.fixture(scope="module")
def server() -> Iterator[Gcs]:
    gcs = Gcs()
    yield gcs
    gcs.server.shutdown()
    gcs.server.server_close()


@pytest.fixture
def gcs(server: Gcs, monkeypatch: pytest.MonkeyPatch) -> Gcs:
    """An empty bucket, and retries that follow each other in a moment."""
    server.objects.clear()
    server.faults.clear()
    monkeypatch.setattr(storage, "RETRY", storage.RETRY.with_delay(initial=0.001, maximum=0.005))
    return server


@pytest.fixture
def hasty(gcs: Gcs, monkeypatch: pytest.MonkeyPatch) -> None:
    """What lasts is given up at once: for faults that pass, a busy machine may need its time."""
    monkeypatch.setattr(storage, "RETRY", storage.RETRY.with_timeout(0.08))


@pytest.fixture
def bucket(gcs: Gcs) -> Bucket:
    client = official.Client(
        project="p", credentials=AnonymousCredentials(), client_options={"api_endpoint": gcs.url}
    )
    return Bucket(client, "b")


def test_what_was_written_is_read_back_with_its_generation_and_metadata(bucket: Bucket) -> None:
    stored = bucket.create("a/b c%2F.json", b"hello", {"state": "received"})
    assert bucket.stat("a/b c%2F.json") == stored
    assert (stored.bucket, stored.name, stored.size, stored.metadata) == (
        "b",
        "a/b c%2F.json",
        5,
        {"state": "received"},
    )
    assert bucket.read(stored.name) == bucket.read(stored.name, stored.generation) == b"hello"
    assert bucket.fetch(stored.name) == (b"hello", stored.generation)
    with bucket.open(stored.name, stored.generation) as stream:
        assert stream.read() == b"hello"
    assert bucket.uri("a") == "gs://b/a"


def test_many_objects_are_read_in_the_order_of_their_names_as_given(bucket: Bucket) -> None:
    stored = {name: bucket.put(name, name.encode()) for name in map(str, range(30))}
    wanted = sorted(stored, reverse=True)
    assert bucket.fetch_all(wanted) == [(name.encode(), stored[name].generation) for name in wanted]
    assert bucket.fetch_all([]) == []


def test_a_stream_is_written_from_its_beginning(bucket: Bucket) -> None:
    stream = io.BytesIO(b"0123456789")
    stream.read()
    assert bucket.put("big", stream).size == 10
    assert bucket.read("big") == b"0123456789"


def test_an_empty_object_reads_as_empty(bucket: Bucket) -> None:
    stored = bucket.put("empty", b"")
    assert bucket.read("empty") == b""
    with bucket.open("empty", stored.generation) as stream:
        assert stream.read() == b""


def test_a_generation_is_read_in_ranges(bucket: Bucket) -> None:
    stored = bucket.put("a", b"0123456789")
    with bucket.open("a", stored.generation) as stream:
        stream.seek(-3, io.SEEK_END)
        assert stream.read() == b"789"
        stream.seek(2)
        assert stream.read(3) == b"234"


def test_a_generation_is_written_into_a_file_also_when_the_way_breaks_off(gcs: Gcs, bucket: Bucket) -> None:
    stored = bucket.put("a", b"0123456789" * 1000)
    gcs.faults = [503, 503]
    stream = io.BytesIO()
    bucket.download("a", stored.generation, stream)
    assert stream.getvalue() == b"0123456789" * 1000


def test_objects_are_listed_by_prefix_in_order_over_all_pages(bucket: Bucket) -> None:
    for name in ("x/3", "x/1", "y/1", "x/2", "x/5", "x/4"):
        bucket.put(name, b"")
    assert [s.name for s in bucket.list("x/")] == ["x/1", "x/2", "x/3", "x/4", "x/5"]
    assert len(list(bucket.list())) == 6
    assert list(bucket.list("z/")) == []


def test_an_object_is_created_only_where_there_is_none(bucket: Bucket) -> None:
    bucket.create("a", b"first")
    with pytest.raises(Conflict):
        bucket.create("a", b"second")
    assert bucket.read("a") == b"first"


def test_a_swap_succeeds_on_the_generation_it_names_and_on_no_other(bucket: Bucket) -> None:
    first = bucket.create("a", b"first")
    second = bucket.replace("a", b"second", first.generation)
    with pytest.raises(Conflict):
        bucket.replace("a", b"third", first.generation)
    assert bucket.fetch("a") == (b"second", second.generation)


def test_a_swap_whose_answer_was_lost_is_settled_by_reading_back(gcs: Gcs, bucket: Bucket) -> None:
    gcs.faults = ["lost"]  # the client writes again by itself, and is refused because of its own first write
    stored = bucket.create("a", b"mine")
    assert stored.generation == int(gcs.objects["a"][1]["generation"])
    assert bucket.read("a") == b"mine"


def test_a_swap_that_somebody_else_won_meanwhile_is_a_conflict_also_after_a_retry(gcs: Gcs, bucket: Bucket) -> None:
    first = bucket.create("a", b"first")
    bucket.replace("a", b"theirs", first.generation)
    gcs.faults = [503]
    with pytest.raises(Conflict):
        bucket.replace("a", b"mine!!", first.generation)
    assert bucket.read("a") == b"theirs"


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("status", [503, 429])
def test_a_passing_fault_is_retried_and_not_seen(gcs: Gcs, bucket: Bucket, method: str, status: int) -> None:
    stored = bucket.put("a", b"hello")
    gcs.faults = [status, status]
    calls("a", stored.generation)[method](bucket)
    assert gcs.faults == []


@pytest.mark.usefixtures("hasty")
@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize(("status", "error"), [(503, Unavailable), (403, Refused)])
def test_storage_that_stays_down_is_unavailable_and_one_that_refuses_us_has_refused(
    gcs: Gcs, bucket: Bucket, method: str, status: int, error: type[Exception]
) -> None:
    stored = bucket.put("a", b"hello")
    gcs.faults = [status] * 10_000
    with pytest.raises(error, match="gs://b/"):
        calls("a", stored.generation)[method](bucket)


@pytest.mark.usefixtures("hasty")
@pytest.mark.parametrize("method", METHODS)
def test_storage_that_cannot_be_reached_is_unavailable(gcs: Gcs, method: str) -> None:
    client = official.Client(
        project="p", credentials=AnonymousCredentials(), client_options={"api_endpoint": "http://127.0.0.1:1"}
    )
    with pytest.raises(Unavailable):
        calls("a", 1)[method](Bucket(client, "b"))


@pytest.mark.parametrize("method", ["read", "fetch", "fetch_all", "open", "download"])
def test_what_is_not_there_is_not_found(bucket: Bucket, method: str) -> None:
    with pytest.raises(NotFound, match="gs://b/a"):
        calls("a", 1)[method](bucket)


def test_a_generation_that_was_overwritten_is_not_found(bucket: Bucket) -> None:
    first = bucket.put("a", b"first")
    bucket.put("a", b"second")
    with pytest.raises(NotFound):
        bucket.read("a", first.generation)
    with pytest.raises(NotFound), bucket.open("a", first.generation) as stream:
        stream.read()
    with pytest.raises(NotFound):
        bucket.download("a", first.generation, io.BytesIO())


def test_nothing_there_is_no_error_where_that_is_an_answer(bucket: Bucket) -> None:
    assert bucket.stat("a") is None
    bucket.delete("a")
    assert list(bucket.list()) == []


def test_connecting_makes_no_call(monkeypatch: pytest.MonkeyPatch) -> None:
    from fakes import settings

    monkeypatch.setenv("STORAGE_EMULATOR_HOST", "http://127.0.0.1:1")
    buckets = storage.connect(settings())
    assert [b.name for b in buckets] == ["landing", "data", "models"]


TWINS = ["a real bucket", "the unit tests' own bucket"]


@pytest.fixture(params=TWINS)
def either(request: pytest.FixtureRequest, bucket: Bucket) -> Any:
    return bucket if request.param == TWINS[0] else FakeBucket("b")


def outcome(call: Any) -> Any:
    try:
        return call()
    except (Conflict, NotFound) as error:
        return type(error).__name__


def test_the_bucket_of_the_unit_tests_behaves_as_the_real_one(either: Any) -> None:
    first = either.create("a", b"1")
    told = [
        outcome(lambda: either.create("a", b"2")),
        outcome(lambda: either.create("a", b"1").generation == first.generation),
        outcome(lambda: either.replace("a", b"2", 7)),
        outcome(lambda: either.replace("missing", b"2", 7)),
        outcome(lambda: either.replace("a", b"2", first.generation).generation > first.generation),
        outcome(lambda: either.read("a", first.generation)),
        outcome(lambda: either.read("missing")),
        outcome(lambda: either.fetch("missing")),
        outcome(lambda: either.put("a", b"3").size),
        outcome(lambda: either.fetch("a")[0]),
        outcome(lambda: either.delete("a")),
        outcome(lambda: either.delete("a")),
        outcome(lambda: either.stat("a")),
    ]
    assert told == [
        "Conflict",
        True,
        "Conflict",
        "Conflict",
        True,
        "NotFound",
        "NotFound",
        "NotFound",
        1,
        b"3",
        None,
        None,
        None,
    ]


def test_the_bucket_of_the_unit_tests_has_every_method_of_the_real_one() -> None:
    import inspect

    for name, method in inspect.getmembers(Bucket, inspect.isfunction):
        if not name.startswith("_"):
            assert inspect.signature(getattr(FakeBucket, name)) == inspect.signature(method), name


def _download(bucket: Bucket, name: str) -> None:
    stored = bucket.stat(name)
    assert stored is not None
    bucket.download(name, stored.generation, io.BytesIO())


@pytest.mark.parametrize("read", [Bucket.read, Bucket.fetch, _download])
def test_bytes_that_are_not_those_of_their_checksum_are_refused_in_one_line(
    gcs: Gcs, bucket: Bucket, read: Any
) -> None:
    bucket.put("current.json", b'{"version": "v1"}')
    payload, resource = gcs.objects["current.json"]
    gcs.objects["current.json"] = (payload[:-4] + b'2"}\n', resource)  # changed on the disk, and not through the API
    with pytest.raises(ArtifactError, match=r"current\.json is damaged") as refused:
        read(bucket, "current.json")
    assert "\n" not in str(refused.value)
