# SPDX-License-Identifier: Apache-2.0
"""The folder a local cloud lives in: where things are, and the record of what runs."""

from __future__ import annotations

import fcntl
import os
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Literal

import msgspec

from dropfit.errors import LocalCloudError

Phase = Literal["starting", "running", "stopped"]


class Identity(msgspec.Struct, frozen=True):
    """A process, told apart from a later one of the same pid by psutil's create_time."""

    pid: int
    create_time: float


class Child(msgspec.Struct, frozen=True):
    """One process of the local cloud, as last recorded by its supervisor."""

    identity: Identity
    port: int
    log: str
    exit_code: int | None = None
    ended_at: float | None = None


class State(msgspec.Struct, frozen=True):
    """What runs, or last ran, in a home.

    Attributes:
        phase: `stopped` means stopped on purpose: a process that is gone is then no crash.
        run: a random token that all processes of this run carry in their environment.
        supervisor: the process that started the others.
        hosted: the supervisor is somebody's own program (a test, a notebook), which `stop` leaves alone.
        ports: every port of this run, reused by the next one where still free.
        children: name -> process.
    """

    phase: Phase
    run: str
    supervisor: Identity
    hosted: bool
    ports: dict[str, int]
    children: dict[str, Child] = {}


@dataclass(frozen=True)
class Home:
    """Paths inside the folder."""

    root: Path

    @property
    def env(self) -> Path:
        """The dotenv file for people and their programs."""
        return self.root / "env"

    @property
    def state(self) -> Path:
        """The record of what runs."""
        return self.root / "state.json"

    @property
    def logs(self) -> Path:
        """One log per process."""
        return self.root / "logs"

    @property
    def storage(self) -> Path:
        """The storage emulator's files."""
        return self.root / "storage"

    @property
    def warehouse(self) -> Path:
        """The BigQuery emulator's database."""
        return self.root / "warehouse"

    @property
    def duckdb(self) -> Path:
        """HOME of the BigQuery emulator: DuckDB looks for its extensions there."""
        return self.root / "duckdb"

    @property
    def events(self) -> Path:
        """The queue of the local Eventarc."""
        return self.root / "events.sqlite"

    @property
    def log_cursor(self) -> Path:
        """How far the predict function's log has become log entries."""
        return self.root / "log-cursor.json"

    @property
    def credentials(self) -> Path:
        """The throwaway service-account key."""
        return self.root / "service-account.json"

    def log(self, name: str) -> Path:
        """The log of one process."""
        return self.logs / f"{name}.log"

    def create(self) -> None:
        """Make the folders.

        Raises:
            LocalCloudError: when the place cannot be written.
        """
        try:
            for folder in (self.logs, self.storage, self.warehouse, self.duckdb):
                folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise LocalCloudError(f"cannot keep the local cloud's state in {self.root}: {error}") from error

    def read_state(self) -> State | None:
        """What was last recorded, or None for a home that never ran (or whose record is unreadable)."""
        try:
            return msgspec.json.decode(self.state.read_bytes(), type=State)
        except (OSError, msgspec.MsgspecError):
            return None

    def write_state(self, state: State) -> None:
        """Record what runs, wholly or not at all."""
        write_atomically(self.state, msgspec.json.format(msgspec.json.encode(state), indent=2))

    def lock(self) -> IO[bytes] | None:
        """An open file that holds the home until closed or until its process dies; None if it is taken."""
        holder = open(self.root / "lock", "ab")  # noqa: SIM115 (the caller keeps it open while it runs)
        try:
            fcntl.flock(holder, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            holder.close()
            return None
        return holder


def write_atomically(path: Path, content: bytes, mode: int = 0o600) -> None:
    """Replace a file so that a reader sees the old content or the new one, never a part."""
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content)
        os.chmod(name, mode)
        os.replace(name, path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise
