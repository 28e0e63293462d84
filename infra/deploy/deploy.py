# SPDX-License-Identifier: Apache-2.0
"""`dropfit deploy`: from a clone and an empty project to a served endpoint, and again after each change.

Nothing but the first APIs and the bucket of the state is made before a person has seen the plan. Every stage looks
first and does only what is missing, so that after any fault the same command goes on.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from dropfit import settings
from dropfit.errors import DeployError, SettingsError
from dropfit.rest import Api
from localcloud.envfile import quoted

from . import apis, bundle, dead_letter, doctor, images, state, stillborn
from .environment import Environment
from .look import Finding
from .plans import Plan
from .stages import Stages, Tell
from .terraform import Terraform, TerraformError, apart

FOUNDATION = (
    "google_project_service.apis",
    "google_artifact_registry_repository.images",
    "google_storage_bucket.source",
    "google_storage_bucket_object.functions",
    "google_storage_bucket_object.job",
    "google_service_account.build",
    "google_artifact_registry_repository_iam_member.build",
    "google_project_iam_member.build_logs",
    "google_storage_bucket_iam_member.source",
)
"""What images are built with: it has to be there before what runs them can be planned to the end."""
TRIES, PAUSE = 6, 60.0
"""A first deployment meets rights and APIs that Google has not heard of everywhere; so often, so many seconds."""
Agree = Callable[[Plan], bool]


class Deployment:
    """One run of `dropfit deploy`.

    Args:
        environment: what is deployed.
        api: Google's, with a person's credentials.
        tell: what the person reads.
        agree: asked with a plan before it is done; says whether it may be.
    """

    def __init__(self, environment: Environment, api: Api, tell: Tell, agree: Agree) -> None:
        self._environment, self._api, self._agree = environment, api, agree
        self._tell = tell
        self._stages = Stages(tell, f"dropfit deploy {environment.key}")
        self._terraform = Terraform(environment, lambda line: tell(f"   {line}"))
        self._allowed: set[str] = set()

    def run(self) -> Path | None:
        """Deploy: the file with the deployment's addresses, or None when the person does not want it.

        Raises:
            DeployError: naming the stage that broke off, and the way to go on.
        """
        stage = self._stages.stage
        code = self._prepare()
        with stage("APIs that Terraform needs to begin") as tell:
            apis.switch_on(self._environment, self._api, tell)
        with stage("bucket of Terraform's state") as tell:
            state.ensure(self._environment, self._api, tell)
        with stage("plan") as tell:
            self._terraform.init()
            plan = self._plan(tell)
            tell(plan.summary() if plan.applyable else "nothing to change")
        if plan.applyable and not self._agree(plan):
            plan.file.unlink(missing_ok=True)
            return None
        self._allowed = plan.removed
        if plan.applyable:
            plan = self._found(plan)
            with stage("images") as tell:
                images.build(self._environment, code, self._api, tell)
            with stage("apply") as tell:
                self._apply(plan, tell)
        with stage("dead letters of the upload trigger") as tell:
            delivery = dead_letter.connect(self._environment, self._api, tell)
            tell(f"{delivery.subscription.rpartition('/')[2]} is as it should be")
        with stage("addresses") as tell:
            file = write_addresses(self._environment, self._terraform.output())
            tell(f"{_shown(file)} names them")
        with stage("look at what is there") as tell:
            heed(doctor.after(self._environment, self._api), tell)
        return file

    def preview(self) -> Plan:
        """What `run` would do. Nothing changes in the cloud, not even a lock is taken.

        Raises:
            DeployError: naming the stage that broke off.
        """
        self._stages = Stages(self._tell, f"dropfit deploy {self._environment.key} --plan")
        code = self._prepare()
        with self._stages.stage("plan", changes=False) as tell:
            off = apis.missing(self._environment, self._api)
            if off:
                raise DeployError(
                    f"{', '.join(off)} are off, and without them a project cannot be looked at. `dropfit deploy` "
                    f"switches them on; for a plan alone: `{apis.by_hand(self._environment)}`"
                )
            if state.holds_state(self._environment, self._api):
                self._terraform.init()
                for address in stillborn.found(self._terraform.pull()):
                    tell(
                        f"{address} never became ready: `dropfit deploy` takes its protection off, and makes it anew"
                    )
                return self._terraform.plan(lock=False, shown=True)
            tell("nothing was deployed yet: planned from an empty state")
            with apart(self._environment, lambda line: self._tell(f"   {line}")) as terraform:
                terraform.init()
                variables = {"functions_zip": str(code.functions)}
                return terraform.plan(variables=variables, lock=False, shown=True)

    def _prepare(self) -> bundle.Code:
        """Look whether it can succeed, and make what is deployed: nothing leaves this machine."""
        with self._stages.stage("checks", changes=False) as tell:
            heed(doctor.before(self._environment, self._api), tell)
        with self._stages.stage("code", changes=False) as tell:
            return bundled(tell)

    def _found(self, plan: Plan) -> Plan:
        """Make what images are built with, where it is not there; the plan for the rest."""
        if not plan.touches(set(FOUNDATION)):
            return plan
        with self._stages.stage("foundation: APIs, registry, code") as tell:
            tell("Terraform will warn that this is a part; the rest follows")
            self._apply(None, tell, FOUNDATION)
            apis.make_agent(self._environment, self._api, tell)
        with self._stages.stage("plan for the rest") as tell:
            rest = self._plan(tell)
            tell(rest.summary() if rest.applyable else "nothing to change")
        return rest

    def _plan(self, tell: Tell, targets: Iterable[str] = ()) -> Plan:
        """What would change, once nothing keeps Terraform from making anew what never ran."""
        stored = self._terraform.pull()
        released = stillborn.release(stored)
        if released:
            self._terraform.push(stored)
            self._allowed |= set(released)  # nothing that ever ran is lost
            tell(f"never became ready, and may be made anew: {', '.join(released)}")
        return self._terraform.plan(list(targets))

    def _apply(self, plan: Plan | None, tell: Tell, targets: Iterable[str] = ()) -> None:
        """Do a plan; what fails because Google is not everywhere ready is planned and tried again."""
        for attempt in range(1, TRIES + 1):
            plan = plan or self._plan(tell, targets)
            if not plan.applyable:
                tell("nothing to change")
                return
            if plan.removed - self._allowed:
                self._ask_again(plan)
            try:
                self._terraform.apply(plan)
                return
            except TerraformError as error:
                if attempt == TRIES or not error.passes:
                    raise
                tell(f"{error}\nOnce more in {PAUSE:.0f} s ({attempt} of {TRIES - 1})")
                plan = None
                time.sleep(PAUSE)

    def _ask_again(self, plan: Plan) -> None:
        if not self._agree(plan):
            plan.file.unlink(missing_ok=True)
            raise DeployError("you did not agree to what would be removed now")
        self._allowed |= plan.removed


def bundled(tell: Tell) -> bundle.Code:
    """The code as zips.

    Raises:
        DeployError: when it cannot be bundled.
    """
    try:
        return bundle.build(tell=tell)
    except bundle.BundleError as error:
        raise DeployError(str(error)) from error


def heed(findings: Iterable[Finding], tell: Tell) -> None:
    """Tell what is not as it should be.

    Raises:
        DeployError: when something cannot be lived with.
    """
    found = list(findings)
    for finding in found:
        if finding.verdict != "ok":
            tell(
                "\n      ".join([f"{finding.verdict}: {finding.check}: {finding.says}", *finding.remedy.splitlines()])
            )
    fails = sum(finding.verdict == "fail" for finding in found)
    warns = sum(finding.verdict == "warn" for finding in found)
    tell(f"{len(found) - fails - warns} fine, {warns} to know, {fails} to mend")
    if fails:
        raise DeployError(f"{fails} of {len(found)} checks fail, see above")


def write_addresses(environment: Environment, output: dict[str, Any]) -> Path:
    """Write the file that people's commands read the deployment's addresses from.

    Args:
        environment: what was deployed.
        output: of Terraform; `env` is a map of variables.

    Raises:
        SettingsError: when Terraform says none.
    """
    values = output.get("env")
    if not values:
        raise SettingsError("Terraform's output has no `env`: see infra/outputs.tf")
    file = settings.home() / f"{environment.key}.env"
    file.parent.mkdir(parents=True, exist_ok=True)
    again = f"# Written by `dropfit deploy {environment.key}`. Use: set -a; . {_shown(file)}; set +a"
    lines = [again, *(f"{name}={quoted(name, str(value))}" for name, value in sorted(values.items()))]
    draft = file.with_suffix(".new")
    draft.unlink(missing_ok=True)
    with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as stream:
        stream.write("\n".join(lines) + "\n")
    draft.replace(file)
    return file


def what_now(file: Path) -> str:
    """What a person does next."""
    return (
        "Deployed. Next:\n"
        f"  set -a; . {_shown(file)}; set +a\n"
        "  dropfit upload --wait FILE\n"
        "  dropfit predict '{...}'"
    )


def _shown(file: Path) -> str:
    """A path as one types it from here."""
    return os.path.relpath(file) if file.is_relative_to(Path.cwd()) else str(file)
