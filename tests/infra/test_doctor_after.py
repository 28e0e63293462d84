# SPDX-License-Identifier: Apache-2.0
"""The doctor after a deployment: all is well, and each thing that can be wrong, dead letters before all."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec
import pytest
from google_api import Fault, Google
from healthy import (
    AGENT,
    ALERTS,
    ENVIRONMENT,
    KEPT,
    OWN,
    RUN,
    SCHEDULE,
    SERIES,
    TOPIC,
    TRIGGER,
    empty,
    healthy,
    newborn,
    waiting,
)

from dropfit.rest import Api
from infra.deploy import dead_letter, doctor
from infra.deploy.environment import Environment
from infra.deploy.look import Finding

Sickness = Callable[[Google], Any]
PUBLIC = msgspec.structs.replace(ENVIRONMENT, predict_public=True)
DEPLOY = "dropfit deploy dev"
CONNECT = "python -m infra.deploy.dead_letter dev"


def after(google: Google, environment: Environment = ENVIRONMENT) -> list[Finding]:
    return doctor.after(environment, Api("scope", google))


def test_what_is_deployed_and_well_is_found_well_by_looking_alone() -> None:
    google = healthy()
    found = after(google)
    assert {one.verdict for one in found} == {"ok"}, found
    assert {one.group for one in found} == {"credentials", "project", "delivery", "running"}
    assert google.written() == []


def _set(url: str, **fields: Any) -> Sickness:
    return lambda google: google.things[url].update(fields)


def _gone(url: str) -> Sickness:
    return lambda google: google.things.pop(url)


def _public(name: str, member: str) -> Sickness:
    invoker = {"role": "roles/run.invoker", "members": ["group:shop@acme.example", member]}
    return lambda google: google.policies.update({f"{RUN}/services/dropfit-{name}": {"bindings": [invoker]}})


def _filter(bucket: str) -> list[dict[str, str]]:
    kind = {"attribute": "type", "value": "google.cloud.storage.object.v1.finalized"}
    return [kind, {"attribute": "bucket", "value": bucket}]


BROKEN = {"terminalCondition": {"state": "CONDITION_FAILED", "message": "the container failed to start"}}
FAILED = {"name": "x/s-9", "completionStatus": "EXECUTION_FAILED"}
DEAF = {"displayName": "Dropfit dev: latency"}
SICK: dict[str, tuple[Sickness, str, str, list[str], list[str]]] = {
    "the trigger failed": (
        _set(TRIGGER, conditions={"service": {"code": "NOT_FOUND", "message": "no such service"}}),
        "trigger", "fail", ["not active", "no such service"], [DEPLOY],
    ),
    "the trigger listens to another bucket": (
        _set(TRIGGER, eventFilters=_filter("acme-dev-dropfit-data")),
        "trigger", "fail", ["acme-dev-dropfit-data"], [DEPLOY],
    ),
    "the trigger calls another service": (
        _set(TRIGGER, destination={"cloudRun": {"service": "other", "region": "europe-west1"}}),
        "trigger", "fail", ["other", "dropfit-on-upload"], [DEPLOY],
    ),
    "no dead-letter policy": (newborn, "dead letters", "fail", ["no dead-letter policy", "lost"], [CONNECT]),
    "another dead-letter topic": (
        _set(OWN, deadLetterPolicy={"deadLetterTopic": "projects/p/topics/old", "maxDeliveryAttempts": 8}),
        "dead letters", "fail", ["projects/p/topics/old"], [CONNECT],
    ),
    "another number of attempts": (
        lambda google: google.things[OWN]["deadLetterPolicy"].update(maxDeliveryAttempts=100),
        "dead letters", "warn", ["100 attempts", "8 with"], [CONNECT],
    ),
    "another back-off": (
        _set(OWN, retryPolicy={"minimumBackoff": "1s", "maximumBackoff": "2s"}),
        "dead letters", "warn", ["1s to 2s"], [CONNECT],
    ),
    "Pub/Sub may not take from the subscription": (
        lambda google: google.policies.update({OWN: {"etag": "x"}}),
        "dead letters", "fail", ["may not take"], [CONNECT],
    ),
    "Pub/Sub may not publish to the topic": (
        lambda google: google.policies.update({TOPIC: {"etag": "x"}}),
        "dead letters", "fail", ["may not publish"], [DEPLOY],
    ),
    "nothing keeps dead letters": (_gone(KEPT), "are kept", "fail", ["forgets"], [DEPLOY]),
    "what keeps them hangs elsewhere": (
        _set(KEPT, topic="_deleted-topic_"), "are kept", "fail", ["_deleted-topic_"], [DEPLOY],
    ),
    "what keeps them vanishes": (
        _set(KEPT, expirationPolicy={"ttl": "2678400s"}), "are kept", "warn", ["vanishes", "2678400s"], [DEPLOY],
    ),
    "dead letters wait": (
        lambda google: google.things.update({SERIES: waiting(3)}),
        "waiting", "warn", ["wait here: 3"],
        ["gcloud pubsub subscriptions pull dropfit-dead-letters", "gcloud run services logs read dropfit-on-upload"],
    ),
    "nobody knows whether dead letters wait": (_gone(SERIES), "waiting", "warn", ["could not look"], ["Minutes"]),
    "on_upload is not there": (
        _gone(f"{RUN}/services/dropfit-on-upload"), "on_upload", "fail", ["no service dropfit-on-upload"], [DEPLOY],
    ),
    "predict does not start": (
        _set(f"{RUN}/services/dropfit-predict", **BROKEN),
        "predict", "fail", ["the container failed to start"], ["gcloud run services logs read dropfit-predict"],
    ),
    "on_upload can be reached from outside": (
        _set(f"{RUN}/services/dropfit-on-upload", ingress="INGRESS_TRAFFIC_ALL"),
        "on_upload", "fail", ["from the internet", "INGRESS_TRAFFIC_ALL"], [DEPLOY],
    ),
    "anybody may call predict": (
        _public("predict", "allUsers"),
        "predict", "fail", ["anybody may call dropfit-predict", "allUsers"],
        ["gcloud run services remove-iam-policy-binding dropfit-predict --member=allUsers"],
    ),
    "anybody with an account may call on_upload": (
        _public("on-upload", "allAuthenticatedUsers"),
        "on_upload", "fail", ["allAuthenticatedUsers"], ["remove-iam-policy-binding dropfit-on-upload"],
    ),
    "nobody looks at who calls predict": (
        _set(f"{RUN}/services/dropfit-predict", invokerIamDisabled=True),
        "predict", "fail", ["invokerIamDisabled"], ["--invoker-iam-check"],
    ),
    "the retrain job is not there": (
        _gone(f"{RUN}/jobs/dropfit-retrain"), "retrain job", "fail", ["no job dropfit-retrain"], [DEPLOY],
    ),
    "the sweep failed": (
        _set(f"{RUN}/jobs/dropfit-sweep", latestCreatedExecution=FAILED),
        "sweep job", "warn", ["failed when it ran last"], ["executions logs read s-9"],
    ),
    "the schedule is paused": (
        _set(SCHEDULE, state="PAUSED"),
        "schedule", "fail", ["paused"], ["gcloud scheduler jobs resume dropfit-sweep"],
    ),
    "the schedule may not start the job": (
        _set(SCHEDULE, status={"code": 7, "message": "denied"}), "schedule", "fail", ["code 7 denied"], [DEPLOY],
    ),
    "there is no schedule": (_gone(SCHEDULE), "schedule", "fail", ["waits for ever"], [DEPLOY]),
    "there are no alerts": (_gone(ALERTS), "alerts", "fail", ["there are none"], [DEPLOY]),
    "alerts tell nobody": (
        lambda google: google.things[ALERTS]["alertPolicies"].append(DEAF),
        "alerts", "warn", ["1 of 2 alerts tell nobody"], ["alert_emails", "infra/dev.tfvars"],
    ),
    "an alert is off": (
        lambda google: google.things[ALERTS]["alertPolicies"][0].update(enabled=False),
        "alerts", "warn", ["Dropfit dev: dead letters"], [DEPLOY],
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", SICK)
def test_each_sickness_is_found_named_and_its_remedy_told(name: str) -> None:
    sicken, check, verdict, says, remedy = SICK[name]
    google = healthy()
    sicken(google)
    bad = [one for one in after(google) if one.verdict != "ok"]
    assert [(one.check, one.verdict) for one in bad] == [(check, verdict)], bad
    assert [part for part in says if part not in bad[0].says] == []
    assert [part for part in remedy if part not in bad[0].remedy] == []
    assert google.written() == []


def test_a_topic_that_nothing_points_at_does_not_count() -> None:
    """Topic, subscription and rights are all there; only the trigger's own subscription knows nothing of them."""
    google = healthy()
    del google.things[OWN]["deadLetterPolicy"]
    assert [one.check for one in after(google) if one.verdict == "fail"] == ["dead letters"]


def test_another_subscription_that_points_at_the_topic_does_not_count() -> None:
    google = healthy()
    google.things[f"{OWN}-old"] = google.things[OWN] | {"name": "old"}
    newborn(google)
    assert [one.check for one in after(google) if one.verdict == "fail"] == ["dead letters"]


def test_what_the_dead_letter_step_does_is_what_the_doctor_wants() -> None:
    google = healthy()
    newborn(google)
    assert {one.verdict for one in after(google)} == {"ok", "fail"}
    dead_letter.connect(ENVIRONMENT, Api("scope", google))
    assert {one.verdict for one in after(google)} == {"ok"}


def test_a_public_predict_is_well_when_the_tfvars_say_so_and_only_then() -> None:
    google = healthy()
    _public("predict", "allUsers")(google)
    assert {one.verdict for one in after(google, PUBLIC)} == {"ok"}
    bad = [one for one in after(healthy(), PUBLIC) if one.verdict != "ok"]
    assert [(one.check, one.verdict) for one in bad] == [("predict", "warn")]
    assert "orgpolicies" in bad[0].remedy


def test_a_role_of_the_agent_under_another_name_does_not_count() -> None:
    google = healthy()
    google.policies[OWN] = {"etag": "x", "bindings": [{"role": "roles/pubsub.viewer", "members": [AGENT]}]}
    assert [one.check for one in after(google) if one.verdict == "fail"] == ["dead letters"]


def test_before_anything_is_deployed_everything_is_missing_and_the_remedy_is_one() -> None:
    found = after(empty())
    bad = [one for one in found if one.verdict == "fail"]
    assert len(bad) == 9
    assert {DEPLOY in one.remedy for one in bad} == {True}


def test_what_cannot_be_seen_is_a_warning_whichever_it_is() -> None:
    seen = healthy()
    after(seen)
    for method in {call.id for call in seen.calls} - {"cloudresourcemanager.v3.projects.get"}:
        google = healthy()
        google.faults[method] = [Fault(403, "you may not")] * 9
        bad = [one for one in after(google) if one.verdict != "ok"]
        assert bad, method
        assert all(one.verdict == "warn" and "you may not" in one.says for one in bad), (method, bad)
