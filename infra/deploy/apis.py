# SPDX-License-Identifier: Apache-2.0
"""The few APIs without which Terraform cannot even look at a project; it switches on all others itself."""

from __future__ import annotations

import time

from dropfit.errors import DeployError, NotFound, Refused
from dropfit.rest import Api

from .environment import Environment
from .needed import BILLING, first
from .stages import Tell

URL = "https://serviceusage.googleapis.com/v1"
AGENTS = "https://serviceusage.googleapis.com/v1beta1"
ACCOUNTS = "https://cloudbilling.googleapis.com/v1/projects"
PROJECTS = "https://cloudresourcemanager.googleapis.com/v3/projects"
PAUSE = 5.0
"""Seconds between two looks at what was switched on."""
LOOKS = 60


def missing(environment: Environment, api: Api) -> list[str]:
    """Which of them are off.

    Raises:
        DeployError: when the project does not say, with what to do.
    """
    project = f"projects/{environment.project}"
    names = [f"{project}/services/{name}" for name in first(environment)]
    try:
        told = api.send("GET", f"{URL}/{project}/services:batchGet", params={"names": names})
    except (NotFound, Refused) as refusal:
        raise DeployError(f"{refusal}\nIf it says that an API is off: `{by_hand(environment)}`") from refusal
    on = {str(s["name"]).rpartition("/")[2] for s in told.get("services", ()) if s.get("state") == "ENABLED"}
    return [name for name in first(environment) if name not in on]


def switch_on(environment: Environment, api: Api, tell: Tell) -> None:
    """Switch on those that are off, and wait until the project can be looked at.

    Raises:
        DeployError: when that does not come to be.
    """
    off = missing(environment, api)
    if not off:
        tell(f"{', '.join(first(environment))} are on")
        return
    tell(f"switching on {', '.join(off)}")
    try:
        _enable(environment, api, off)
    except (NotFound, Refused) as refusal:
        raise DeployError(f"{refusal}\nAn owner of the project can: `{by_hand(environment)}`") from refusal
    for _ in range(LOOKS):
        if _answers(environment, api):
            return
        time.sleep(PAUSE)
    raise DeployError("they were switched on, and do not answer yet: wait some minutes, and run it again")


def make_agent(environment: Environment, api: Api, tell: Tell) -> None:
    """Have Google make Cloud Monitoring's service agent, which the uptime check signs in as.

    Google makes it "when it is needed", and an account that is not there can be granted nothing. What is there
    stays as it is. A refusal is told and lived with: it may be there all the same.
    """
    service = f"projects/{environment.project}/services/monitoring.googleapis.com"
    try:
        api.send("POST", f"{AGENTS}/{service}:generateServiceIdentity")
        tell("Cloud Monitoring's own account is asked for")
    except (NotFound, Refused) as refusal:
        tell(f"Cloud Monitoring's own account could not be asked for, and is there perhaps: {refusal}")


def by_hand(environment: Environment) -> str:
    """The command with which a person switches them on."""
    return f"gcloud services enable {' '.join(first(environment))} --project {environment.project}"


def _enable(environment: Environment, api: Api, off: list[str]) -> None:
    services = f"{URL}/projects/{environment.project}/services"
    if len(off) == 1:  # batchEnable refuses a batch of one
        api.send("POST", f"{services}/{off[0]}:enable", json={})
    else:
        api.send("POST", f"{services}:batchEnable", json={"serviceIds": off})


def _answers(environment: Environment, api: Api) -> bool:
    """Whether they are on, and Google knows it where it counts."""
    try:
        if missing(environment, api):
            return False
        api.get(f"{PROJECTS}/{environment.project}")
        if BILLING in first(environment):
            # In the project's own name, as Terraform asks: else the API of the credentials' project may answer.
            ours = {"x-goog-user-project": environment.project}
            api.send("GET", f"{ACCOUNTS}/{environment.project}/billingInfo", headers=ours)
    except (NotFound, Refused, DeployError):
        return False
    return True
