# SPDX-License-Identifier: Apache-2.0
"""`dropfit destroy`: all that costs while it stands still goes; what was learned stays, unless it is named too.

What holds data is kept twice over: it is not among the targets, and a plan that would delete it all the same is not
done. The protections of what goes are taken off in the state alone, where the provider looks for them: an apply would
deploy the clone's code for that, which may be another than what runs, or the very reason why somebody destroys.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable
from typing import Any

import msgspec

from dropfit.errors import DeployError, NotFound
from dropfit.rest import Api

from . import holdings, state
from .deploy import bundled
from .environment import Environment
from .holdings import Holding
from .plans import Plan
from .stages import Stages, Tell
from .terraform import Terraform

PROTECTIONS: dict[str, tuple[Any, Any]] = {
    "deletion_protection": (True, False),
    "deletion_policy": ("PREVENT", "DELETE"),
    "force_destroy": (False, True),
    "delete_contents_on_destroy": (False, True),
}
"""Fields that exist in the state alone: what keeps something, and what lets it go."""


class Going(msgspec.Struct, frozen=True):
    """What would go, and what would stay.

    Attributes:
        goes: addresses.
        stays: addresses.
        data: how much there is, whether it stays or goes.
        and_data: whether it goes.
    """

    goes: tuple[str, ...]
    stays: tuple[str, ...]
    data: tuple[Holding, ...]
    and_data: bool

    def told(self) -> str:
        """For a person to decide on."""
        counts = Counter(address.partition(".")[0].removeprefix("google_") for address in self.goes)
        lines = ["These go:", *(f"  {count:3} {kind}" for kind, count in sorted(counts.items()))]
        lines += ["and with them all data, for good:" if self.and_data else "These stay, with what is in them:"]
        lines += [f"  {holding.where}: {holding.says}" for holding in self.data] or ["  (no data)"]
        if not self.and_data:
            lines += [f"  {address}" for address in self.stays if holdings.kind(address) in LOGS]
        lines += ["  the project's APIs stay on; so does the bucket of Terraform's state"]
        return "\n".join(lines)


LOGS = {"google_logging_project_bucket_config.predictions"}
Agree = Callable[[Going], bool]


class Destruction:
    """One run of `dropfit destroy`.

    Args:
        environment: what is destroyed.
        api: Google's, with a person's credentials.
        tell: what the person reads.
        and_data: whether data goes too.
    """

    def __init__(self, environment: Environment, api: Api, tell: Tell, *, and_data: bool) -> None:
        self._environment, self._api, self._tell, self._and_data = environment, api, tell, and_data
        self._stages = Stages(tell, f"dropfit destroy {environment.key}{' --and-data' if and_data else ''}")
        self._terraform = Terraform(environment, lambda line: tell(f"   {line}"))

    def run(self, agree: Agree) -> bool:
        """Destroy; False when the person does not want it.

        Args:
            agree: asked with what goes and what stays before anything is touched.

        Raises:
            NotFound: when nothing is there.
            DeployError: naming the stage that broke off, and the way to go on.
        """
        stage = self._stages.stage
        with stage("look at what is there", changes=False) as tell:
            going = self._look(tell)
        if not going.goes:
            raise NotFound(f"nothing of {self._environment.key} is left but what stays: {', '.join(going.stays)}")
        if not agree(going):
            return False
        with stage("take off the protections") as tell:
            tell(f"of {self._release(going.goes)} resources, in Terraform's state")
        with stage("plan") as tell:
            plan = self._plan(going)
            tell(plan.summary())
        with stage("destroy"):
            self._terraform.apply(plan)
        self._tell(self._afterwards(going))
        return True

    def _look(self, tell: Tell) -> Going:
        if not state.holds_state(self._environment, self._api):
            bucket = self._environment.bucket("state")
            raise NotFound(f"there is no state in gs://{bucket}: nothing was deployed with it, or it was removed")
        bundled(tell)  # the configuration names its files, and is read also to destroy
        self._terraform.init()
        there = self._terraform.state()
        kept = holdings.KEPT - (holdings.DATA if self._and_data else frozenset())
        goes = tuple(address for address in there if holdings.kind(address) not in kept)
        stays = tuple(address for address in there if address not in goes)
        return Going(goes, stays, tuple(holdings.found(self._environment, self._api)), self._and_data)

    def _release(self, goes: Iterable[str]) -> int:
        """Take the protections off in the state: of how many resources."""
        stored = self._terraform.pull()
        released = unprotect(stored, {holdings.kind(address) for address in goes})
        if released:
            stored["serial"] += 1
            self._terraform.push(stored)
        return released

    def _plan(self, going: Going) -> Plan:
        variables = {"deletion_protection": "false", "delete_data": str(self._and_data).lower()}
        plan = self._terraform.plan(going.goes, variables, destroy=True)
        lost = sorted(plan.removed - set(going.goes))
        made = plan.of("create", "update", "replace")
        if lost or made or (not self._and_data and any(map(holdings.holds_data, plan.removed))):
            plan.file.unlink(missing_ok=True)
            raise DeployError(
                f"the plan is not what was agreed to, and nothing was removed: {', '.join(lost or made)}. "
                "Something that stays depends on something that goes; say so at the project's issues"
            )
        return plan

    def _afterwards(self, going: Going) -> str:
        key, bucket = self._environment.key, self._environment.bucket("state")
        if self._and_data:
            return (
                "Destroyed, with its data. Objects can be restored as long as their bucket's soft delete says, and "
                "the log bucket within 7 days.\n"
                f"What is left: gs://{bucket}, the state's history, and that of infra/pipeline if you use it. "
                f"`gcloud storage rm -r gs://{bucket}` removes it."
            )
        left = "\n".join(f"  {holding.where}: {holding.says}" for holding in going.data) or "  no data"
        return (
            f"Destroyed. What is left:\n{left}\n  gs://{bucket}, Terraform's state, which knows of it\n"
            f"{holdings.cost(going.data)}.\n"
            f"`dropfit deploy {key}` builds over it again; `dropfit destroy {key} --and-data` removes it too."
        )


def unprotect(stored: dict[str, Any], kinds: set[str]) -> int:
    """Take the protections off in a state: of how many resources.

    Args:
        stored: the state, as `terraform state pull` has it; changed.
        kinds: types and names of what is to be destroyed.
    """
    released = 0
    for resource in stored.get("resources", ()):
        if f"{resource['type']}.{resource['name']}" not in kinds or resource.get("mode") != "managed":
            continue
        for instance in resource["instances"]:
            held = instance.get("attributes") or {}
            keeping = [
                name for name, (keeps, _) in PROTECTIONS.items() if name in held and held[name] in (keeps, None)
            ]
            held.update({name: PROTECTIONS[name][1] for name in keeping})
            released += bool(keeping)
    return released
