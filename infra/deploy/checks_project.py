# SPDX-License-Identifier: Apache-2.0
"""Checks of the project: is it there, is it paid for, which APIs are on, may the caller do what deploying does."""

from __future__ import annotations

from collections.abc import Iterator

from dropfit.errors import NotFound, Refused

from .look import Check, Look, Told, fail, is_off, ok, unseen, warn
from .needed import first, permissions, services

BILLING = "https://cloudbilling.googleapis.com/v1"
USAGE = "https://serviceusage.googleapis.com/v1"
AT_MOST = 30
"""Services that one request may ask for."""
SHOWN = 4
"""So many missing permissions are named; the roles tell the rest."""


def exists(look: Look) -> Iterator[Told]:
    """Is there such a project, and is it alive?"""
    environment = look.environment
    try:
        found = look.get(look.project)
    except (NotFound, Refused) as error:
        if isinstance(error, Refused) and (is_off(error) or error.status != 403):
            yield unseen(look, error)
            return
        yield fail(
            f"{environment.project} does not exist, or {look.email or 'you'} may not see and use it",
            f"Is it spelled so? Line `project` of infra/{environment.tfvars.name}. If it is yours to make:",
            f"$ gcloud projects create {environment.project}",
            "If it is somebody else's, that person runs:",
            look.grant("roles/browser"),
            look.grant("roles/serviceusage.serviceUsageConsumer"),
        )
        return
    look.number = str(found["name"]).rpartition("/")[2]
    if found.get("state") != "ACTIVE":
        command = f"$ gcloud projects undelete {environment.project}"
        yield fail(f"{environment.project} is being deleted", "Within 30 days it can be brought back:", command)
    else:
        yield ok(f"{environment.project}, number {look.number}, is active")


def billing(look: Look) -> Iterator[Told]:
    """Does a billing account pay for it?"""
    project = look.environment.project
    try:
        found = look.get(f"{BILLING}/projects/{project}/billingInfo")
    except Refused as error:
        told = unseen(look, error)
        command = f"$ gcloud billing projects describe {project}"
        yield told._replace(remedy=f"This shows it too, with `billingEnabled: true` when all is well:\n{command}")
        return
    if found.get("billingEnabled"):
        yield ok(f"{found['billingAccountName']} pays")
        return
    yield fail(
        "no billing account pays for it: Google refuses nearly everything",
        "Find the account, and link it:",
        "$ gcloud billing accounts list",
        f"$ gcloud billing projects link {project} --billing-account=000000-000000-000000",
        f"Or: https://console.cloud.google.com/billing/linkedaccount?project={project}",
    )


def budget(look: Look) -> Iterator[Told]:
    """May the caller make the budget that the tfvars ask for?"""
    environment = look.environment
    if environment.monthly_budget is None:
        yield ok("none wanted (monthly_budget)")
        return
    account = look.get(f"{BILLING}/projects/{environment.project}/billingInfo").get("billingAccountName")
    if not account:
        yield warn("could not look, because no billing account pays for the project")
        return
    if not look.lacking(f"{BILLING}/{account}", ["billing.budgets.create"]):
        yield ok(f"{environment.monthly_budget:g} a month; you may make budgets on {account}")
        return
    bind = f"{account.removeprefix('billingAccounts/')} --member={look.member} --role=roles/billing.costsManager"
    yield fail(
        f"monthly_budget is set, and you may not make budgets on {account}",
        "An administrator of the billing account runs:",
        f"$ gcloud billing accounts add-iam-policy-binding {bind}",
        f"Or remove the line `monthly_budget` from infra/{environment.tfvars.name}.",
    )


def apis(look: Look) -> Iterator[Told]:
    """Which of the needed APIs are off?"""
    parent = f"projects/{look.environment.project}"
    names = services(look.environment)
    states: dict[str, str] = {}
    for start in range(0, len(names), AT_MOST):
        asked = {"names": [f"{parent}/services/{name}" for name in names[start : start + AT_MOST]]}
        for service in look.get(f"{USAGE}/{parent}/services:batchGet", asked).get("services", []):
            states[str(service["name"]).rpartition("/")[2]] = str(service.get("state"))
    off = [name for name in names if states.get(name) != "ENABLED"]
    begin = [name for name in off if name in first(look.environment)]
    if begin:
        says = f"off: {', '.join(begin)}; Terraform cannot begin without"
        yield warn(says, "`dropfit deploy` tries to switch them on. By hand:", look.enable(*begin))
    later = [name for name in off if name not in begin]
    if later and look.lacking(look.project, ["serviceusage.services.enable"]):
        yield fail(
            f"{len(later)} of {len(names)} are off, and you may not switch them on: {', '.join(later)}",
            "Somebody who may runs:",
            look.enable(*later),
        )
    elif later:
        short = ", ".join(name.removesuffix(".googleapis.com") for name in later)
        yield ok(f"{len(later)} of {len(names)} are off, and `dropfit deploy` switches them on: {short}")
    elif not begin:
        yield ok(f"all {len(names)} that are needed are on")


def roles(look: Look) -> Iterator[Told]:
    """Has the caller the permissions that deploying needs?"""
    needed = permissions(look.environment)
    everything = [permission for many in needed.values() for permission in many]
    missing = set(look.lacking(look.project, everything))
    if not missing:
        yield ok(f"you have all {len(everything)} permissions that deploying needs")
        return
    lacks = [permission for permission in everything if permission in missing]
    short = ", ".join(lacks[:SHOWN]) + (f" and {len(lacks) - SHOWN} more" if len(lacks) > SHOWN else "")
    grants = [look.grant(role) for role, many in needed.items() if missing & set(many)]
    yield fail(
        f"of {len(everything)} permissions that deploying needs you lack {len(lacks)}: {short}",
        "An owner of the project has all of them. Or somebody who may give rights runs:",
        *grants,
    )


EXISTS = [Check("project", "exists", exists)]
PROJECT = [
    Check("project", "billing", billing),
    Check("project", "budget", budget),
    Check("project", "APIs", apis),
    Check("project", "your rights", roles),
]
