# SPDX-License-Identifier: Apache-2.0
"""Terraform as it is, planned without a network: $TERRAFORM may be one whose google provider only knows schemas."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
INFRA = ROOT / "infra"
VARIABLES = {
    "project": "acme-dev",
    "region": "europe-west1",
    "environment": "dev",
    "functions_zip": "../build/functions-0123456789abcdef.zip",
    "image_tag": "0123456789abcdef",
    "operators": ["group:ml@acme.example"],
    "uploaders": ["group:data@acme.example"],
    "invokers": ["serviceAccount:shop@acme-shop.iam.gserviceaccount.com"],
    "analysts": ["group:analysts@acme.example"],
    "alert_emails": ["oncall@acme.example"],
    "monthly_budget": 50,
    "settings": {"runner": "DataflowRunner"},
}
"""A deployment with everything in it: the plan holds every resource there can be."""
PIPELINE_VARIABLES = {
    "project": "acme-dev",
    "region": "europe-west1",
    "environment": "dev",
    "github_repository": "acme/dropfit",
    "github_repository_id": "123456789",
    "connection": "projects/acme-dev/locations/europe-west1/connections/github",
    "github_actions": True,
}
"""A pipeline with both ways of redeploying, Cloud Build's and GitHub's."""
LOCAL_STATE = 'terraform {\n  backend "local" {}\n}\n'
"""Planning needs a state; this one is an empty file."""

Terraform = Callable[..., subprocess.CompletedProcess[str]]


def run_terraform(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run $TERRAFORM in a folder; a failure shows what it said."""
    command = [
        str(Path(ROOT, os.environ.get("TERRAFORM", "terraform")))
        if "/" in os.environ.get("TERRAFORM", "")
        else os.environ.get("TERRAFORM", "terraform"),
        f"-chdir={folder}",
        *arguments,
    ]
    done = subprocess.run(command, capture_output=True, text=True, timeout=500, check=False)
    assert done.returncode == 0, f"{' '.join(command)}\n{done.stdout}\n{done.stderr}"
    return done


def copied(source: Path, folder: Path) -> Path:
    """The Terraform of a folder elsewhere, with its tests, initialised, its state a local file."""
    folder.mkdir(parents=True)
    for file in [*source.glob("*.tf"), *source.glob("*.tfvars"), *source.glob("*.json.tftpl"), *source.glob("*.sh")]:
        shutil.copy(file, folder)
    if (source / "tests").is_dir():
        shutil.copytree(source / "tests", folder / "tests")
    (folder / "state_override.tf").write_text(LOCAL_STATE)
    run_terraform(folder, "init", "-input=false", "-no-color")
    return folder


def planned(folder: Path, variables: dict[str, Any]) -> dict[str, Any]:
    """The plan as `terraform show -json` has it."""
    (folder / "test.tfvars.json").write_text(json.dumps(variables))
    run_terraform(folder, "plan", "-refresh=false", "-input=false", "-var-file=test.tfvars.json", "-out=plan.bin")
    return dict(json.loads(run_terraform(folder, "show", "-json", "plan.bin").stdout))
