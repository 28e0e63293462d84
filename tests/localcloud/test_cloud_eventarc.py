# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import asyncio
import json
import signal
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path
from urllib.parse import unquote

import msgspec
import psutil
import pytest
from clouds import QUICK, Recorder, Start, clean_environ, eventually, publish, upload
from google.pubsub_v1.types import pubsub

from localcloud.cloud import Home, LocalCloud, Options, dead_letters, event_counts, status
from localcloud.eventarc import queue
from localcloud.eventarc.delivery import Delivery
from localcloud.eventarc.queue import Event, Queue


def eventarc(start: Start, recorder: Recorder, **options: object) -> LocalCloud:
    patience = msgspec.structs.replace(QUICK, **options)
    return start("storage", "eventarc", ports={"on_upload": recorder.port}, eventarc=patience)


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory, functions: Path) -> Iterator[tuple[LocalCloud, Recorder]]:
    """Storage and Eventarc for the tests that leave both as they were, and who receives their events."""
    recorder = Recorder()
    server = recorder.serve()
    cloud = LocalCloud(
        tmp_path_factory.mktemp("shared"),
        ports={"on_upload": recorder.port},
        environ=clean_environ(),
        services=("storage", "eventarc"),
        eventarc=QUICK,
    )
    with cloud:
        yield cloud, recorder
    server.shutdown()
    server.server_close()


@pytest.fixture
def post(shared: tuple[LocalCloud, Recorder]) -> tuple[LocalCloud, Recorder]:
    """The shared cloud, its recorder empty."""
    cloud, recorder = shared
    eventually(lambda: event_counts(cloud.home.root).pending == 0)
    recorder.requests.clear()
    return shared


def test_an_upload_arrives_in_the_shape_that_eventarc_sends(post: tuple[LocalCloud, Recorder]) -> None:
    cloud, recorder = post
    blob = upload(cloud, "flights 2013.csv", b"a,b\n1,2\n")
    headers, body = eventually(lambda: recorder.requests)[0]
    assert headers["ce-specversion"] == "1.0"
    assert headers["ce-type"] == "google.cloud.storage.object.v1.finalized"
    assert headers["ce-source"] == "//storage.googleapis.com/projects/_/buckets/dropfit-landing"
    assert headers["ce-subject"] == "objects/flights%202013.csv"
    assert headers["ce-bucket"] == "dropfit-landing"
    assert headers["ce-id"].isdecimal()
    assert abs(datetime.fromisoformat(headers["ce-time"]) - datetime.now(UTC)) < timedelta(minutes=1)
    assert headers["content-type"] == "application/json"
    data = json.loads(body)
    assert (
        data.items()
        >= {
            "kind": "storage#object",
            "id": f"dropfit-landing/flights 2013.csv/{blob.generation}",
            "name": "flights 2013.csv",
            "bucket": "dropfit-landing",
            "generation": str(blob.generation),
            "metageneration": "1",
            "size": "8",
            "contentType": "text/csv",
            "storageClass": "STANDARD",
            "md5Hash": blob.md5_hash,
            "crc32c": blob.crc32c,
        }.items()
    )
    assert data.keys() >= {"timeCreated", "updated", "etag", "selfLink", "mediaLink"}


# What the emulator can hold ...
NAMES = ["ünï ✓ 日本.csv", 'quo"te.csv', "it's.csv", "per%2Fcent%.csv", "deep/er/name.csv", ".hidden.csv"]
NAMES += ["semi;colon,comma.csv", "a" * 200, " lead and trail ", "/".join(["d" * 99] * 9), "new\nline.csv"]
# ... and what a real bucket can beside it.
SYNTHETIC = ["/leading/slash.csv", "double//slash.csv", "trailing/", "../up.csv", "ü" * 512, "x" * 1024]


def test_any_object_name_arrives_whole(post: tuple[LocalCloud, Recorder]) -> None:
    cloud, recorder = post
    for name in NAMES:
        upload(cloud, name)
    publish(cloud, *(finalized(name) for name in SYNTHETIC))
    names = NAMES + SYNTHETIC
    eventually(lambda: len(recorder.requests) == len(names))
    assert set(recorder.names()) == set(names)
    assert {unquote(headers["ce-subject"]) for headers, _ in recorder.requests} == {f"objects/{n}" for n in names}


def finalized(name: str) -> pubsub.PubsubMessage:
    """The notification of a new object of which the least is known."""
    resource = {"bucket": "dropfit-landing", "name": name, "generation": "1"}
    return pubsub.PubsubMessage(attributes={"eventType": "OBJECT_FINALIZE"}, data=json.dumps(resource).encode())


def test_every_generation_of_an_object_is_an_event_of_its_own(post: tuple[LocalCloud, Recorder]) -> None:
    cloud, recorder = post
    generations = {str(upload(cloud, "again.csv", content).generation) for content in (b"1", b"2", b"3")}
    eventually(lambda: len(recorder.requests) == 3)
    assert {json.loads(body)["generation"] for _, body in recorder.requests} == generations
    assert len({headers["ce-id"] for headers, _ in recorder.requests}) == 3


def test_only_the_landing_bucket_has_events(post: tuple[LocalCloud, Recorder]) -> None:
    cloud, recorder = post
    upload(cloud, "receipt.json", bucket="dropfit-data")
    upload(cloud, "model.onnx", bucket="dropfit-models")
    upload(cloud, "last.csv")
    eventually(lambda: recorder.requests)
    assert recorder.names() == ["last.csv"]


def test_an_event_is_delivered_again_until_it_is_taken(post: tuple[LocalCloud, Recorder]) -> None:
    cloud, recorder = post
    before = event_counts(cloud.home.root)
    recorder.statuses = [500, 404, 302, 429]
    upload(cloud, "x.csv")
    eventually(lambda: event_counts(cloud.home.root).delivered == before.delivered + 1)
    assert len(recorder.requests) == 5
    assert len({headers["ce-id"] for headers, _ in recorder.requests}) == 1
    assert event_counts(cloud.home.root) == queue.Counts(0, before.delivered + 1, 0)


def test_the_pauses_between_attempts_double_up_to_the_longest(tmp_path: Path) -> None:
    now, attempts = [1000.0], []

    async def refuse(event: Event) -> str:
        attempts.append(now[0])
        return "HTTP 503"

    async def attempt_when_due(delivery: Delivery, waiting: Queue) -> None:
        for _ in range(6):
            now[0] = waiting.next_due() or 0.0
            await delivery._deliver(waiting.due(now[0], 1)[0])

    waiting = Queue(tmp_path / "events.sqlite")
    waiting.add([Event("1", {"ce-subject": "objects/x"}, b"", received=1000.0, due=1000.0)])
    options = Options(backoff_min=10.0, backoff_max=100.0)
    delivery = Delivery(waiting, refuse, options, clock=lambda: now[0], spread=lambda: 1.0)
    asyncio.run(attempt_when_due(delivery, waiting))
    waiting.close()
    assert [later - earlier for earlier, later in pairwise(attempts)] == [10.0, 20.0, 40.0, 80.0, 100.0]


def test_a_burst_is_delivered_once_each_with_bounded_concurrency(start: Start, recorder: Recorder) -> None:
    cloud = eventarc(start, recorder, concurrency=4)
    recorder.hold.clear()
    for number in range(30):
        upload(cloud, f"{number}.csv")
    eventually(lambda: recorder.under_way == 4)
    recorder.hold.set()
    eventually(lambda: event_counts(cloud.home.root).delivered == 30)
    assert len(recorder.requests) == 30
    assert recorder.most_under_way == 4


def test_a_slow_event_does_not_hold_up_the_others(start: Start, recorder: Recorder) -> None:
    recorder.statuses = [503]
    cloud = eventarc(start, recorder, backoff_min=30.0, backoff_max=30.0)
    upload(cloud, "refused.csv")
    eventually(lambda: len(recorder.requests) == 1)
    upload(cloud, "next.csv")
    eventually(lambda: event_counts(cloud.home.root).delivered == 1)
    assert event_counts(cloud.home.root).pending == 1


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGKILL])
def test_an_undelivered_event_survives_the_end_of_eventarc(start: Start, recorder: Recorder, how: int) -> None:
    recorder.otherwise = 503
    cloud = eventarc(start, recorder)
    upload(cloud, "x.csv")
    eventually(lambda: recorder.requests)
    process = next(process for process in status(cloud.home.root) if process.name == "eventarc")
    psutil.Process(process.pid).send_signal(how)
    eventually(lambda: status(cloud.home.root)[1].exit_code is not None)
    cloud.stop()
    assert event_counts(cloud.home.root).pending == 1
    recorder.otherwise = 204
    cloud = eventarc(start, recorder)
    eventually(lambda: event_counts(cloud.home.root) == queue.Counts(pending=0, delivered=1, dead=0))


def test_after_the_retention_an_event_is_dead_and_listed(start: Start, recorder: Recorder) -> None:
    recorder.otherwise = 503
    cloud = eventarc(start, recorder, retention=3.0)
    upload(cloud, "never taken.csv")
    eventually(lambda: event_counts(cloud.home.root).dead)
    (letter,) = dead_letters(cloud.home.root)
    assert letter.subject == "objects/never%20taken.csv"
    assert letter.last_error == "HTTP 503: "
    assert letter.attempts == len(recorder.requests) >= 2
    assert letter.died - letter.received >= 3.0
    assert event_counts(cloud.home.root) == queue.Counts(pending=0, delivered=0, dead=1)


def test_a_message_that_is_no_new_object_is_acknowledged_and_dropped(post: tuple[LocalCloud, Recorder]) -> None:
    cloud, recorder = post
    ids = publish(
        cloud,
        pubsub.PubsubMessage(attributes={"eventType": "OBJECT_DELETE"}, data=b"{}"),
        pubsub.PubsubMessage(attributes={"eventType": "OBJECT_FINALIZE"}, data=b"not json"),
        pubsub.PubsubMessage(attributes={"eventType": "OBJECT_FINALIZE"}, data=b'{"name": "x"}'),
        pubsub.PubsubMessage(data=b"[]"),
        finalized("good.csv"),
    )
    assert len(set(ids)) == 5
    eventually(lambda: recorder.requests and event_counts(cloud.home.root).pending == 0)
    assert recorder.names() == ["good.csv"]
    assert recorder.requests[0][0]["ce-id"] == ids[-1]


SWEEP = """
import pathlib, threading
calls = []

def sweep(settings):
    calls.append(threading.current_thread().name)
    pathlib.Path(settings.jobs_dir, "swept").write_text(f"{len(calls)} {settings.landing_bucket} {calls[-1]}")
    if len(calls) == 1:
        raise ValueError("the first sweep fails")
"""


def test_the_sweep_is_called_again_and_again_even_after_it_failed(start: Start, tmp_path: Path) -> None:
    (tmp_path / "sweeping.py").write_text(SWEEP)
    patience = Options(sweep="sweeping:sweep", sweep_seconds=0.05)
    cloud = start("eventarc", eventarc=patience, environ=clean_environ(PYTHONPATH=str(tmp_path)))
    swept = cloud.home.logs / "swept"
    said = eventually(lambda: swept.exists() and (words := swept.read_text().split()) and int(words[0]) > 2 and words)
    assert said[1:] == ["dropfit-landing", "sweeper"]
    log = cloud.home.log("eventarc").read_text()
    assert "ValueError: the first sweep fails" in log
    assert "Traceback" in log


def test_the_queue_forgets_old_deliveries_but_counts_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(queue, "KEPT", 3)
    waiting = Queue(tmp_path / "events.sqlite")
    events = [Event(str(n), {"ce-subject": "objects/x"}, b"", received=1.0, due=1.0) for n in range(5)]
    waiting.add(events)
    waiting.add(events[:1])  # a known one changes nothing
    assert waiting.counts().pending == 5
    for event in waiting.due(now=2.0, limit=10):
        waiting.delivered(event, now=time.time())
    assert waiting.counts() == queue.Counts(pending=0, delivered=5, dead=0)
    assert waiting._db.execute("SELECT count(*) FROM delivered").fetchone() == (3,)


def test_a_home_without_a_queue_has_no_events(tmp_path: Path) -> None:
    assert event_counts(tmp_path) == queue.Counts(0, 0, 0)
    assert dead_letters(tmp_path) == []
    Home(tmp_path).events.touch()  # as it is a moment after Eventarc's start
    assert event_counts(tmp_path) == queue.Counts(0, 0, 0)
    assert dead_letters(tmp_path) == []
