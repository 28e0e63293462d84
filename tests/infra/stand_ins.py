# SPDX-License-Identifier: Apache-2.0
"""A checkout in which a pipeline's shell steps run for real; terraform, make and python only say what they got."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path

ROOT = Path(__file__).parents[2]
STAND_IN = """#!/bin/sh
echo "{name} $*" >> "{calls}"
case "{name} $*" in {fails}) exit 1 ;; esac
case "{name} $*" in
"terraform state pull") cat "{state}" ;;
"terraform state push "*) for file; do :; done; cp "$file" "{state}" ;;
esac
exit 0
"""


class Checkout:
    """A folder with the pipeline's scripts and stand-ins for what they start.

    Args:
        folder: an empty one.
        fails: shell pattern of the call that fails, such as `terraform*apply*`.
        state: what is stored, as `terraform state pull` prints it.
        holds: a file that is in it.
    """

    def __init__(self, folder: Path, fails: str = "nothing", state: str = "", holds: str = "README.md") -> None:
        self.folder, self._calls, self._bin = folder / "checkout", folder / "calls", folder / "bin"
        shutil.copytree(ROOT / "infra" / "pipeline", self.folder / "infra" / "pipeline")
        for place in (self._bin, self.folder / ".venv" / "bin"):
            place.mkdir(parents=True)
        (self.folder / holds).parent.mkdir(exist_ok=True)
        (self.folder / holds).touch()
        stood_for = {"terraform": self._bin, "make": self._bin, "python": self.folder / ".venv" / "bin"}
        self._state = folder / "state.json"
        self._state.write_text(state)
        for name, place in stood_for.items():
            file = place / name
            file.write_text(STAND_IN.format(name=name, calls=self._calls, fails=fails, state=self._state))
            file.chmod(0o755)

    def run(self, script: str, environ: Mapping[str, str], *options: str) -> int:
        """Run a script as a step would: nothing in its environment but what the pipeline gives it.

        Args:
            script: the step's.
            environ: what the pipeline sets.
            options: of the shell, such as -e.
        """
        path = f"{self._bin}{os.pathsep}/usr/bin{os.pathsep}/bin"
        (self.folder / "step.sh").write_text(script)
        done = subprocess.run(
            ["/bin/sh", *options, "step.sh"],
            cwd=self.folder,
            env={**environ, "PATH": path},
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )
        assert "parameter not set" not in done.stderr, done.stderr
        return done.returncode

    def calls(self) -> list[str]:
        """What was started, in order."""
        return self._calls.read_text().splitlines() if self._calls.exists() else []

    def state(self) -> str:
        """What is stored now."""
        return self._state.read_text()

    def changes(self) -> list[str]:
        """Those of the calls that change something in Google Cloud."""
        means = ("apply", "state push", "infra.deploy.images", "infra.deploy.dead_letter", "infra.deploy.smoke")
        return [call for call in self.calls() if any(mean in call for mean in means)]
