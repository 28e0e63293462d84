# SPDX-License-Identifier: Apache-2.0
"""The commands that take Dropfit from this clone to a project in Google Cloud, look after it there, and remove it.

The only module of the package that imports what deploys, and only when a command needs it: the functions have none of
it, nor what it needs.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Annotated

import typer

from .errors import BadRequest, DeployError, SettingsError
from .rest import Api
from .terminal import AsJson, out, print_json
from .text import plain

if TYPE_CHECKING:
    from infra.deploy.destroy import Going
    from infra.deploy.environment import Environment
    from infra.deploy.plans import Plan

SHOWN = 40
"""So many addresses of what is removed are named one by one."""

Env = Annotated[str, typer.Argument(metavar="[ENV]", help="dev, prod ...: infra/ENV.tfvars describes it.")]
Yes = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask: for programs.")]


def doctor(env: Env = "dev", as_json: AsJson = False) -> None:
    """Look whether a project is ready for a deployment, and whether one that is there is well. Changes nothing.

    Credentials, billing, APIs, roles, quotas, names; then the trigger, its dead letters, the functions. Exit status 1
    when something has to be mended.
    """
    environment, api = _deployment(env)
    from infra.deploy import display, state
    from infra.deploy import doctor as checks

    found = list(checks.before(environment, api))
    if not any(finding.verdict == "fail" for finding in found) and state.holds_state(environment, api):
        found += [finding for finding in checks.after(environment, api) if finding not in found]
    if as_json:
        names = ("group", "check", "verdict", "says", "remedy")
        print_json([{name: getattr(finding, name) for name in names} for finding in found])
    else:
        display.show(found, out)
    if any(finding.verdict == "fail" for finding in found):
        raise typer.Exit(1)


def deploy(
    env: Env = "dev",
    preview: Annotated[bool, typer.Option("--plan", help="Show what would change, and change nothing.")] = False,
    yes: Yes = False,
) -> None:
    """Deploy this clone, or what has changed in it, to the project that infra/ENV.tfvars names.

    Bundles the code, builds its images in the project, and runs Terraform. Asks before it changes anything but the
    first APIs and the bucket of Terraform's state. After a fault, the same command goes on. With --plan the exit
    status is 0 whether or not something would change.
    """
    environment, api = _deployment(env)
    from infra.deploy import deploy as deploying

    run = deploying.Deployment(environment, api, _tell, lambda plan: yes or _agreed(environment, plan))
    if preview:
        plan = run.preview()
        _tell(plan.summary() if plan.applyable else "nothing to change")
        plan.file.unlink(missing_ok=True)
        return
    file = run.run()
    if file is None:
        raise DeployError("you did not agree. The state's bucket may have been made; nothing else was changed")
    _tell(deploying.what_now(file))


def destroy(
    env: Env = "dev",
    and_data: Annotated[
        bool, typer.Option("--and-data", help="Also uploads, accepted rows, models, tables, logs.")
    ] = False,
    yes: Yes = False,
    project: Annotated[str, typer.Option("--project", metavar="ID", help="Instead of typing it when asked.")] = "",
) -> None:
    """Remove a deployment. Its data stays, unless --and-data says that it goes too.

    Shows what goes and what stays, and asks for the project's id. Programs say --yes; with --and-data they name the
    project too.
    """
    environment, api = _deployment(env)
    if project and project != environment.project:
        raise BadRequest(f"infra/{env}.tfvars names the project {environment.project}, and not {project}")
    if yes and and_data and not project:
        raise BadRequest(f"--yes --and-data removes all data unasked: name it, --project {environment.project}")
    from infra.deploy.destroy import Destruction

    run = Destruction(environment, api, _tell, and_data=and_data)
    if not run.run(lambda going: _typed(environment, going, yes or project == environment.project)):
        raise DeployError("that is not the project's id: nothing was changed")


def _deployment(key: str) -> tuple[Environment, Api]:
    """The deployment of infra/<key>.tfvars, and Google's APIs with a person's credentials."""
    try:
        from infra.deploy import doctor, environment
    except ImportError as error:
        raise SettingsError(
            f"{error}: this needs the whole clone and its packages. In the clone `make env`, then .venv/bin/dropfit"
        ) from error
    environment.not_the_laptops()
    return environment.read(key), Api(doctor.SCOPE)


def _tell(text: str) -> None:
    out.print(plain(text), soft_wrap=True)


def _agreed(environment: Environment, plan: Plan) -> bool:
    """Whether a person wants a plan done."""
    _tell(f"Project {environment.project}: {plan.summary()}.")
    for what, addresses in (("replaced", plan.of("replace")), ("destroyed", plan.of("delete"))):
        for address in addresses[:SHOWN]:
            _tell(f"  {what}: {address}")
        if len(addresses) > SHOWN:
            _tell(f"  and {len(addresses) - SHOWN} more {what}")
    _needs_a_person()
    return typer.confirm("Do it?")


def _typed(environment: Environment, going: Going, unasked: bool) -> bool:
    """Whether a person wants it gone, and knows which."""
    _tell(f"Project {environment.project}. {going.told()}")
    if unasked:
        return True
    _needs_a_person()
    return bool(typer.prompt("Type the project's id to go on", default="", show_default=False) == environment.project)


def _needs_a_person() -> None:
    if not sys.stdin.isatty():
        raise BadRequest("there is nobody to ask: --yes says that it may be done")


VERBS = (doctor, deploy, destroy)
