# SPDX-License-Identifier: Apache-2.0
"""What each request is answered, from a real model's version, without a web server."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec
import numpy as np
import pytest
from doors import Door
from fakes import Shelf, shelve

from dropfit import export, version
from dropfit.contract import Label
from dropfit.pointer import CURRENT
from dropfit.registry import Registry
from dropfit.replies import problem_json
from dropfit.serving import METHODS

GOOD: dict[str, Any] = {"leaf": "assam", "cup": "small", "minutes": 3}
VERDICT = Label(name="verdict", values=("awful", "fair", "good", "never given"))


def test_a_prediction_names_value_source_policy_and_version(door: Door, shelf: Shelf) -> None:
    status, document, _ = door.ask({"instances": [GOOD, {**GOOD, "minutes": None}]})
    assert status == 200
    assert document["model_version"] == "v1"
    assert [set(p) for p in document["predictions"]] == [{"value", "source", "policy"}] * 2
    assert all(0 <= p["value"] <= 1 and p["source"] == "model" and p["policy"] == [] for p in document["predictions"])


def test_http_predicts_what_the_versions_scorer_predicts(door: Door, shelf: Shelf) -> None:
    rows = shelf.rows
    names = ("leaf", "cup", "minutes", "warmth")
    cells = zip(*(rows[n].tolist() for n in names), strict=True)
    instances = [{n: v for n, v in zip(names, row, strict=True) if v is not None and v == v} for row in cells]
    _, document, _ = door.ask({"instances": instances})
    expected = version.load(door.registry, shelf.problem, "v1").scorer.score(rows).values
    assert [p["value"] for p in document["predictions"]] == expected.tolist()


def test_a_feature_that_others_determine_may_be_left_out(door: Door) -> None:
    _, without, _ = door.ask({"instances": [GOOD]})
    _, given, _ = door.ask({"instances": [{**GOOD, "warmth": 60}]})
    assert without["predictions"] == given["predictions"]


def test_a_label_is_answered_with_the_probability_of_each_name(opened: Callable[..., Door]) -> None:
    shelf = shelve(VERDICT)
    _, document, _ = opened(shelf.bucket, shelf.problem).ask({"instances": [GOOD, {**GOOD, "minutes": 9}]})
    for prediction in document["predictions"]:
        shares = prediction["probabilities"]
        assert list(shares) == ["awful", "fair", "good"]
        assert sum(shares.values()) == pytest.approx(1)
        assert prediction["value"] == max(shares, key=shares.get)


def test_every_wrong_field_is_named_in_one_reply(door: Door) -> None:
    status, document, _ = door.ask({"instances": [GOOD, {"leaf": "", "cup": "bucket", "minutes": 61, "sugar": 1}, 5]})
    assert status == 400
    assert {e["field"] for e in document["errors"]} == {
        "instances[1].leaf",
        "instances[1].cup",
        "instances[1].minutes",
        "instances[1].sugar",
        "instances[2]",
    }
    assert all(e["detail"] for e in document["errors"])


@pytest.mark.parametrize("body", [b"", b"{", b"\xff", b"[]", b'{"instances": []}', b"[" * 100_000])
def test_a_body_that_is_no_request_is_a_400(door: Door, body: bytes) -> None:
    assert door.ask(body)[0] == 400


def test_too_many_instances_are_a_413(shelf: Shelf, opened: Callable[..., Door]) -> None:
    door = opened(shelf.bucket.copy(), max_instances=3)
    assert door.ask({"instances": [GOOD] * 3})[0] == 200
    status, document, _ = door.ask({"instances": [GOOD] * 4})
    assert status == 413
    assert "at most 3" in document["detail"]


@pytest.mark.parametrize(
    "content_type", ["text/csv", "application/x-www-form-urlencoded", "multipart/form-data; x=y"]
)
def test_another_content_type_is_a_415(door: Door, content_type: str) -> None:
    status, document, _ = door.ask({"instances": [GOOD]}, content_type=content_type)
    assert status == 415
    assert "application/json" in document["detail"]


@pytest.mark.parametrize("content_type", ["", "application/json; charset=utf-8", "Application/JSON"])
def test_json_is_taken_however_its_type_is_written(door: Door, content_type: str) -> None:
    assert door.ask({"instances": [GOOD]}, content_type=content_type)[0] == 200


@pytest.mark.parametrize("path", ["/nothing", "/predict/", "/healthz", "", "/../model"])
def test_another_path_is_a_404_that_says_what_there_is(door: Door, path: str) -> None:
    status, document, _ = door.ask({"instances": [GOOD]}, path=path)
    assert status == 404
    assert "POST /predict" in document["detail"]


@pytest.mark.parametrize("path", list(METHODS))
@pytest.mark.parametrize("method", ["GET", "POST", "PUT", "DELETE", "PATCH", "HEAD"])
def test_another_method_is_a_405_with_the_one_that_is_allowed(door: Door, path: str, method: str) -> None:
    allowed = METHODS[path]
    status, _, reply = door.ask({"instances": [GOOD]}, path=path, method=method)
    if method == allowed or (method == "HEAD" and allowed == "GET"):
        assert status == 200
    else:
        assert (status, reply.headers) == (405, {"Allow": "GET, HEAD" if allowed == "GET" else allowed})


@pytest.mark.parametrize(("path", "method"), [("/predict", "POST"), ("/", "POST"), ("/model", "GET")])
def test_before_the_first_model_the_answer_is_503_and_what_to_do(closed: Door, path: str, method: str) -> None:
    status, document, reply = closed.ask({"instances": [GOOD]}, path=path, method=method)
    assert status == 503
    assert "upload a data file" in document["detail"]
    assert "landing" in document["detail"]
    assert int(reply.headers["Retry-After"]) > 0


def test_it_is_healthy_before_the_first_model(closed: Door) -> None:
    assert closed.ask(path="/health", method="GET")[:2] == (200, {"status": "ok"})


def test_the_first_model_is_served_without_a_restart(closed: Door, shelf: Shelf) -> None:
    assert closed.ask({"instances": [GOOD]})[0] == 503
    for stored in shelf.bucket.list():
        closed.bucket.create(stored.name, shelf.bucket.read(stored.name), stored.metadata)
    assert closed.ask({"instances": [GOOD]})[0] == 200


def test_a_first_model_that_is_broken_is_a_503_that_says_why(shelf: Shelf, opened: Callable[..., Door]) -> None:
    bucket = shelf.bucket.copy()
    bucket.put(shelf.manifest.model.name, b"flipped")
    status, document, _ = opened(bucket).ask({"instances": [GOOD]})
    assert status == 503
    assert "cannot be served" in document["detail"] or "can be served" in document["detail"]
    assert shelf.manifest.model.name in document["detail"]


def test_with_storage_down_before_the_first_look_the_answer_is_a_clear_503(
    shelf: Shelf, opened: Callable[..., Door]
) -> None:
    door = opened(shelf.bucket.copy())
    door.bucket.fail("stat")
    status, document, _ = door.ask({"instances": [GOOD]})
    assert status == 503
    assert "storage does not answer" in document["detail"]


@pytest.mark.parametrize("damage", ["storage down", "pointer corrupt", "pointer to nothing"])
def test_once_a_version_serves_it_goes_on_whatever_happens_to_storage(door: Door, damage: str) -> None:
    _, before, _ = door.ask({"instances": [GOOD]})
    if damage == "storage down":
        door.bucket.fail("stat", times=1000)
    elif damage == "pointer corrupt":
        door.bucket.put(CURRENT, b"{")
    else:
        door.bucket.put(CURRENT, door.bucket.read(CURRENT).replace(b'"v1"', b'"v9"'))
    for _ in range(3):
        status, after, _ = door.ask({"instances": [GOOD]})
        assert (status, after) == (200, before)


def test_a_version_that_cannot_predict_is_found_out_before_it_is_served(
    shelf: Shelf, opened: Callable[..., Door]
) -> None:
    from sklearn.linear_model import LogisticRegression

    narrow = LogisticRegression().fit(np.eye(3), [0, 1, 1])  # the contract has five inputs
    bucket = shelf.bucket.copy()
    registry = Registry(bucket)  # type: ignore[arg-type]
    model = registry.add_artifact("v1", "model", ".onnx", export.to_onnx(narrow, 3))
    bucket.delete("versions/v1/manifest.json")
    registry.publish(msgspec.structs.replace(shelf.manifest, model=model, probe=None))
    status, reply, _ = opened(bucket).ask({"instances": [GOOD]})
    assert status == 503
    assert "No version can be served" in reply["detail"]


def test_the_model_card_says_what_is_served_how_good_it_is_and_what_a_request_holds(door: Door, shelf: Shelf) -> None:
    status, card, _ = door.ask(path="/model", method="GET")
    assert status == 200
    assert (card["version"], card["problem"], card["table"]) == ("v1", "tea", "predictions__v1")
    assert card["metrics"] == shelf.manifest.metrics
    assert card["target"] == "drunk"
    assert [f["name"] for f in card["features"]] == ["leaf", "cup", "minutes", "warmth"]
    leaf, cup, minutes, warmth = card["features"]
    assert leaf["required"]
    assert leaf["known"] == ["assam", "earl grey", "sencha"]
    assert cup["values"] == ["small", "large"]
    assert (minutes["minimum"], minutes["maximum"], minutes["required"]) == (0, 60, False)
    assert (warmth["given_by"], warmth["required"]) == (["leaf"], False)


@pytest.mark.parametrize(
    ("status", "code"),
    [
        (400, "INVALID_ARGUMENT"),
        (404, "NOT_FOUND"),
        (405, "UNIMPLEMENTED"),
        (408, "DEADLINE_EXCEEDED"),
        (413, "INVALID_ARGUMENT"),
        (415, "INVALID_ARGUMENT"),
        (500, "INTERNAL"),
        (503, "UNAVAILABLE"),
        (504, "DEADLINE_EXCEEDED"),
    ],
)
def test_every_error_is_problem_json_with_googles_name_for_it(status: int, code: str) -> None:
    reply = problem_json(status, "why", {"instances[0].leaf": "missing"})
    document = msgspec.json.decode(reply.body)
    assert reply.content_type == "application/problem+json"
    assert document == {
        "type": "about:blank",
        "title": document["title"],
        "status": status,
        "detail": "why",
        "code": code,
        "errors": [{"field": "instances[0].leaf", "detail": "missing"}],
    }
