# SPDX-License-Identifier: Apache-2.0
"""Checks of this machine: is Terraform there, is the code committed, whose credentials are these."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

from dropfit import settings
from dropfit.errors import DropfitError, Refused, Unavailable, legible

from .environment import INFRA, ROOT
from .look import Check, Look, Told, fail, ok, unseen, warn

SECONDS = 30.0
NAMED = "GOOGLE_APPLICATION_CREDENTIALS"
NONE = "no default credentials that work"
INSTALL = "Install it: https://developer.hashicorp.com/terraform/install"


def terraform(_: Look) -> Iterator[Told]:
    """Is there a Terraform that is new enough?"""
    named, wanted = settings.terraform(), required()
    found = shutil.which(str(Path(ROOT, named)) if "/" in named else named)
    if found is None:
        yield fail(f"{named} is not there; {wanted} or newer is needed", INSTALL, OTHERWISE)
        return
    try:
        done = subprocess.run(
            [found, "version", "-json"], capture_output=True, text=True, timeout=SECONDS, check=True
        )
        version = str(json.loads(done.stdout)["terraform_version"])
    except (OSError, subprocess.SubprocessError, ValueError, LookupError, TypeError) as error:
        yield fail(f"{found} does not tell its version: {error}", INSTALL, OTHERWISE)
        return
    if numbers(version) < numbers(wanted):
        yield fail(f"{found} is {version}; {wanted} or newer is needed", INSTALL, OTHERWISE)
    else:
        yield ok(f"{version} at {found}; {wanted} is enough")


FILES = 5
OTHERWISE = "Or set the environment variable TERRAFORM to the one to run."


def git(_: Look) -> Iterator[Told]:
    """Is what would be deployed committed?"""
    command = ["git", "-C", str(ROOT), "status", "--porcelain", "--", "functions", "beam_pipelines", "infra"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=SECONDS, check=True)
    except (OSError, subprocess.SubprocessError):
        yield ok("no git here; what is deployed is named by its content")
        return
    changed = [line[3:] for line in done.stdout.splitlines()]
    if changed:
        says = f"{len(changed)} {'files differ' if len(changed) > 1 else 'file differs'} from the last commit"
        named = ", ".join(legible(name, 100) for name in changed[:FILES]) + (" ..." if len(changed) > FILES else "")
        yield warn(
            f"{says}: nobody else can deploy the same",
            f"{named}: commit first, or go on: this is only so that you know.",
        )
    else:
        yield ok("all that is deployed is committed")


def gcloud(_: Look) -> Iterator[Told]:
    """Is there gcloud, which remedies and a login are told in? Nothing that deploys needs it."""
    found = shutil.which("gcloud")
    if found:
        yield ok(f"at {found}")
    else:
        yield warn(
            "gcloud is not there. Deploying does not need it; to log in, and for the commands told here, you do",
            "Install it: https://cloud.google.com/sdk/docs/install",
        )


def credentials(look: Look) -> Iterator[Told]:
    """Are there default credentials, do they work, and whose are they?"""
    wrong = _wrong_file()
    if wrong:
        yield fail(wrong, *_login(look))
        return
    try:
        email = look.who()
    except Unavailable as error:
        if _no_network(error):
            cause = str(error).rpartition("(Caused by ")[2].removesuffix(")")
            yield fail(f"Google did not answer: {cause}", "Look at this machine's network or proxy, and try again.")
        else:
            file = settings.credentials_file()
            what = f"the credentials in {file}, which {NAMED} names, do not work" if file else NONE
            yield fail(f"{what}: {_cause(error)}", *_login(look))
        return
    except Refused as error:
        if error.status == 401 and not _taken(look):
            yield fail(f"Google does not take the default credentials: {error.said}", *_login(look))
            return
        if error.status != 401:
            yield unseen(look, error)
            return
        email = ""
    yield ok(email or "they work; they do not tell whose they are")


def _wrong_file() -> str:
    """What is wrong with the file that the environment names, as far as one can see without asking Google."""
    file = settings.credentials_file()
    if not file:
        return ""
    try:
        kind = json.loads(Path(file).read_text())["type"]
    except FileNotFoundError:
        return f"{NAMED} names {file}, and there is no such file"
    except OSError as error:
        return f"{NAMED} names {file}, which cannot be read: {error.strerror or error}"
    except (ValueError, LookupError, TypeError):
        return f"{NAMED} names {file}, which is no JSON file of credentials"
    return "" if isinstance(kind, str) else f"{NAMED} names {file}, which is no JSON file of credentials"


def _login(look: Look) -> tuple[str, ...]:
    if settings.credentials_file():
        return (
            f"Unset {NAMED}, or name a file that is there and good. As long as it is set, no login counts.",
            f"$ unset {NAMED}",
        )
    quota = f"$ gcloud auth application-default set-quota-project {look.environment.project}"
    return (
        "Sign in, and say whose quota your requests count against:",
        "$ gcloud auth application-default login",
        quota,
    )


def _taken(look: Look) -> bool:
    """Whether Google takes them for the project: a build's token need not be good for asking whose it is."""
    try:
        look.get(look.project)
    except Refused as error:
        return error.status != 401
    except DropfitError:
        return False
    return True


def required() -> str:
    """The oldest Terraform that versions.tf takes."""
    found = re.search(r'required_version\s*=\s*">=\s*([\d.]+)"', (INFRA / "versions.tf").read_text())
    return found[1] if found else "1.11"


def numbers(version: str) -> tuple[int, ...]:
    """`1.11.4` as numbers that compare; what follows a hyphen does not count."""
    return tuple(int(part) for part in re.findall(r"\d+", version.partition("-")[0]))


def _kinds(error: BaseException | None) -> set[str]:
    return {kind.__name__ for kind in type(error).__mro__} if error else set()


def _no_network(error: Unavailable) -> bool:
    kinds = _kinds(error.__cause__)
    return "GoogleAuthError" not in kinds or "TransportError" in kinds


def _cause(error: Unavailable) -> str:
    cause = error.__cause__
    said = str(cause.args[0]) if cause and cause.args else str(cause)  # google.auth gives the answer beside it
    return said.split(". ")[0].split("\n")[0]


TOOLS = [Check("tools", "Terraform", terraform), Check("tools", "git", git), Check("tools", "gcloud", gcloud)]
CREDENTIALS = [Check("credentials", "who you are", credentials)]
