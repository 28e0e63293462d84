# SPDX-License-Identifier: Apache-2.0
"""The stand-in for Google refuses what Google does not know; else tests against it would prove nothing."""

from __future__ import annotations

from typing import Any

import pytest
from google_api import Google, NotGoogle

from dropfit.errors import NotFound, Refused
from dropfit.rest import Api

SUBSCRIPTION = "https://pubsub.googleapis.com/v1/projects/acme-dev/subscriptions/s"


@pytest.fixture
def google() -> Google:
    world = Google()
    world.things[SUBSCRIPTION] = {"name": "projects/acme-dev/subscriptions/s"}
    return world


@pytest.mark.parametrize(
    ("method", "url", "more"),
    [
        ("GET", "https://pubsub.googleapis.com/v2/projects/acme-dev/subscriptions/s", {}),
        ("PUT", SUBSCRIPTION, {}),
        ("GET", SUBSCRIPTION, {"params": {"updateMask": "labels"}}),
        ("PATCH", SUBSCRIPTION, {"json": {"deadLetterPolicy": {}}}),
        ("PATCH", SUBSCRIPTION, {"json": {"subscription": {"deadLetterPolicy": {"topic": "t"}}}}),
        ("PATCH", SUBSCRIPTION, {"json": {"subscription": {"deadLetterPolicy": {"deadLetterTopic": 7}}}}),
    ],
    ids=["version", "method", "parameter", "field", "nested field", "type"],
)
def test_what_google_does_not_know_ends_the_test(google: Google, method: str, url: str, more: dict[str, Any]) -> None:
    with pytest.raises(NotGoogle):
        Api("scope", google).send(method, url, **more)


def test_a_world_with_a_field_that_google_has_not_ends_the_test(google: Google) -> None:
    google.things[SUBSCRIPTION]["deadLetter"] = "x"
    with pytest.raises(NotGoogle, match="deadLetter"):
        Api("scope", google).get(SUBSCRIPTION)


def test_looks_are_told_from_changes(google: Google) -> None:
    api = Api("scope", google)
    api.get(SUBSCRIPTION)
    api.get(f"{SUBSCRIPTION}:getIamPolicy")
    tested = "https://cloudresourcemanager.googleapis.com/v3/projects/acme-dev:testIamPermissions"
    assert api.send("POST", tested, json={"permissions": ["run.jobs.get"]}) == {"permissions": ["run.jobs.get"]}
    assert google.written() == []
    changed = {"labels": {"a": "b"}}
    api.send("PATCH", SUBSCRIPTION, json={"subscription": changed, "updateMask": "labels"})
    assert [call.id for call in google.written()] == ["pubsub.v1.projects.subscriptions.patch"]
    assert google.things[SUBSCRIPTION]["labels"] == {"a": "b"}


def test_a_policy_that_somebody_else_changed_is_not_overwritten(google: Google) -> None:
    api = Api("scope", google)
    policy = api.get(f"{SUBSCRIPTION}:getIamPolicy")
    api.send("POST", f"{SUBSCRIPTION}:setIamPolicy", json={"policy": policy})
    with pytest.raises(Refused) as refused:
        api.send("POST", f"{SUBSCRIPTION}:setIamPolicy", json={"policy": policy})
    assert refused.value.status == 409


def test_what_is_not_there_and_what_is_switched_off_say_so_as_google_does(google: Google) -> None:
    api = Api("scope", google)
    with pytest.raises(NotFound):
        api.get(f"{SUBSCRIPTION}x")
    google.off.add("pubsub")
    with pytest.raises(Refused, match="has not been used in project") as refused:
        api.get(SUBSCRIPTION)
    assert (refused.value.status, refused.value.reason) == (403, "SERVICE_DISABLED")
