# SPDX-License-Identifier: Apache-2.0
"""The trigger function, through functions-framework's own door and against the storage emulator."""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import functions_framework
import pytest

from dropfit import joblog, launch, lease, replay, storage
from dropfit.errors import Unavailable
from dropfit.receipts import Receipts, UploadedObject
from dropfit.settings import Settings
from infra.deploy.dead_letter import ATTEMPTS

SOURCE = Path(__file__).parents[2] / "functions" / "on_upload.py"
FINALIZED = "google.cloud.storage.object.v1.finalized"


class Door:
    """The function as Eventarc sees it."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.buckets = storage.connect(settings)
        self._client = functions_framework.create_app("on_upload", str(SOURCE), "cloudevent").test_client()

    def put(self, name: str = "a.csv") -> UploadedObject:
        stored = self.buckets.landing.put(name, b"x")
        return UploadedObject(stored.bucket, name, stored.generation)

    def send(self, uploaded: UploadedObject, structured: bool = False, **changes: Any) -> int:
        data = {"bucket": uploaded.bucket, "name": uploaded.name, "generation": str(uploaded.generation)}
        attributes = {
            "specversion": "1.0",
            "id": "1",
            "type": FINALIZED,
            "source": f"//storage.googleapis.com/projects/_/buckets/{uploaded.bucket}",
            "subject": f"objects/{uploaded.name}",
            "time": "2026-01-01T00:00:00Z",
        }
        attributes |= {name: value for name, value in changes.items() if name in attributes}
        data |= {name: value for name, value in changes.items() if name in ("bucket", "name", "generation")}
        if structured:
            body = json.dumps(attributes | {"datacontenttype": "application/json", "data": data})
            return self._client.post("/", data=body, content_type="application/cloudevents+json").status_code
        headers = {f"ce-{name}": value for name, value in attributes.items()}
        return self._client.post("/", json=data, headers=headers).status_code

    def post(self, body: bytes) -> int:
        return self._client.post("/", data=body, content_type="application/json").status_code

    def receipts(self) -> list[Any]:
        return Receipts(self.buckets.data).all()

    def launches(self) -> list[Path]:
        """The jobs' logs, once every job has ended (its pid file is gone)."""
        folder, deadline = Path(self.settings.jobs_dir), time.monotonic() + 120
        while list(folder.glob("*.pid")) and time.monotonic() < deadline:
            time.sleep(0.02)
        return sorted(folder.glob("*.log"))


@pytest.fixture
def door(deployment: Callable[..., Settings], monkeypatch: pytest.MonkeyPatch) -> Door:
    # A job that ends at once: what a job does is tested elsewhere, that it is started is tested here.
    monkeypatch.setattr(launch, "JOB", "platform")
    return Door(deployment())


@pytest.mark.parametrize("structured", [False, True], ids=["binary", "structured"])
def test_an_upload_leaves_a_receipt_and_launches_one_job(door: Door, structured: bool) -> None:
    uploaded = door.put()
    assert door.send(uploaded, structured) // 100 == 2
    (receipt,) = door.receipts()
    assert (receipt.object, receipt.state) == (uploaded, "received")
    (log,) = door.launches()
    assert "Linux" in log.read_text() or "macOS" in log.read_text()


def test_the_same_event_twice_leaves_one_receipt(door: Door) -> None:
    uploaded = door.put()
    assert [door.send(uploaded) // 100 for _ in range(2)] == [2, 2]
    assert len(door.receipts()) == 1


def test_a_burst_of_uploads_launches_one_job(door: Door) -> None:
    assert [door.send(door.put(f"{n}.csv")) // 100 for n in range(6)] == [2] * 6
    assert len(door.receipts()) == 6
    assert len(door.launches()) == 1


def test_an_upload_after_a_job_has_been_at_work_launches_the_next(door: Door) -> None:
    assert door.send(door.put("a.csv")) // 100 == 2
    with lease.Lease(door.buckets.data, "the launched job", 60):
        pass
    assert door.send(door.put("b.csv")) // 100 == 2
    assert len(door.launches()) == 2


def test_a_launch_that_fails_is_told_to_eventarc_and_leaves_nothing_in_the_way(
    door: Door, monkeypatch: pytest.MonkeyPatch
) -> None:
    uploaded = door.put()
    with monkeypatch.context() as patch:
        patch.setattr(launch.ProcessLauncher, "launch", lambda self: (_ for _ in ()).throw(Unavailable("no room")))
        assert door.send(uploaded) == 503
    assert door.send(uploaded) // 100 == 2
    assert len(door.launches()) == 1


def test_an_upload_whose_event_became_a_dead_letter_is_taken_in_by_a_replay(
    door: Door, monkeypatch: pytest.MonkeyPatch
) -> None:
    uploaded = door.put()

    def away(self: Receipts, uploaded: UploadedObject) -> None:
        raise Unavailable("storage does not answer")

    with monkeypatch.context() as patch:
        patch.setattr(Receipts, "register", away)
        delivered = [door.send(uploaded) for _ in range(ATTEMPTS)]  # then Pub/Sub gives it up
    assert delivered == [503] * ATTEMPTS
    assert door.receipts() == []
    done = replay.replay(door.buckets, launch.launcher(door.settings))
    assert (done.registered, [receipt.object for receipt in done.waiting]) == (1, [uploaded])
    assert len(door.launches()) == 1


def test_an_upload_whose_outcome_is_known_launches_nothing(door: Door) -> None:
    uploaded = door.put()
    receipts = Receipts(door.buckets.data)
    receipts.advance(receipts.register(uploaded)[0], state="promoted")
    assert door.send(uploaded) // 100 == 2
    assert door.launches() == []


def test_while_a_job_is_at_work_no_second_one_is_launched(door: Door) -> None:
    with lease.Lease(door.buckets.data, "another", 60):
        assert door.send(door.put()) // 100 == 2
    assert door.launches() == []
    assert [r.state for r in door.receipts()] == ["received"]


FORGED = {
    "another type": {"type": "google.cloud.storage.object.v1.deleted"},
    "another source": {"source": "//storage.googleapis.com/projects/_/buckets/somebody-elses"},
    "another bucket": {"bucket": "somebody-elses"},
    "no name": {"name": ""},
    "no generation": {"generation": "../../etc"},
}


@pytest.mark.parametrize("changes", FORGED.values(), ids=list(FORGED))
def test_an_event_that_is_not_ours_is_refused_and_changes_nothing(door: Door, changes: dict[str, str]) -> None:
    assert door.send(door.put(), **changes) == 403
    assert door.receipts() == []
    assert door.launches() == []


@pytest.mark.parametrize("body", [b"", b"{", b'"text"', b"[1]"])
def test_a_body_that_is_no_event_is_refused_and_changes_nothing(door: Door, body: bytes) -> None:
    # functions-framework itself answers 500 to JSON that is no object; the function never sees it.
    assert door.post(body) >= 400
    assert door.receipts() == []
    assert door.launches() == []


def test_a_name_of_any_kind_stays_a_name(door: Door) -> None:
    names = ["../up.csv", "ünï code.csv", "a\nb.csv", "x" * 900, "{{7*7}}", "receipts/a.json"]
    for generation, name in enumerate(names, start=1):
        uploaded = UploadedObject(door.settings.landing_bucket, name, generation)
        assert door.send(uploaded, structured=True) // 100 == 2
    assert {r.object.name for r in door.receipts()} == set(names)


def test_a_job_that_cannot_be_started_is_told_so_that_the_event_comes_again(
    door: Door, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(launch.sys, "executable", "/nowhere/python")
    assert door.send(door.put()) == 503
    assert len(door.receipts()) == 1


def test_each_event_is_logged_with_what_was_done_about_it(door: Door, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    first, second = door.put("a.csv"), door.put("b.csv")
    receipts = Receipts(door.buckets.data)
    receipts.advance(receipts.register(second)[0], state="kept")
    caplog.clear()
    for uploaded in (first, first, second):
        door.send(uploaded)
    door.send(first, type="another")
    entries = [json.loads(joblog.Entry().format(record)) for record in caplog.records]
    told = [(entry["outcome"], entry["object"]) for entry in entries if entry.get("kind") == "event"]
    assert told == [("launched", "a.csv"), ("waits", "a.csv"), ("known", "b.csv"), ("refused", "")]
