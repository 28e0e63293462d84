# SPDX-License-Identifier: Apache-2.0
"""A deployment as its tfvars describe it, and the names of what is in it.

Terraform makes the same names (infra/names.tf); a test compares the two.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import hcl2
import msgspec

from dropfit.errors import SettingsError

INFRA = Path(__file__).parents[1]
ROOT = INFRA.parent
EXAMPLE = re.compile(r"your-project\b")
OPTIONS = hcl2.SerializationOptions(strip_string_quotes=True, explicit_blocks=False)


class Size(msgspec.Struct, frozen=True, kw_only=True):
    """Of the predict function, with the defaults of variables.tf."""

    cpu: str = "1"
    memory: str = "1Gi"
    concurrency: int = 80
    min_instances: int = 0
    max_instances: int = 10


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
        alert_emails: who is told when something is wrong.
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
    alert_emails: tuple[str, ...] = ()

    @property
    def tfvars(self) -> Path:
        """Its file."""
        return INFRA / f"{self.key}.tfvars"

    def bucket(self, what: str) -> str:
        """Name of the `landing`, `data`, `models`, `source`, `state` or `logs` bucket."""
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
        SettingsError: when there is no such file, it is no HCL, it lacks something, or it is still the example.
    """
    path = INFRA / f"{key}.tfvars"
    if not re.fullmatch(r"[a-z][a-z0-9-]*", key) or not path.is_file():
        known = ", ".join(sorted(found.stem for found in INFRA.glob("*.tfvars")))
        raise SettingsError(f"there is no infra/{key}.tfvars; there are: {known or 'none'}")
    said = _defaults() | _parsed(path)
    fields = {field: said[field] for field in Environment.__struct_fields__ if field in said}
    try:
        environment = msgspec.convert({**fields, "key": key}, Environment)
    except msgspec.ValidationError as error:
        raise SettingsError(f"infra/{key}.tfvars: {error}") from error
    if EXAMPLE.search(environment.project):
        raise SettingsError(f"infra/{key}.tfvars still names the example's project: write your project's id there")
    return environment


def _parsed(path: Path) -> dict[str, Any]:
    try:
        return dict(hcl2.loads(path.read_text(), serialization_options=OPTIONS))
    except Exception as error:  # lark's and hcl2's own
        raise SettingsError(f"{path.name} cannot be read as HCL: {error}") from error


def _defaults() -> dict[str, Any]:
    """What variables.tf says where a tfvars file says nothing."""
    declared: dict[str, Any] = {}
    for block in _parsed(INFRA / "variables.tf")["variable"]:
        for name, body in block.items():
            if "default" in body and body["default"] is not None:
                declared[name.strip('"')] = body["default"]
    return declared
