# SPDX-License-Identifier: Apache-2.0
"""Checks of what runs: both functions, both jobs, the schedule, and whether anybody hears an alert."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import partial
from typing import Any

from dropfit.errors import NotFound

from .checks_delivery import MONITORING, deploy
from .look import Check, Look, Told, fail, ok, warn

RUN = "https://run.googleapis.com/v2"
SCHEDULER = "https://cloudscheduler.googleapis.com/v1"
PUBLIC = {"allUsers", "allAuthenticatedUsers"}
INTERNAL = "INGRESS_TRAFFIC_INTERNAL_ONLY"
GOOD = "CONDITION_SUCCEEDED"


def service(function: str, look: Look) -> Iterator[Told]:
    """Is a function ready, and can it be called by those alone who should?"""
    environment = look.environment
    name = f"{environment.name}-{function}"
    url = f"{RUN}/{environment.location}/services/{name}"
    try:
        found = look.get(url)
    except NotFound:
        yield fail(f"there is no service {name}", *deploy(look))
        return
    if not _ready(found):
        yield fail(f"{name} is not ready: {_why(found)}", "Its log says more:", _logs(look, name))
    internal = function == "on-upload"
    if internal and found.get("ingress") != INTERNAL:
        yield fail(f"{name} can be reached from the internet: ingress is {found.get('ingress')}", *deploy(look))
    told = _who_may_call(look, name, found, look.get(f"{url}:getIamPolicy"), internal)
    if told:
        yield told
    elif _ready(found):
        yield ok(f"{name} is ready; {_callers(look, internal)}")


def _who_may_call(
    look: Look, name: str, found: Mapping[str, Any], policy: Mapping[str, Any], internal: bool
) -> Told | None:
    """What is wrong with who may call it."""
    wanted = look.environment.predict_public and not internal
    bindings = [one for one in policy.get("bindings", []) if one.get("role") == "roles/run.invoker"]
    everybody = sorted(PUBLIC & {member for one in bindings for member in one.get("members", [])})
    open_to_all = bool(everybody) or bool(found.get("invokerIamDisabled"))
    if open_to_all and not wanted:
        how = " and ".join(everybody) or "who calls is not looked at (invokerIamDisabled)"
        take = f"$ gcloud run services update {name} --invoker-iam-check {_where(look)}"
        if everybody:
            take = f"$ gcloud run services remove-iam-policy-binding {name} --member={everybody[0]}"
            take += f" --role=roles/run.invoker {_where(look)}"
        begin = f"infra/{look.environment.tfvars.name} does not say so. To take it away:"
        meant = () if internal else ("If it is meant, write predict_public = true there.",)
        return fail(f"anybody may call {name}: {how}", begin, take, *meant)
    if wanted and not open_to_all:
        console = f"https://console.cloud.google.com/iam-admin/orgpolicies?project={look.environment.project}"
        return warn(
            f"predict_public is set, and {name} is not public",
            "The organisation may forbid it (Domain restricted sharing):",
            console,
        )
    return None


def _callers(look: Look, internal: bool) -> str:
    if internal:
        return "only from inside Google Cloud, with credentials"
    if look.environment.predict_public:
        return "anybody may call it, as predict_public says"
    return "only with credentials"


def job(what: str, look: Look) -> Iterator[Told]:
    """Is a job there, and how did it end last?"""
    environment = look.environment
    name = f"{environment.name}-{what}"
    try:
        found = look.get(f"{RUN}/{environment.location}/jobs/{name}")
    except NotFound:
        yield fail(f"there is no job {name}", *deploy(look))
        return
    last = found.get("latestCreatedExecution", {})
    ended = last.get("completionStatus", "")
    if not _ready(found):
        yield fail(f"{name} is not ready: {_why(found)}", *deploy(look))
    elif ended == "EXECUTION_FAILED":
        run = str(last.get("name", "")).rpartition("/")[2]
        see = f"$ gcloud beta run jobs executions logs read {run} {_where(look)}"
        yield warn(f"{name} failed when it ran last", "`dropfit runs` tells where; its log says more:", see)
    elif not last:
        yield ok(f"{name} is ready; it has not run yet")
    else:
        yield ok(f"{name} is ready; last run: {ended.removeprefix('EXECUTION_').lower() or 'not told'}")


def schedule(look: Look) -> Iterator[Told]:
    """Does Cloud Scheduler start the sweep?"""
    environment = look.environment
    name = f"{environment.name}-sweep"
    try:
        found = look.get(f"{SCHEDULER}/{environment.location}/jobs/{name}")
    except NotFound:
        yield fail(f"there is no schedule {name}: an upload whose event is lost waits for ever", *deploy(look))
        return
    status, last = found.get("status", {}), found.get("lastAttemptTime")
    if found.get("state") != "ENABLED":
        resume = f"$ gcloud scheduler jobs resume {name} --location={environment.region}"
        yield fail(
            f"{name} is {str(found.get('state')).lower()}", "To go on:", f"{resume} --project={environment.project}"
        )
    elif status.get("code"):
        says = f"code {status['code']} {status.get('message', '')}".strip()
        yield fail(f"{name} could not start the sweep at {_moment(last)}: {says}", *deploy(look))
    else:
        yield ok(f"{name} at {found.get('schedule')}; {f'last {_moment(last)}' if last else 'not its time yet'}")


def alerts(look: Look) -> Iterator[Told]:
    """Are there alerts, and does anybody hear them?"""
    environment = look.environment
    listed = look.listed(f"{MONITORING}/projects/{environment.project}/alertPolicies", "alertPolicies")
    ours = [one for one in listed if _is_ours(look, one)]
    if not ours:
        yield fail("there are none", *deploy(look))
        return
    deaf = [str(one.get("displayName")) for one in ours if not one.get("notificationChannels")]
    off = [str(one.get("displayName")) for one in ours if one.get("enabled") is False]
    if deaf:
        yield warn(
            f"{len(deaf)} of {len(ours)} alerts tell nobody",
            f'infra/{environment.tfvars.name}: alert_emails = ["you@example.com"], then',
            f"$ .venv/bin/dropfit deploy {environment.key}",
        )
    if off:
        yield warn(f"switched off: {', '.join(off)}", *deploy(look))
    if not deaf and not off:
        yield ok(f"{len(ours)} in all, each with somebody who is told")


def _is_ours(look: Look, policy: Mapping[str, Any]) -> bool:
    labels = policy.get("userLabels", {})
    if "deployment" in labels:
        return bool(labels["deployment"] == look.environment.name)
    return look.environment.name in str(policy.get("displayName", "")).lower()


def _ready(found: Mapping[str, Any]) -> bool:
    return bool(found.get("terminalCondition", {}).get("state") == GOOD)


def _why(found: Mapping[str, Any]) -> str:
    condition = found.get("terminalCondition", {})
    return str(condition.get("message") or condition.get("reason") or condition.get("state") or "it does not say why")


def _moment(instant: str | None) -> str:
    return f"{instant[:16].replace('T', ' ')} UTC" if instant else "a time that is not told"


def _where(look: Look) -> str:
    return f"--region={look.environment.region} --project={look.environment.project}"


def _logs(look: Look, name: str) -> str:
    return f"$ gcloud run services logs read {name} {_where(look)} --limit=50"


RUNNING = [
    Check("running", "on_upload", partial(service, "on-upload")),
    Check("running", "predict", partial(service, "predict")),
    Check("running", "retrain job", partial(job, "retrain")),
    Check("running", "sweep job", partial(job, "sweep")),
    Check("running", "schedule", schedule),
    Check("running", "alerts", alerts),
]
