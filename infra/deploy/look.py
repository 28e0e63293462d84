# SPDX-License-Identifier: Apache-2.0
"""How a check looks at a project: it reads, in the deployment's own name, and always has something to say."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Literal, NamedTuple

import msgspec

from dropfit.errors import DropfitError, NotFound, Refused, Unavailable
from dropfit.rest import Api

from .environment import Environment
from .needed import services

Verdict = Literal["ok", "warn", "fail"]
AT_ONCE = 8
"""So many checks wait for the network at a time."""
PROJECTS = "https://cloudresourcemanager.googleapis.com/v3/projects"
HOST = re.compile(r"https://(\w+)\.googleapis\.com")


class Finding(msgspec.Struct, frozen=True):
    """What a check found.

    Attributes:
        group: what it belongs to, such as `project`.
        check: what was looked at.
        verdict: `ok`; `warn`, it could not be seen or may go wrong; `fail`, it will go wrong.
        says: what was found.
        remedy: what to do, a line each; one that begins with `$ ` is a command to paste.
    """

    group: str
    check: str
    verdict: Verdict
    says: str
    remedy: str = ""


class Told(NamedTuple):
    """A finding whose group and check are known."""

    verdict: Verdict
    says: str
    remedy: str = ""


def ok(says: str) -> Told:
    """All is well, and why we think so."""
    return Told("ok", says)


def warn(says: str, *remedy: str) -> Told:
    """It could not be seen, or may go wrong."""
    return Told("warn", says, "\n".join(remedy))


def fail(says: str, *remedy: str) -> Told:
    """It will go wrong, or has."""
    return Told("fail", says, "\n".join(remedy))


class Look:
    """Google's APIs, read in the name of the deployment's project.

    Args:
        environment: which deployment.
        api: with the caller's credentials.

    Attributes:
        email: whose credentials those are, once it is known.
        number: of the project, once it is known.
    """

    def __init__(self, environment: Environment, api: Api) -> None:
        self.environment, self._api = environment, api
        self.email, self.number = "", ""

    def get(self, url: str, asked: Mapping[str, Any] | None = None) -> dict[str, Any]:
        """What GET answers.

        Raises:
            NotFound, Refused, Unavailable: as Api does.
        """
        return self._api.send("GET", url, params=dict(asked or {}), headers=self._ours())

    def listed(self, url: str, key: str, asked: Mapping[str, Any] | None = None) -> list[dict[str, Any]]:
        """All that GET lists under a key, page after page.

        Raises:
            NotFound, Refused, Unavailable: as Api does.
        """
        found: list[dict[str, Any]] = []
        page: dict[str, Any] = {}
        while True:
            told = self.get(url, {**(asked or {}), **page})
            found += told.get(key, [])
            if not told.get("nextPageToken"):
                return found
            page = {"pageToken": told["nextPageToken"]}

    def lacking(self, resource: str, permissions: Sequence[str]) -> list[str]:
        """Which permissions on a resource the caller lacks.

        Raises:
            NotFound, Refused, Unavailable: as Api does.
        """
        body = {"permissions": list(permissions)}
        told = self._api.send("POST", f"{resource}:testIamPermissions", json=body, headers=self._ours())
        return [one for one in permissions if one not in set(told.get("permissions", []))]

    def who(self) -> str:
        """The caller's email, empty when the credentials do not tell.

        Raises:
            Refused, Unavailable: when they are not good for anything.
        """
        self.email = str(self._api.get("https://openidconnect.googleapis.com/v1/userinfo").get("email", ""))
        return self.email

    @property
    def project(self) -> str:
        """Where the project is described."""
        return f"{PROJECTS}/{self.environment.project}"

    @property
    def member(self) -> str:
        """The caller as IAM writes members."""
        if not self.email:
            return "user:YOU@EXAMPLE.COM"
        return f"{'serviceAccount' if self.email.endswith('.gserviceaccount.com') else 'user'}:{self.email}"

    def grant(self, role: str) -> str:
        """The command that gives the caller a role."""
        member = f"--member={self.member} --role={role} --condition=None"
        return f"$ gcloud projects add-iam-policy-binding {self.environment.project} {member}"

    def enable(self, *services: str) -> str:
        """The command that switches APIs on."""
        return f"$ gcloud services enable {' '.join(services)} --project={self.environment.project}"

    def _ours(self) -> dict[str, str]:
        # As Terraform does (versions.tf): else an API counts as off when it is off in the credentials' own project.
        return {"x-goog-user-project": self.environment.project}


class Check(NamedTuple):
    """Something to look at.

    Attributes:
        group, what: as in its findings.
        look: says what it found.
    """

    group: str
    what: str
    look: Callable[[Look], Iterable[Told]]


def made(look: Look, checks: Sequence[Check]) -> list[Finding]:
    """What the checks find, in their order; they are made at the same time, and one that breaks off says so."""
    with ThreadPoolExecutor(AT_ONCE) as pool:
        return [finding for found in pool.map(lambda check: _one(look, check), checks) for finding in found]


def _one(look: Look, check: Check) -> list[Finding]:
    try:
        told = list(check.look(look))
    except DropfitError as error:
        told = [unseen(look, error)]
    except Exception as error:  # an answer in a shape that nobody knew: the doctor goes on
        told = [warn(f"could not look, because the answer was not as expected: {type(error).__name__}: {error}")]
    return [Finding(check.group, check.what, *one) for one in told]


def unseen(look: Look, error: DropfitError) -> Told:
    """A check that could not be made, and what to do about that."""
    if isinstance(error, NotFound):
        return warn(f"could not look, because {error}")
    if isinstance(error, Unavailable) or not isinstance(error, Refused):
        return warn(f"could not look, because there was no answer: {error}", "Try again in a minute.")
    project, said = look.environment.project, error.said.rstrip(".")
    if "quota project" in said or (is_off(error) and _elsewhere(look, said)):
        command = f"$ gcloud auth application-default set-quota-project {project}"
        return warn(f"could not look, because Google takes another project for yours: {said}", command)
    if is_off(error):
        service = f"{host(error)}.googleapis.com"
        return warn(f"could not look, because {service} is off in {project}", *switch_on(look, [service]))
    role = "roles/serviceusage.serviceUsageConsumer" if error.reason == "USER_PROJECT_DENIED" else "roles/viewer"
    remedy = ("Somebody who may give rights in the project runs:", look.grant(role)) if error.status == 403 else ()
    return warn(f"could not look, because Google refuses: {said}", *remedy)


def switch_on(look: Look, off: Sequence[str]) -> tuple[str, str]:
    """What to do about APIs that are off: the same for all that deploying needs, so that it is told once."""
    all_needed = services(look.environment)
    if set(off) <= set(all_needed):
        return "`dropfit deploy` switches on all that it needs. To look before:", look.enable(*all_needed)
    return "Deploying does not need it, looking does. To look:", look.enable(*off)


def is_off(error: Refused) -> bool:
    """Whether an API refused because it is not switched on."""
    return error.reason == "SERVICE_DISABLED" or "has not been used in project" in error.said


def host(error: Refused) -> str:
    """Which API refused: `run`, `pubsub` ..."""
    found = HOST.search(str(error))
    return found[1] if found else "the"


def _elsewhere(look: Look, said: str) -> bool:
    """Whether a refusal speaks of another project than ours."""
    named = re.search(r"in project ([\w-]+)", said)
    return (
        bool(named and look.number) and named is not None and named[1] not in (look.number, look.environment.project)
    )
