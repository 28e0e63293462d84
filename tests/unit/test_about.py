# SPDX-License-Identifier: Apache-2.0
"""What the predict function says of itself, and of each request in the log."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from doors import Door
from fakes import Shelf, eventually
from prometheus_client.parser import text_string_to_metric_families

from dropfit.errors import Unavailable
from dropfit.pointer import CURRENT

GOOD = {"leaf": "assam", "cup": "small", "minutes": 3}
NEW = {**GOOD, "minutes": 3.25}


def samples(door: Door) -> dict[tuple[str, ...], float]:
    """Each sample by name and the values of its labels."""
    status, text, reply = door.ask(path="/metrics", method="GET")
    assert status == 200
    assert reply.content_type.startswith("text/plain")
    return {
        (sample.name, *sample.labels.values()): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def told(door: Door) -> Any:
    """The body of /ready."""
    return door.ask(path="/ready", method="GET")[1]


def test_it_is_ready_as_soon_as_a_version_is_loaded_and_not_before(closed: Door, shelf: Shelf) -> None:
    status, document, reply = closed.ask(path="/ready", method="GET")
    assert (status, document["code"]) == (503, "UNAVAILABLE")
    assert "promoted" in document["detail"]
    assert reply.headers["Retry-After"]
    for stored in shelf.bucket.list():
        closed.bucket.create(stored.name, shelf.bucket.read(stored.name), stored.metadata)
    assert closed.ask(path="/ready", method="GET")[:2] == (200, {"status": "ready", "version": "v1"})


def test_a_broken_newer_version_leaves_it_ready_and_says_why_it_is_not_served(door: Door, shelf: Shelf) -> None:
    door.ask(path="/ready", method="GET")
    door.bucket.put(CURRENT, door.bucket.read(CURRENT).replace(b'"v1"', b'"v9"', 1))
    document = eventually(lambda: told(door) if "trouble" in told(door) else None)
    assert door.ask(path="/ready", method="GET")[0] == 200
    assert document["version"] == "v1"
    assert "v9" in document["trouble"]
    assert door.ask({"instances": [GOOD]})[0] == 200


@pytest.mark.parametrize("damage", ["down", "corrupt", "gone"])
def test_a_pointer_that_cannot_be_read_for_too_long_is_told_while_the_loaded_version_serves_on(
    shelf: Shelf, opened: Callable[..., Door], damage: str
) -> None:
    door = opened(shelf.bucket.copy(), ready_seconds=1e-6)
    assert door.ask(path="/ready", method="GET")[0] == 200
    if damage == "down":
        door.bucket.fail("stat", Unavailable("503"), times=1000)
    elif damage == "corrupt":
        door.bucket.put(CURRENT, b"{")
    else:
        door.bucket.delete(CURRENT)
    document = eventually(lambda: told(door) if "detail" in told(door) else None)
    assert document["status"] == 503
    assert "pointer has not been readable" in document["detail"]
    assert door.ask({"instances": [GOOD]})[0] == 200


def test_the_metrics_count_requests_sources_rules_and_steps_by_name(
    shelf: Shelf, opened: Callable[..., Door]
) -> None:
    door = opened(shelf.bucket.copy(), mode="hybrid")
    door.ask({"instances": [GOOD, NEW, {**GOOD, "leaf": "rooibos"}]})
    door.ask({"instances": [{}]})
    door.ask(path="/nothing")
    found = samples(door)
    assert found["dropfit_requests_total", "/predict", "200"] == 1
    assert found["dropfit_requests_total", "/predict", "400"] == 1
    assert found["dropfit_requests_total", "other", "404"] == 1
    for source in ("table", "model", "backoff"):
        assert found["dropfit_predictions_total", source] == 1
    assert found["dropfit_steps_total", "model: unseen leaf"] == 1
    assert found["dropfit_request_seconds_count", "/predict"] == 2
    (info,) = [labels for labels in found if labels[0] == "dropfit_model_info"]
    assert set(info[1:]) == {"v1", "tea", "hybrid", "onnxruntime"}
    assert found["dropfit_ready",] == 1
    assert found["dropfit_model_cost_seconds", "row"] > 0


def test_before_the_first_version_the_metrics_and_the_document_are_there_already(closed: Door) -> None:
    assert samples(closed)["dropfit_ready",] == 0
    status, document, _ = closed.ask(path="/openapi.json", method="GET")
    assert status == 200
    assert document["components"]["schemas"]["Instance"]["required"] == ["leaf"]


def test_the_documents_own_example_is_answered(door: Door) -> None:
    _, document, _ = door.ask(path="/openapi.json", method="GET")
    (example,) = document["components"]["schemas"]["Instance"]["examples"]
    status, reply, _ = door.ask({"instances": [example]})
    assert (status, reply["predictions"][0]["source"]) == (200, "model")


def test_the_document_follows_the_served_version(closed: Door, shelf: Shelf) -> None:
    before = closed.ask(path="/openapi.json", method="GET")[1]["info"]["version"]
    for stored in shelf.bucket.list():
        closed.bucket.create(stored.name, shelf.bucket.read(stored.name), stored.metadata)
    after = [closed.ask(path="/openapi.json", method="GET")[1]["info"]["version"] for _ in range(2)]
    assert [before, *after] == ["none yet", "v1", "v1"]


def test_each_prediction_request_is_one_line_with_what_was_asked_and_answered(door: Door) -> None:
    trace = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
    _, reply, _ = door.ask({"instances": [GOOD, NEW]}, traceparent=trace)
    door.ask({"instances": [{}]})
    door.ask(path="/model", method="GET")
    answered, refused = door.logged()
    assert answered["request"]["instances"] == [GOOD, NEW]
    assert answered["response"] == reply
    assert (answered["status"], answered["instance_count"], answered["mode"]) == (200, 2, "dynamic")
    assert answered["logging.googleapis.com/trace"].endswith("4bf92f3577b34da6a3ce929d0e0e4736")
    assert (refused["status"], refused["severity"], refused["request"]) == (400, "WARNING", None)


def test_nothing_is_logged_where_nobody_wants_it(shelf: Shelf, opened: Callable[..., Door]) -> None:
    door = opened(shelf.bucket.copy(), log_share=0.0)
    door.ask({"instances": [GOOD]})
    assert door.logged() == []


@pytest.mark.parametrize("asked", ["0", "-1", "nan", "inf", "soon", "1e9", "0.5", ""])
def test_a_deadline_that_is_none_is_a_400_that_names_the_header(door: Door, asked: str) -> None:
    status, document, _ = door.ask({"instances": [GOOD]}, **{"x-deadline-ms": asked or " "})
    assert status == 400
    assert [e["field"] for e in document["errors"]] == ["X-Deadline-Ms"]


def test_a_request_may_ask_for_another_deadline(door: Door) -> None:
    assert door.ask({"instances": [GOOD]}, **{"x-deadline-ms": "2500.5"})[0] == 200


def test_when_no_instance_has_an_answer_the_status_says_so_and_else_each_says_it_for_itself(
    shelf: Shelf, opened: Callable[..., Door]
) -> None:
    door = opened(shelf.bucket.copy(), mode="static", miss="error")
    status, document, _ = door.ask({"instances": [NEW]})
    assert (status, document["code"]) == (404, "NOT_FOUND")
    assert [e["field"] for e in document["errors"]] == ["instances[0]"]
    status, document, _ = door.ask({"instances": [NEW, GOOD]})
    assert status == 200
    failed, hit = document["predictions"]
    assert failed["error"] == {"code": 404, "status": "NOT_FOUND", "message": failed["error"]["message"]}
    assert (failed["value"], failed["source"], hit["source"]) == (None, "none", "table")


def test_a_snapshot_that_is_not_what_the_pointer_says_is_never_opened(
    shelf: Shelf, opened: Callable[..., Door]
) -> None:
    bucket = shelf.bucket.copy()
    (name,) = [stored.name for stored in bucket.list() if "/snapshot-" in stored.name]
    payload = bytearray(bucket.read(name))
    payload[len(payload) // 2] ^= 1
    bucket.rot(name, bytes(payload))
    status, document, _ = opened(bucket, mode="hybrid").ask({"instances": [GOOD]})
    assert status == 503
    assert name in document["detail"]


def test_a_packed_body_is_refused_as_such(door: Door) -> None:
    status, document, _ = door.ask({"instances": [GOOD]}, **{"content-encoding": "gzip"})
    assert status == 415
    assert "Content-Encoding" in document["detail"]
    assert door.ask({"instances": [GOOD]}, **{"content-encoding": "identity"})[0] == 200
