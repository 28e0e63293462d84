# SPDX-License-Identifier: Apache-2.0
"""cloudbuild.yaml as it stands, its steps run here with stand-ins for what needs Google, and who looks at it."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path
from typing import Any

import yaml
from stand_ins import Checkout

ROOT = Path(__file__).parents[2]
FILE = ROOT / "cloudbuild.yaml"
BUILD: dict[str, Any] = yaml.safe_load(FILE.read_text())
STEPS: list[dict[str, Any]] = BUILD["steps"]
SCRIPTS = {step["id"]: step["script"] for step in STEPS}
TOOLS = ROOT / ".venv-infra" / "bin"
YAMLLINT = (
    "{extends: default, rules: {line-length: {max: 120}, document-start: disable, truthy: {check-keys: false}, "
    "comments: {min-spaces-from-content: 1}}}"
)
VARIABLE = re.compile(r"\$\{?([A-Z_][A-Z0-9_]*)\b")


def environment(action: str, branch: str, **more: str) -> dict[str, str]:
    """What Cloud Build gives every step."""
    named = {**BUILD["substitutions"], "_ACTION": action, "BRANCH_NAME": branch, "PROJECT_ID": "acme-dev", **more}
    return named | dict(each.split("=", 1) for each in BUILD["options"]["env"])


def built(folder: Path, environ: dict[str, str], fails: str = "nothing", **more: str) -> tuple[Checkout, str]:
    """Run the steps until one fails: the checkout, and the step that failed."""
    checkout = Checkout(folder, fails, **more)
    for step in STEPS:
        if checkout.run(step["script"], environ):
            return checkout, str(step["id"])
    return checkout, ""


def filled(template: str, known: dict[str, str]) -> str:
    """A template with its substitutions."""
    return re.sub(r"\$\{(\w+)\}", lambda found: known[found[1]], template)


def scripts() -> str:
    """All shell that a build runs."""
    return "\n".join(
        [*SCRIPTS.values(), *(f.read_text() for f in sorted((ROOT / "infra" / "pipeline").glob("*.sh")))]
    )


def tell(*command: object) -> None:
    """Run a tool; what it finds is shown."""
    done = subprocess.run([str(part) for part in command], capture_output=True, text=True, timeout=500, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
