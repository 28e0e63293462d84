# SPDX-License-Identifier: Apache-2.0
"""A deployment as its tfvars describe it, and the names of what is in it.

Terraform makes the same names (infra/names.tf); a test compares the two.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import msgspec

from dropfit import settings
from dropfit.errors import SettingsError

from . import tfvars

INFRA = Path(__file__).parents[1]
ROOT = INFRA.parent
EXAMPLE = re.compile(r"your-project\b")
NAME = r"[a-z][a-z0-9-]*"


class Size(msgspec.Struct, frozen=True, kw_only=True):
    """Of the predict function, with the defaults of variables.tf."""

    cpu: str = "1"
    memory: str = "1Gi"
    concurrency: int = 80
    min_instances: int = 0
    max_instances: int = 10
    billing: str = "requests"
    request_log: bool = True


class JobSize(msgspec.Struct, frozen=True, kw_only=True):
    """Of the retraining job, with the defaults of variables.tf."""

    cpu: str = "2"
    memory: str = "8Gi"


class Environment(msgspec.Struct, frozen=True, kw_only=True):
    """One deployment: what its tfvars say, with Terraform's defaults for the rest.

    Attributes:
        key: what people call it; `infra/<key>.tfvars` is its file.
        project: Google Cloud project id.
        region: where everything is.
        name: begins every name in it.
        operators, uploaders, invokers, analysts: members, as IAM writes them.
        settings: Dropfit's settings by field.
        monthly_budget: of the alert; None for no budget.
        predict_public: whether anybody may call predict.
        predict: how large it is.
        job: how large the retraining job is.
        alert_emails: who is told when something is wrong.
        labels: on everything that takes labels.
        sweep_schedule: when sweeps run, as cron writes it.
        sweep_silent_hours: an alert when none has ended for so long.
        log_retention_days: how long the prediction log is kept.
    """

    key: str
    project: str
    region: str
    name: str = "dropfit"
    operators: tuple[str, ...] = ()
    uploaders: tuple[str, ...] = ()
    invokers: tuple[str, ...] = ()
    analysts: tuple[str, ...] = ()
    settings: dict[str, str | int | float] = {}
    monthly_budget: float | None = None
    predict_public: bool = False
    predict: Size = Size()
    job: JobSize = JobSize()
    alert_emails: tuple[str, ...] = ()
    labels: dict[str, str] = {}
    sweep_schedule: str = "*/15 * * * *"
    sweep_silent_hours: float = 2
    log_retention_days: int = 30

    @property
    def tfvars(self) -> Path:
        """Its file."""
        return INFRA / f"{self.key}.tfvars"

    def bucket(self, what: str) -> str:
        """Name of the `landing`, `data`, `models`, `source` or `state` bucket."""
        return f"{self.project}-{self.name}-{what}"

    @property
    def registry(self) -> str:
        """Where images lie: put `/NAME:TAG` behind it."""
        return f"{self.region}-docker.pkg.dev/{self.project}/{self.name}"

    def account(self, runtime: str) -> str:
        """Email of the service account of `on-upload`, `predict`, `retrain`, `sweep`, `trigger`, `build` ..."""
        return f"{self.name}-{runtime}@{self.project}.iam.gserviceaccount.com"

    @property
    def location(self) -> str:
        """`projects/P/locations/R`, as REST names things in."""
        return f"projects/{self.project}/locations/{self.region}"

    @property
    def dataflow(self) -> bool:
        """Whether batch predictions run on Dataflow, which needs more than the rest does."""
        return self.settings.get("runner") == "DataflowRunner"

    @property
    def trigger(self) -> str:
        """Full name of the Eventarc trigger."""
        return f"{self.location}/triggers/{self.name}-uploads"

    @property
    def dead_letters(self) -> str:
        """Full name of the topic, and of the subscription that keeps what comes there: put it behind either."""
        return f"{self.name}-dead-letters"


def read(key: str) -> Environment:
    """The deployment of `infra/<key>.tfvars`.

    Raises:
        SettingsError: when there is no such file, and for all that is wrong in it: what is missing, misspelt or of
            another kind, the example's project, another file that describes the same deployment.
    """
    path = _file(key)
    name = f"infra/{path.name}"
    known = tfvars.declared(INFRA / "variables.tf")
    said, faults = tfvars.said(path, known)
    if EXAMPLE.search(str(said.get("project"))):
        faults.append("it still names the example's project: write your project's id there")
    if said.get("environment", key) != key:
        faults.append(f'environment = "{said["environment"]}" will not do: it is the file\'s name, "{key}"')
    if faults:
        raise SettingsError("\n".join(f"{name}: {fault}" for fault in faults))
    _alone(path, said, known)
    fields = {field: said[field] for field in Environment.__struct_fields__ if field in said}
    try:
        return msgspec.convert({**fields, "key": key}, Environment)
    except msgspec.ValidationError as error:
        where = str(error).rpartition("$.")[2].rstrip("`")
        raise SettingsError(f"{name}: {where} must be a whole number") from error


def not_the_laptops() -> None:
    """Go on only where this process would speak to Google.

    Raises:
        SettingsError: when the environment is that of the laptop's cloud.
    """
    if settings.speaks_to_emulators():
        raise SettingsError(
            "this terminal has the laptop's cloud in its environment, its throwaway credentials included "
            "(STORAGE_EMULATOR_HOST or BIGQUERY_EMULATOR_HOST is set): open a new one, without `. .dropfit/env`"
        )


def _file(key: str) -> Path:
    path = INFRA / f"{key}.tfvars"
    files = sorted(found.stem for found in INFRA.glob("*.tfvars"))
    right = bool(re.fullmatch(NAME, key))
    if not right and key in files:
        ours = re.sub(r"[^a-z0-9-]+", "-", key.lower()).strip("-")
        raise SettingsError(
            f"infra/{key}.tfvars: a deployment's name has lower-case letters, digits and hyphens, and begins with a "
            f"letter: rename the file, to {ours}.tfvars or so, and its `environment` too"
        )
    if not right or not path.is_file():
        known = ", ".join(file for file in files if re.fullmatch(NAME, file))
        near = tfvars.nearest(key, files)
        raise SettingsError(f"there is no infra/{key}.tfvars{near}; there are: {known or 'none'}")
    return path


def _alone(path: Path, said: dict[str, Any], known: dict[str, tfvars.Variable]) -> None:
    """Whether no other file describes the same deployment: what is done to one would be done to the other."""
    for other in sorted(INFRA.glob("*.tfvars")):
        try:
            theirs, _ = tfvars.said(other, known) if other != path else ({}, [])
        except SettingsError:
            continue  # whoever deploys that one is told
        if all(theirs.get(what) == said[what] for what in ("project", "name")):
            raise SettingsError(
                f"infra/{path.name} and infra/{other.name} describe the same deployment: {said['name']} in "
                f"{said['project']}. Deploying or destroying one would change the other: give each a project of its "
                "own, or at least another `name`"
            )
