# SPDX-License-Identifier: Apache-2.0
"""Points the subscription that the Eventarc trigger made for itself at the dead-letter topic, after Terraform.

    .venv/bin/python -m infra.deploy.dead_letter dev

Neither the trigger nor its transport has a field for dead letters, in Terraform or in Google's API, and a topic that
nothing points at keeps nothing. A trigger that is made anew has a new subscription: `dropfit deploy` does this after
each apply, and `dropfit doctor --after` looks whether it is so. When all is so, nothing is written.
"""

from __future__ import annotations

import argparse
import sys
import time
from typing import Any, Protocol

import msgspec

from dropfit.errors import DropfitError, NotFound, Refused, Unavailable
from dropfit.rest import CLOUD, Api

from .environment import Environment, read
from .stages import Tell

PUBSUB = "https://pubsub.googleapis.com/v1"
EVENTARC = "https://eventarc.googleapis.com/v1"
PROJECTS = "https://cloudresourcemanager.googleapis.com/v3/projects"
ATTEMPTS = 8
"""So often an event is delivered before it becomes a dead letter; Pub/Sub takes 5 to 100.

With the back-off below the eighth attempt is about 21 minutes after the first (10 + 20 + ... + 320 + 600 s). That
outlasts a deployment, a rate limit and the usual disturbance, which 5 attempts (2.5 minutes) do not, and one sweep,
which takes the upload in without its event. More attempts would only make the alert later: it is the sweep that makes
up for what is lost, and a person who has to hear that deliveries fail."""
BACKOFF = {"minimumBackoff": "10s", "maximumBackoff": "600s"}
"""As Eventarc sets it; between these it doubles."""
SUBSCRIBER, PUBLISHER = "roles/pubsub.subscriber", "roles/pubsub.publisher"
PATIENCE = 300.0
"""Seconds that a new trigger may take to make its subscription."""
PAUSE = 5.0
"""Seconds between two looks."""
TRIES = 5
"""How often a policy that others change at the same time is read and written anew."""


class Reader(Protocol):
    """What reads Google's APIs: an Api, or the doctor."""

    def get(self, url: str, /) -> dict[str, Any]:
        """What GET answers."""


class Delivery(msgspec.Struct, frozen=True, kw_only=True):
    """How the trigger's own subscription delivers, as it is.

    Attributes:
        subscription: its full name.
        topic: where dead letters go, empty when nowhere.
        attempts: after so many; 0 when never.
        backoff: between attempts, as Pub/Sub has it.
        agent: the Pub/Sub service agent, as IAM writes members. It moves the dead letters, so it has to be able to
        may_take: take them from the subscription, and
        may_put: publish them to the dead-letter topic.
    """

    subscription: str
    topic: str
    attempts: int
    backoff: dict[str, str]
    agent: str
    may_take: bool
    may_put: bool


def topic(environment: Environment) -> str:
    """Full name of the dead-letter topic."""
    return f"projects/{environment.project}/topics/{environment.dead_letters}"


def found(environment: Environment, api: Reader) -> Delivery:
    """How it is set.

    Raises:
        NotFound: when there is no trigger, or it has no subscription yet.
        Refused, Unavailable: when Google does not tell.
    """
    name = api.get(f"{EVENTARC}/{environment.trigger}").get("transport", {}).get("pubsub", {}).get("subscription")
    if not name:
        raise NotFound(f"{environment.trigger} has no subscription yet")
    there = api.get(f"{PUBSUB}/{name}")
    policy = there.get("deadLetterPolicy", {})
    number = str(api.get(f"{PROJECTS}/{environment.project}")["name"]).rpartition("/")[2]
    agent = f"serviceAccount:service-{number}@gcp-sa-pubsub.iam.gserviceaccount.com"
    return Delivery(
        subscription=name,
        topic=policy.get("deadLetterTopic", ""),
        attempts=int(policy.get("maxDeliveryAttempts", 0)),
        backoff=there.get("retryPolicy", {}),
        agent=agent,
        may_take=_has(api.get(f"{PUBSUB}/{name}:getIamPolicy"), SUBSCRIBER, agent),
        may_put=_may_put(environment, api, agent),
    )


def connect(environment: Environment, api: Api, tell: Tell = lambda _: None, patience: float = PATIENCE) -> Delivery:
    """Make the trigger's subscription put what it cannot deliver into the dead-letter topic.

    Args:
        environment: which deployment.
        api: with credentials that may change subscriptions.
        tell: what a person reads.
        patience: seconds that the trigger may take to make its subscription.

    Returns:
        How it is set now.

    Raises:
        NotFound: when trigger, subscription or topic are not there in time.
        Refused: when it may not be done.
        Unavailable: when Google does not answer, or others keep changing the policy.
    """
    delivery = _awaited(environment, api, tell, patience)
    wanted = {"deadLetterTopic": topic(environment), "maxDeliveryAttempts": ATTEMPTS}
    if (delivery.topic, delivery.attempts, delivery.backoff) != (*wanted.values(), BACKOFF):
        change = {"name": delivery.subscription, "deadLetterPolicy": wanted, "retryPolicy": BACKOFF}
        body = {"subscription": change, "updateMask": "deadLetterPolicy,retryPolicy"}
        api.send("PATCH", f"{PUBSUB}/{delivery.subscription}", json=body)
        tell(f"{delivery.subscription}: after {ATTEMPTS} attempts an event goes to {environment.dead_letters}")
    if not delivery.may_take:
        _grant(f"{PUBSUB}/{delivery.subscription}", delivery.agent, api)
        tell(f"{delivery.subscription}: Pub/Sub itself may take events out")
    if not delivery.may_put:
        tell(f"{environment.dead_letters}: Pub/Sub itself may not publish there. Terraform grants that: apply it")
    now = found(environment, api)
    if now == delivery:
        tell(f"{delivery.subscription}: dead letters go to {environment.dead_letters}, as they should")
    return now


def _awaited(environment: Environment, api: Api, tell: Tell, patience: float) -> Delivery:
    """How it is set, once the trigger has made its subscription."""
    deadline, said = time.monotonic() + patience, False
    while True:
        try:
            return found(environment, api)
        except NotFound as error:
            if time.monotonic() >= deadline:
                raise NotFound(f"{error}: after {patience:g} s it is still so. Was Terraform applied?") from error
            if not said:
                tell(f"waiting for the trigger's subscription, up to {patience:g} s")
                said = True
        time.sleep(min(PAUSE, max(deadline - time.monotonic(), 0)))


def _grant(resource: str, member: str, api: Api) -> None:
    """Give a member the role to take from a subscription; what others have stays, also what they get meanwhile."""
    for _ in range(TRIES):
        policy = api.get(f"{resource}:getIamPolicy", {"options.requestedPolicyVersion": "3"})
        if _has(policy, SUBSCRIBER, member):
            return
        bindings = [*policy.get("bindings", []), {"role": SUBSCRIBER, "members": [member]}]
        try:
            api.send("POST", f"{resource}:setIamPolicy", json={"policy": {**policy, "bindings": bindings}})
            return
        except Refused as error:
            if error.status != 409:
                raise
    raise Unavailable(f"{resource}: others keep changing its policy. Try again")


def _has(policy: dict[str, Any], role: str, member: str) -> bool:
    """Whether a policy gives a member a role without a condition."""
    return any(
        binding.get("role") == role and member in binding.get("members", []) and not binding.get("condition")
        for binding in policy.get("bindings", [])
    )


def _may_put(environment: Environment, api: Reader, agent: str) -> bool:
    try:
        return _has(api.get(f"{PUBSUB}/{topic(environment)}:getIamPolicy"), PUBLISHER, agent)
    except NotFound:
        return False


def main(arguments: list[str] | None = None) -> int:
    """The command line; 0 when it is so."""
    parser = argparse.ArgumentParser(prog="infra.deploy.dead_letter", description=(__doc__ or "").split("\n")[0])
    parser.add_argument("environment", help="dev, prod ...: infra/<environment>.tfvars")
    try:
        connect(read(parser.parse_args(arguments).environment), Api(CLOUD), print)
    except DropfitError as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
