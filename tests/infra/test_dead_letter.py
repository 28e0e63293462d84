# SPDX-License-Identifier: Apache-2.0
"""Events that cannot be delivered are kept: the trigger's own subscription is pointed at the dead-letter topic."""

from __future__ import annotations

import pytest
from google_api import Call, Fault, Google
from healthy import AGENT, ENVIRONMENT, OWN, PROJECT, TOPIC, TRIGGER, healthy, newborn

from dropfit.errors import NotFound, Refused, Unavailable
from dropfit.rest import Api
from infra.deploy import dead_letter

PATCH = "pubsub.v1.projects.subscriptions.patch"
SET = "pubsub.v1.projects.subscriptions.setIamPolicy"
OTHERS = {"role": "roles/pubsub.viewer", "members": ["group:ml@acme.example"]}


@pytest.fixture(autouse=True)
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dead_letter, "PAUSE", 0.001)


@pytest.fixture
def google() -> Google:
    """As Terraform leaves it: a trigger whose subscription knows nothing of dead letters."""
    world = healthy()
    newborn(world)
    return world


def connect(google: Google, patience: float = 5.0) -> tuple[dead_letter.Delivery, list[str]]:
    said: list[str] = []
    return dead_letter.connect(ENVIRONMENT, Api("scope", google), said.append, patience), said


def test_what_cannot_be_delivered_goes_to_the_topic_after_it(google: Google) -> None:
    before = dead_letter.found(ENVIRONMENT, Api("scope", google))
    assert (before.topic, before.attempts, before.may_take, before.may_put) == ("", 0, False, True)
    delivery, said = connect(google)
    policy = {"deadLetterTopic": "projects/acme-dev/topics/dropfit-dead-letters", "maxDeliveryAttempts": 8}
    assert google.things[OWN]["deadLetterPolicy"] == policy
    assert google.things[OWN]["retryPolicy"] == {"minimumBackoff": "10s", "maximumBackoff": "600s"}
    assert {"role": "roles/pubsub.subscriber", "members": [AGENT]} in google.policies[OWN]["bindings"]
    assert delivery.topic == policy["deadLetterTopic"]
    assert delivery.may_take
    assert "8 attempts" in said[0]
    assert google.things[OWN]["state"] == "ACTIVE"  # what Eventarc set stays


def test_the_number_of_attempts_is_one_that_pubsub_takes_and_outlasts_a_sweep() -> None:
    assert 5 <= dead_letter.ATTEMPTS <= 100
    waits = [min(10 * 2**n, 600) for n in range(dead_letter.ATTEMPTS - 1)]
    assert 15 * 60 < sum(waits) < 30 * 60


def test_a_second_time_nothing_is_written(google: Google) -> None:
    connect(google)
    google.calls.clear()
    _, said = connect(google)
    assert google.written() == []
    assert "as they should" in said[0]


def test_only_what_is_missing_is_written(google: Google) -> None:
    connect(google)
    google.policies.pop(OWN)
    google.calls.clear()
    connect(google)
    assert [call.id for call in google.written()] == [SET]
    google.things[OWN]["deadLetterPolicy"]["maxDeliveryAttempts"] = 5
    google.calls.clear()
    connect(google)
    assert [call.id for call in google.written()] == [PATCH]


def test_what_others_may_do_on_the_subscription_stays(google: Google) -> None:
    google.policies[OWN] = {"etag": "x", "version": 1, "bindings": [OTHERS]}
    connect(google)
    assert google.policies[OWN]["bindings"][0] == OTHERS
    assert google.policies[OWN]["version"] == 1


def test_a_policy_that_somebody_changes_meanwhile_is_read_anew(google: Google) -> None:
    read: list[Call] = []

    def policy(call: Call) -> dict[str, object]:
        read.append(call)
        told = dict(google.policies.setdefault(OWN, {"etag": "1"}))
        if len(read) == 2:  # somebody else writes right after we have read
            google.policies[OWN] = {"etag": "2", "bindings": [OTHERS]}
        return told

    google.on["pubsub.v1.projects.subscriptions.getIamPolicy"] = policy
    connect(google)
    members = {role["role"]: role["members"] for role in google.policies[OWN]["bindings"]}
    assert members == {"roles/pubsub.viewer": ["group:ml@acme.example"], "roles/pubsub.subscriber": [AGENT]}


def test_it_gives_up_on_a_policy_that_never_rests(google: Google) -> None:
    google.faults[SET] = [Fault(409, "concurrent")] * dead_letter.TRIES
    with pytest.raises(Unavailable, match="Try again"):
        connect(google)


def test_a_role_under_a_condition_does_not_count(google: Google) -> None:
    condition = {"title": "until", "expression": "request.time < timestamp('2020-01-01T00:00:00Z')"}
    binding = {"role": "roles/pubsub.subscriber", "members": [AGENT], "condition": condition}
    google.policies[OWN] = {"etag": "x", "version": 3, "bindings": [binding]}
    delivery, _ = connect(google)
    assert delivery.may_take
    assert google.policies[OWN]["bindings"] == [binding, {"role": "roles/pubsub.subscriber", "members": [AGENT]}]


def test_a_new_trigger_is_waited_for(google: Google) -> None:
    transport = google.things[TRIGGER].pop("transport")
    looks: list[Call] = []

    def trigger(call: Call) -> dict[str, object]:
        looks.append(call)
        return google.things[TRIGGER] | ({"transport": transport} if len(looks) > 3 else {})

    google.on["eventarc.v1.projects.locations.triggers.get"] = trigger
    delivery, said = connect(google)
    assert delivery.topic
    assert len([line for line in said if "waiting" in line]) == 1


@pytest.mark.parametrize("gone", [TRIGGER, OWN], ids=["trigger", "subscription"])
def test_what_never_comes_ends_the_waiting(google: Google, gone: str) -> None:
    del google.things[gone]
    with pytest.raises(NotFound, match="Was Terraform applied"):
        connect(google, patience=0.01)
    assert google.written() == []


def test_a_refusal_is_told_as_google_tells_it(google: Google) -> None:
    google.denied.add(PATCH)
    with pytest.raises(Refused, match="Permission denied"):
        connect(google)


def test_a_topic_that_pubsub_may_not_publish_to_is_told_and_left_to_terraform(google: Google) -> None:
    google.policies[TOPIC] = {"etag": "x"}
    delivery, said = connect(google)
    assert not delivery.may_put
    assert any("Terraform grants that" in line for line in said)
    assert {call.id for call in google.written()} == {PATCH, SET}


def test_the_agent_is_the_one_of_the_project_that_the_environment_names(google: Google) -> None:
    google.things[PROJECT]["name"] = "projects/987"
    delivery, _ = connect(google)
    assert delivery.agent == "serviceAccount:service-987@gcp-sa-pubsub.iam.gserviceaccount.com"
