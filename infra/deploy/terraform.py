# SPDX-License-Identifier: Apache-2.0
"""Terraform, run for a person: what it says goes to a log that the person reads along, and its faults become ours.

Terraform writes into a file and is followed there, not through a pipe: if this process dies, or its terminal is
closed, Terraform ends its work and saves its state all the same.
"""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

from dropfit import settings
from dropfit.errors import DeployError, SettingsError

from . import advice
from .environment import INFRA, ROOT, Environment
from .plans import Plan, read_plan
from .stages import Tell

PREFIX = "dropfit"
"""Of the state in its bucket."""
LOCAL = '# Planned with an empty state of its own.\nterraform {\n  backend "local" {}\n}\n'
LOOK = 0.1
"""Seconds between two looks at the log."""
LOCK = "60s"
"""How long somebody else's deployment is waited for."""
FOREIGN = ("TF_VAR_", "TF_CLI_ARGS")
"""Variables of somebody's shell that would change what is deployed: the tfvars file alone says that."""


class TerraformError(DeployError):
    """Terraform broke off.

    Args:
        detail: its first error, and what to do.
        passes: whether the same command is likely to get further a minute later.
    """

    def __init__(self, detail: str, passes: bool = False) -> None:
        super().__init__(detail)
        self.passes = passes


class Terraform:
    """Terraform of one deployment.

    Args:
        environment: which.
        tell: what a person reads.
        folder: where the .tf files are; another than infra/ has a state of its own, see `apart`.
    """

    def __init__(self, environment: Environment, tell: Tell, folder: Path | None = None) -> None:
        self._environment, self._tell, self._folder = environment, tell, folder or INFRA
        self._remote = folder is None
        key = environment.key if self._remote else f"{environment.key}-apart"
        home = settings.home()
        self._data = home / "terraform" / key
        self.log = home / "deploy" / f"{key}.log"
        self._file = home / "deploy" / f"{key}.tfplan"
        for place in (self._data, self.log.parent):
            place.mkdir(parents=True, exist_ok=True)
        self.log.parent.chmod(0o700)  # a plan may hold what is nobody else's business

    def init(self) -> None:
        """Fetch the provider, and open the state: in its bucket, or an empty one here.

        Raises:
            DeployError, SettingsError: when Terraform cannot, or is not there.
        """
        bucket = f"-backend-config=bucket={self._environment.bucket('state')}"
        backend = [bucket, f"-backend-config=prefix={PREFIX}", "-reconfigure"] if self._remote else ["-reconfigure"]
        self._run("init", *backend, shown=False)

    def plan(
        self,
        targets: Sequence[str] = (),
        variables: dict[str, Any] | None = None,
        *,
        destroy: bool = False,
        lock: bool = True,
        shown: bool = False,
    ) -> Plan:
        """What would change; nothing does.

        Args:
            targets: these addresses, and what they need, alone.
            variables: beside those of the tfvars.
            destroy: plan to remove them.
            lock: False writes nothing at all, not even a lock beside the state.
            shown: whether the person sees all of it.

        Raises:
            DeployError, SettingsError: when Terraform cannot.
        """
        held = f"-lock-timeout={LOCK}" if lock else "-lock=false"
        said = [f"-var={name}={value}" for name, value in (variables or {}).items()]
        aimed = [f"-target={address}" for address in targets]
        file = f"-var-file={self._environment.tfvars.name}"
        more = ["-destroy"] if destroy else []
        self._run("plan", *more, file, f"-out={self._file}", held, *said, *aimed, shown=shown)
        return read_plan(self._file, json.loads(self._capture("show", "-json", str(self._file))))

    def apply(self, plan: Plan) -> None:
        """Do what was planned, and nothing else.

        Raises:
            TerraformError: when Terraform broke off. What it did is in the state; plan again to go on.
        """
        try:
            self._run("apply", f"-lock-timeout={LOCK}", str(plan.file), shown=True)
        finally:
            plan.file.unlink(missing_ok=True)

    def output(self) -> dict[str, Any]:
        """The outputs, by name."""
        told = json.loads(self._capture("output", "-json") or "{}")
        return {name: output["value"] for name, output in told.items()}

    def state(self) -> list[str]:
        """Addresses of all that the state holds, without data sources."""
        listed = self._capture("state", "list").splitlines()
        return [address for address in listed if address and not address.startswith("data.")]

    def pull(self) -> dict[str, Any]:
        """The state as it is stored."""
        return dict(json.loads(self._capture("state", "pull") or "{}"))

    def push(self, state: dict[str, Any]) -> None:
        """Store a state; its serial has to be higher than the stored one's."""
        self._capture("state", "push", f"-lock-timeout={LOCK}", "-", given=json.dumps(state))

    def _command(self, verb: Sequence[str]) -> list[str]:
        named = settings.terraform()  # a path is one as seen from the clone, wherever somebody types
        return [str(Path(ROOT, named)) if "/" in named else named, f"-chdir={self._folder}", *verb]

    def _advice(self, said: str) -> str:
        by_hand = f"TF_DATA_DIR={self._data} {settings.terraform()} -chdir=infra"
        return advice.of(said, self._environment.key, by_hand)

    def _environ(self) -> dict[str, str]:
        # TF_WORKSPACE: a person's own must not send us to another state.
        return settings.for_child(
            FOREIGN, TF_DATA_DIR=str(self._data), TF_IN_AUTOMATION="1", TF_WORKSPACE="default", CHECKPOINT_DISABLE="1"
        )

    def _capture(self, *verb: str, given: str = "") -> str:
        """What a short command answers."""
        command = self._command(verb)
        try:
            done = subprocess.run(
                command, input=given, capture_output=True, text=True, env=self._environ(), check=False
            )
        except OSError as error:
            raise _absent(error) from error
        if done.returncode:
            raise DeployError(f"terraform {verb[0]}: {self._advice(done.stderr)}")
        return done.stdout

    def _run(self, verb: str, *arguments: str, shown: bool) -> None:
        """A long command, its log followed; an interrupt is passed on, once for each."""
        command = self._command([verb, "-input=false", "-no-color", *arguments])
        with self.log.open("ab") as sink, self.log.open("rb") as source:
            sink.write(f"\n$ terraform {verb}\n".encode())
            sink.flush()
            source.seek(sink.tell())
            start = source.tell()
            try:
                # A process group of its own: Ctrl-C reaches it through us alone, for a second one would kill it.
                process = subprocess.Popen(
                    command,
                    stdin=subprocess.DEVNULL,
                    stdout=sink,
                    stderr=subprocess.STDOUT,
                    env=self._environ(),
                    process_group=0,
                )
            except OSError as error:
                raise _absent(error) from error
            code, interrupted = self._follow(process, source, shown)
            source.seek(start)
            said = source.read().decode(errors="replace")
        if interrupted:
            self._tell(_ended(code, self.log))
            raise KeyboardInterrupt
        if code:
            told = f"terraform {verb}: {self._advice(said)} All it said: {self.log}"
            raise TerraformError(told, advice.passes(said))

    def _follow(self, process: subprocess.Popen[bytes], source: BinaryIO, shown: bool) -> tuple[int, bool]:
        """Tell what a command writes until it has ended: its exit status, and whether it was interrupted."""
        interrupts = 0
        while True:
            try:
                code = _waited(process)
                for line in source:
                    if shown and line.strip():
                        self._tell(f"    {line.decode(errors='replace').rstrip()}")
                if code is not None:
                    return code, bool(interrupts)
            except KeyboardInterrupt:
                interrupts += 1
                process.send_signal(signal.SIGINT)
                self._tell(
                    "interrupted: Terraform ends what it is at and saves its state, please wait"
                    if interrupts == 1
                    else "interrupted again: Terraform stops at once, and what it was at may be missing in its state"
                )


@contextmanager
def apart(environment: Environment, tell: Tell) -> Iterator[Terraform]:
    """A Terraform that knows the same files and an empty state: for a plan before there is a bucket for the state."""
    with tempfile.TemporaryDirectory(prefix="dropfit-plan-") as place:
        folder = Path(place) / "infra"
        folder.mkdir()
        for file in INFRA.iterdir():
            if file.is_file() and (not file.name.startswith(".") or file.name == ".terraform.lock.hcl"):
                shutil.copy(file, folder)
        (folder / "state_override.tf").write_text(LOCAL)
        yield Terraform(environment, tell, folder)


def _waited(process: subprocess.Popen[bytes]) -> int | None:
    try:
        return process.wait(LOOK)
    except subprocess.TimeoutExpired:
        return None


def _ended(code: int, log: Path) -> str:
    if code < 0:
        return f"Terraform was stopped; if its lock is left, the next start says how to remove it ({log})"
    return f"Terraform has ended and saved its state ({log})"


def _absent(error: OSError) -> SettingsError:
    return SettingsError(
        f"Terraform cannot be started ({error}). Install 1.11 or newer "
        "(https://developer.hashicorp.com/terraform/install), or let TERRAFORM name it"
    )
