# SPDX-License-Identifier: Apache-2.0
"""Checks of what a tfvars file says, before Google is asked anything: what Terraform or Dropfit would refuse later.

That a file can be read, and describes a deployment of its own, environment.read says.
"""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path
from typing import Any

from dropfit import settings as config
from dropfit.errors import SettingsError, legible

from . import tfvars
from .environment import INFRA, ROOT, Environment
from .look import Check, Look, Told, fail, ok

LISTS = ("operators", "uploaders", "invokers", "analysts")
FUNCTIONS = ROOT / "functions"
LOADS = """
import sys
from dropfit.contract import load_problem
from dropfit.errors import ContractError
try:
    load_problem(sys.argv[1])
except ContractError as error:
    sys.exit(str(error))
print(sys.modules[sys.argv[1].partition(":")[0]].__file__)
"""
"""What a function does with its problem when it starts."""
SECONDS = 120.0
ADDRESS = r"^[^@: ]+@[^@: ]+[.][^@: ]+$"
"""As infra/variables.tf has it."""
TYPES = (
    (r"Expected `int`, got `\w+`", "it must be a whole number"),
    (r"Expected `float`, got `\w+`", "it must be a number"),
    (r"Expected `\w+` (?=[<>])", "it must be "),
    (r"Invalid enum value .*; one of", "it must be one of"),
)
"""How Settings says what it wants, and what that means to a person."""
SETTINGS = "docs/operate.md, Settings, says what there is, and what it may be."


def values(look: Look) -> Iterator[Told]:
    """Will Google take the labels, the schedule and the sizes?"""
    environment = look.environment
    wrong = [_wrong(look, where, says) for where, right, says in _sizes(environment) if not right]
    wrong += _emails(look)
    for form, message in _declared()["sweep_schedule"].forms:
        if not re.search(form, environment.sweep_schedule):
            wrong.append(_wrong(look, "sweep_schedule", f"{environment.sweep_schedule!r} is no schedule: {message}"))
    key_form, value_form = _locals()["label_key"], _locals()["label_value"]
    for key, value in environment.labels.items():
        if not (re.search(key_form, key) and re.search(value_form, value)):
            wrong.append(_wrong(look, "labels", f"label {key} = {value!r}: {_message('labels', 'label_key')}"))
    yield from wrong or [ok(f"{environment.name} in {environment.project}, {environment.region}")]


def _emails(look: Look) -> Iterator[Told]:
    message = _message("alert_emails", "regex")
    for email in look.environment.alert_emails:
        if not re.search(ADDRESS, email):
            yield _wrong(look, "alert_emails", f"{legible(email, 100)!r} is no address. {message}")


def _sizes(environment: Environment) -> Iterator[tuple[str, bool, str]]:
    """Where, whether it is right, and what to say when it is not; infra/variables.tf has the same rules."""
    size, days, hours = environment.predict, environment.log_retention_days, environment.sweep_silent_hours
    least, most = size.min_instances, size.max_instances
    yield "predict", 0 <= least <= most, f"min_instances = {least} does not lie between 0 and max_instances = {most}"
    yield "predict", most >= 1, f"max_instances = {most}: nothing would answer"
    yield (
        "predict",
        1 <= size.concurrency <= 1000,
        f"concurrency = {size.concurrency} does not lie between 1 and 1000",
    )
    billing = size.billing in ("requests", "instances")
    yield "predict", billing, f'billing = "{size.billing}": it is "requests" or "instances"'
    for what, each in (("predict", size), ("job", environment.job)):
        says = f"{each.memory} of memory with {each.cpu} CPU: {_message(what, 'local.memory')}"
        yield what, _fits(each.cpu, each.memory), says
    yield "log_retention_days", 1 <= days <= 3650, f"{days} days: Cloud Logging keeps entries for 1 to 3650"
    yield "sweep_silent_hours", 1 <= hours <= 23, f"{hours:g} hours: Cloud Monitoring notices a silence of 1 to 23"


def _fits(cpu: str, memory: str) -> bool:
    """Whether Cloud Run gives so much memory with so many CPUs."""
    least, most = _locals()["memory"].get(cpu, (1, 0))
    size = re.fullmatch(r"([0-9]+)(Mi|Gi)", memory)
    return bool(size and least <= int(size[1]) / (1024 if size[2] == "Mi" else 1) <= most)


def members(look: Look) -> Iterator[Told]:
    """Is everybody who may do something written as IAM writes members, and nobody everybody?"""
    kinds, wrong = "|".join(_locals()["kinds"]), []
    named = [(name, member) for name in LISTS for member in getattr(look.environment, name)]
    for name, member in named:
        if not re.search(kinds, member):
            says = f"{legible(member, 100)!r} in {name} is no member. {_message(name, 'local.written')}"
            wrong.append(_wrong(look, name, says))
        elif member.startswith("all"):
            wrong.append(_wrong(look, name, f"{member} in {name} is everybody. {_message(name, 'startswith')}"))
    right = f"{len(named)} named, each by kind and address" if named else "nobody is named yet"
    yield from wrong or [ok(right)]


def settings(look: Look) -> Iterator[Told]:
    """Are there such settings, and will Dropfit take their values?"""
    environment, wrong = look.environment, []
    tunable = _locals("settings.tf")["tunable"]
    for field, value in environment.settings.items():
        if field not in tunable:
            there = field in config.Settings.__struct_fields__
            why = "is set by Terraform itself" if there else f"is no setting{tfvars.nearest(field, tunable)}"
            wrong.append(_wrong(look, f"settings.{field}", f"{field} {why}", SETTINGS))
            continue
        try:
            config.load(environ(environment, {field: value}))
        except SettingsError as error:
            said = str(error).replace(f"{config.variable(field)}={str(value)!r}", f'{field} = "{value}"')
            for typed, meant in TYPES:
                said = re.sub(typed, meant, said)
            wrong.append(_wrong(look, f"settings.{field}", said, SETTINGS))
    yield from wrong or [ok(", ".join(environment.settings) or "none: all have their defaults")]


def environ(environment: Environment, tuned: dict[str, Any]) -> dict[str, str]:
    """What Settings cannot do without of the environment that functions and jobs get; infra/settings.tf has all.

    Args:
        environment: which deployment.
        tuned: fields of `settings`.
    """
    made = {f"{what}_bucket": environment.bucket(what) for what in ("landing", "data", "models")}
    fields = {**made, "project": environment.project, **tuned}
    return {config.variable(field): str(value) for field, value in fields.items()}


def problem(look: Look) -> Iterator[Told]:
    """Can the problem be loaded from what is deployed?"""
    reference = str(look.environment.settings.get("problem") or config.DEFAULT_PROBLEM)
    right, said = loaded(reference, FUNCTIONS)
    if right:
        yield ok(f"{reference} can be loaded")
    else:
        where = f"settings.problem of infra/{look.environment.tfvars.name}"
        yield fail(said, f"Mend functions/{reference.partition(':')[0].replace('.', '/')}.py, or {where}.")


@lru_cache(maxsize=16)
def loaded(reference: str, functions: Path) -> tuple[bool, str]:
    """Whether a process that has the functions' folder alone can load a problem, and what it says if not.

    Args:
        reference: `module:attribute`.
        functions: the folder.
    """
    child = config.for_child(PYTHONPATH=str(functions), PYTHONSAFEPATH="1", PYTHONDONTWRITEBYTECODE="1")
    command = [sys.executable, "-P", "-c", LOADS, reference]
    try:
        done = subprocess.run(command, env=child, capture_output=True, text=True, timeout=SECONDS, check=False)
    except (OSError, subprocess.SubprocessError) as error:
        return False, f"{reference} could not be tried: {legible(str(error), 200)}"
    lines = (done.stderr if done.returncode else done.stdout).strip().splitlines() or ["it ended without a word"]
    if done.returncode:
        return False, legible(lines[-1].replace(f"DROPFIT_PROBLEM={reference!r}", reference), 300)
    if not Path(lines[-1]).resolve().is_relative_to(functions.resolve()):
        return False, f"{reference} lies outside of functions/, at {lines[-1]}: it would not be deployed"
    return True, ""


def _wrong(look: Look, where: str, says: str, *more: str) -> Told:
    return fail(says, f"Line `{where}` of infra/{look.environment.tfvars.name}.", *more)


def _message(variable: str, about: str) -> str:
    """What Terraform says when a rule does not hold: the one whose condition speaks of something."""
    return next(message for condition, message in _declared()[variable].rules if about in condition)


@lru_cache(maxsize=1)
def _declared() -> dict[str, tfvars.Variable]:
    return tfvars.declared(INFRA / "variables.tf")


@lru_cache(maxsize=2)
def _locals(file: str = "variables.tf") -> dict[str, Any]:
    return {name: value for block in tfvars.parsed(INFRA / file)["locals"] for name, value in block.items()}


TFVARS = [
    Check("tfvars", "values", values),
    Check("tfvars", "members", members),
    Check("tfvars", "settings", settings),
    Check("tfvars", "problem", problem),
]
