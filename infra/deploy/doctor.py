# SPDX-License-Identifier: Apache-2.0
"""`dropfit doctor`: what stands in the way of a deployment, and whether one that was made is well. It only reads.

    .venv/bin/python -m infra.deploy.doctor dev [--after] [--json]

Each finding says what was looked at, what was found, and what to do. What could not be looked at is a warning that
says why, and never counts as well.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence

import msgspec

from dropfit.errors import DropfitError
from dropfit.rest import CLOUD, Api

from . import display
from .checks_delivery import DELIVERY
from .checks_laptop import CREDENTIALS, TOOLS
from .checks_project import EXISTS, PROJECT
from .checks_quota import QUOTA
from .checks_region import REGION
from .checks_running import RUNNING
from .checks_tfvars import TFVARS
from .environment import Environment, not_the_laptops, read
from .look import Check, Finding, Look, made

SCOPE = f"{CLOUD} https://www.googleapis.com/auth/userinfo.email"
"""To read the project, and to know whose credentials these are."""


def before(environment: Environment, api: Api) -> list[Finding]:
    """What is to be known before anything is made: tfvars, tools, credentials, project, region, names, quotas.

    Args:
        environment: which deployment.
        api: with SCOPE.
    """
    look = Look(environment, api)
    return [*made(look, [*TFVARS, *TOOLS]), *_while_it_goes(look, [CREDENTIALS, EXISTS, [*PROJECT, *REGION, *QUOTA]])]


def after(environment: Environment, api: Api) -> list[Finding]:
    """Whether what was deployed is well: delivery, dead letters, functions, jobs, schedule, alerts.

    Args:
        environment: which deployment.
        api: with SCOPE.
    """
    return _while_it_goes(Look(environment, api), [CREDENTIALS, EXISTS, [*DELIVERY, *RUNNING]])


def _while_it_goes(look: Look, stages: Sequence[Sequence[Check]]) -> list[Finding]:
    """Stage after stage; when one fails, all that follows would fail for the same reason, and is left out."""
    findings: list[Finding] = []
    for at, checks in enumerate(stages):
        found = made(look, checks)
        findings += found
        left = [check for stage in stages[at + 1 :] for check in stage]
        if left and any(one.verdict == "fail" for one in found):
            says = f"{len(left)} more checks were not made: they need the {found[-1].group}"
            return [*findings, Finding("the rest", "not looked at", "warn", says)]
    return findings


def main(arguments: list[str] | None = None, api: Api | None = None) -> int:
    """The command line; 1 when something has to be mended."""
    parser = argparse.ArgumentParser(prog="infra.deploy.doctor", description=(__doc__ or "").split("\n")[0])
    parser.add_argument("environment", help="dev, prod ...: infra/<environment>.tfvars")
    parser.add_argument("--after", action="store_true", help="is what was deployed well?")
    parser.add_argument("--json", action="store_true", help="for programs")
    given = parser.parse_args(arguments)
    try:
        not_the_laptops()
        look = after if given.after else before
        findings = look(read(given.environment), api or Api(SCOPE))
    except DropfitError as error:
        print(error, file=sys.stderr)
        return 1
    if given.json:
        print(json.dumps(msgspec.to_builtins(findings), indent=2))
    else:
        from dropfit.terminal import out

        display.show(findings, out)
    return int(any(one.verdict == "fail" for one in findings))


if __name__ == "__main__":
    sys.exit(main())
