# SPDX-License-Identifier: Apache-2.0
"""Checks of the way from the landing bucket to on_upload: the trigger, and where its dead letters go."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator

from dropfit.errors import NotFound

from . import dead_letter
from .dead_letter import EVENTARC, PUBSUB
from .look import Check, Look, Told, fail, ok, warn

MONITORING = "https://monitoring.googleapis.com/v3"
FINALIZED = "google.cloud.storage.object.v1.finalized"
WAITING = "pubsub.googleapis.com/subscription/num_undelivered_messages"
RECENT = dt.timedelta(minutes=15)
"""So old may be what Cloud Monitoring knows."""


def trigger(look: Look) -> Iterator[Told]:
    """Is there a trigger that works, from the landing bucket to on_upload?"""
    environment = look.environment
    short = environment.trigger.rpartition("/")[2]
    try:
        found = look.get(f"{EVENTARC}/{environment.trigger}")
    except NotFound:
        yield fail(f"there is no trigger {short}: no upload launches anything", *deploy(look))
        return
    bad = [c for c in found.get("conditions", {}).values() if c.get("code", "OK") != "OK"]
    if bad:
        yield fail(f"{short} is not active: {'; '.join(c.get('message', c['code']) for c in bad)}", *deploy(look))
    filters = {one["attribute"]: one.get("value") for one in found.get("eventFilters", [])}
    wanted = {"type": FINALIZED, "bucket": environment.bucket("landing")}
    run = found.get("destination", {}).get("cloudRun", {})
    service = f"{environment.name}-on-upload"
    if filters != wanted:
        yield fail(f"{short} listens to {filters}, and not to {wanted}", *deploy(look))
    if (run.get("service"), run.get("region")) != (service, environment.region):
        yield fail(f"{short} calls {run or 'no service'}, and not {service} in {environment.region}", *deploy(look))
    if not bad and filters == wanted and run.get("service") == service:
        yield ok(f"{short} is active: {wanted['bucket']} -> {service}")


def dead_letters(look: Look) -> Iterator[Told]:
    """Does the trigger's own subscription put what it cannot deliver into our topic, and may Pub/Sub do so?"""
    environment = look.environment
    try:
        delivery = dead_letter.found(environment, look)
    except NotFound:
        yield fail("there is no subscription of a trigger, so nothing is delivered", *deploy(look))
        return
    short, wanted = delivery.subscription.rpartition("/")[2], dead_letter.topic(environment)
    mend = ("This points it there, and changes nothing else:", _connect(look))
    if delivery.topic != wanted:
        where = f"its dead letters go to {delivery.topic}" if delivery.topic else "it has no dead-letter policy"
        yield fail(f"{short}: {where}. Events that cannot be delivered are lost after 24 hours", *mend)
        return
    if delivery.attempts != dead_letter.ATTEMPTS or delivery.backoff != dead_letter.BACKOFF:
        says = f"{delivery.attempts} attempts with {_backoff(delivery.backoff)}"
        meant = f"{dead_letter.ATTEMPTS} with {_backoff(dead_letter.BACKOFF)} are meant"
        yield warn(f"{short}: {says} between them; {meant}", *mend)
    if not delivery.may_take:
        yield fail(f"{short}: Pub/Sub's own agent may not take events out, so none becomes a dead letter", *mend)
    if not delivery.may_put:
        begin = (
            f"Pub/Sub's own agent may not publish to {environment.dead_letters}, so dead letters are not moved there"
        )
        yield fail(begin, *deploy(look))
    if delivery.may_take and delivery.may_put:
        yield ok(f"{short}: after {delivery.attempts} attempts to {environment.dead_letters}, which Pub/Sub may do")


def kept(look: Look) -> Iterator[Told]:
    """Does something keep what comes to the dead-letter topic?"""
    environment = look.environment
    name = environment.dead_letters
    try:
        found = look.get(f"{PUBSUB}/{_subscription(look)}")
    except NotFound:
        yield fail(f"there is no subscription {name}: the topic forgets every dead letter at once", *deploy(look))
        return
    if found.get("topic") != dead_letter.topic(environment) or found.get("detached"):
        yield fail(f"subscription {name} hangs on {found.get('topic')}: dead letters are forgotten", *deploy(look))
        return
    days = int(found.get("messageRetentionDuration", "604800s").rstrip("s")) / 86_400
    ttl = found.get("expirationPolicy", {"ttl": "31 days"}).get("ttl")
    if ttl:
        yield warn(f"subscription {name} vanishes when nobody uses it for {ttl}", *deploy(look))
    else:
        yield ok(f"subscription {name} keeps them for {days:g} days")


def waiting(look: Look) -> Iterator[Told]:
    """Are there dead letters that nobody has looked at?"""
    environment = look.environment
    now = dt.datetime.now(dt.UTC)
    asked = {
        "filter": f'metric.type = "{WAITING}" AND resource.labels.subscription_id = "{environment.dead_letters}"',
        "interval.startTime": (now - RECENT).isoformat(),
        "interval.endTime": now.isoformat(),
    }
    series = look.listed(f"{MONITORING}/projects/{environment.project}/timeSeries", "timeSeries", asked)
    points = [point for one in series for point in one.get("points", [])[:1]]  # the newest comes first
    if not points:
        yield warn("could not look: Cloud Monitoring has no figure yet", "Minutes after the first deployment it has.")
        return
    count = sum(int(point["value"]["int64Value"]) for point in points)
    if not count:
        yield ok("none waits")
        return
    name = f"{environment.dead_letters} --project={environment.project}"
    yield warn(
        f"events that on_upload did not take, and that wait here: {count}",
        "The sweep takes uploads in without their events; `dropfit status` says what became of them.",
        "To see why, look at on_upload's log and at the events themselves:",
        f"$ gcloud run services logs read {environment.name}-on-upload {_where(look)}",
        f"$ gcloud pubsub subscriptions pull {name} --limit=10",
        "When all is understood, throw them away:",
        f"$ gcloud pubsub subscriptions seek {name} --time=$(date -u +%Y-%m-%dT%H:%M:%SZ)",
    )


def deploy(look: Look) -> tuple[str, str]:
    """What to do about something that Terraform makes, or mends."""
    return "Terraform makes it so:", f"$ .venv/bin/dropfit deploy {look.environment.key}"


def _connect(look: Look) -> str:
    return f"$ .venv/bin/python -m infra.deploy.dead_letter {look.environment.key}"


def _where(look: Look) -> str:
    return f"--region={look.environment.region} --project={look.environment.project}"


def _subscription(look: Look) -> str:
    return f"projects/{look.environment.project}/subscriptions/{look.environment.dead_letters}"


def _backoff(policy: dict[str, str]) -> str:
    return f"{policy.get('minimumBackoff', '?')} to {policy.get('maximumBackoff', '?')}"


DELIVERY = [
    Check("delivery", "trigger", trigger),
    Check("delivery", "dead letters", dead_letters),
    Check("delivery", "are kept", kept),
    Check("delivery", "waiting", waiting),
]
