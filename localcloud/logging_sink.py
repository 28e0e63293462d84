# SPDX-License-Identifier: Apache-2.0
"""The laptop's Cloud Logging: what the predict function prints becomes rows that BigQuery can query.

Each line of the process's log file is taken in once, whatever is stopped or killed in between: a cursor on disk says
how far the log was read, and what stood in it when it was opened, or was sent without an answer, is looked for
before it is sent again.
"""

from __future__ import annotations

import datetime as dt
import hashlib
import logging
import os
from collections.abc import Callable
from pathlib import Path
from typing import IO, Any

import httpx
import msgspec

from .home import write_atomically
from .log_entries import DATASET, TABLE, entry

LOG = logging.getLogger(__name__)
BATCH_LINES, BATCH_BYTES = 500, 1024**2
_HEAD = 256


class Cursor(msgspec.Struct, frozen=True):
    """How far a log was read; the file is known by its inode and its first bytes, for inodes are used again."""

    inode: int = 0
    offset: int = 0
    head: str = ""


class Sink:
    """Moves lines from a log, and from the one before it (NAME.log.1), into the table.

    Args:
        log: the file that the process writes; it may not exist yet.
        cursor: file of the cursor.
        bigquery: base URL of the emulator.
        project: Google Cloud project.
    """

    def __init__(self, log: Path, cursor: Path, bigquery: str, project: str) -> None:
        self._log = log
        self._cursor = cursor
        self._base = f"{bigquery}/bigquery/v2/projects/{project}"
        self._project = project
        self._client = httpx.Client(timeout=30.0, trust_env=False)
        self._file: IO[bytes] | None = None
        self._offset = 0
        self._doubtful = 0
        self._trouble = ""

    def pump(self) -> None:
        """Take in all that is there. When BigQuery does not answer, the next call goes on where this one ended."""
        try:
            while self._step():
                self._trouble = ""
        except (httpx.HTTPError, OSError) as error:
            if self._file:  # whether it was taken in before the answer was lost, nobody knows
                self._doubtful = max(self._doubtful, self._offset + BATCH_BYTES)
            if str(error) != self._trouble:
                LOG.info("log lines wait: %s", error)
            self._trouble = str(error)

    def _step(self) -> bool:
        """One batch; whether there may be more."""
        if self._file is None and not self._open_first():
            return False
        assert self._file is not None  # noqa: S101 (for the type checker)
        self._file.seek(self._offset)
        over = self._rotated()  # asked before reading: what a process wrote before its log was moved is read
        chunk = self._file.read(BATCH_BYTES)
        lines, size = _whole_lines(chunk, over)
        self._send([(self._offset + at, line) for at, line in lines if line.strip()])
        if size:
            self._offset += size
            self._save()
            return True
        if over:
            self._file.close()
            self._open(self._log, 0)
        return over

    def _send(self, lines: list[tuple[int, bytes]]) -> None:
        assert self._file is not None  # noqa: S101 (for the type checker)
        inode, now = _inode(self._file), dt.datetime.now(dt.UTC)
        rows = {_insert_id(inode, at, line): line for at, line in lines}
        if lines and lines[0][0] < self._doubtful:
            for known in self._known(list(rows)):
                rows.pop(known, None)
        given = [
            {"insertId": name, "json": entry(line, self._project, now) | {"insert_id": name}}
            for name, line in rows.items()
        ]
        if not given:
            return
        answer = self._post(f"datasets/{DATASET}/tables/{TABLE}/insertAll", {"rows": given})
        if refused := answer.get("insertErrors"):
            LOG.warning("%d log lines were refused: %s", len(refused), str(refused)[:300])

    def _known(self, names: list[str]) -> list[str]:
        """Which of these the table has."""
        listed = ", ".join(f"'{name}'" for name in names)
        sql = f"SELECT insert_id FROM `{self._project}.{DATASET}.{TABLE}` WHERE insert_id IN ({listed})"  # noqa: S608
        answer = self._post("queries", {"query": sql, "useLegacySql": False, "maxResults": len(names)})
        return [row["f"][0]["v"] for row in answer.get("rows", ())]

    def _post(self, path: str, body: dict[str, Any]) -> dict[str, Any]:
        answer = self._client.post(f"{self._base}/{path}", json=body)
        answer.raise_for_status()
        found: dict[str, Any] = answer.json()
        return found

    def _open_first(self) -> bool:
        """Open the log that the cursor knows at its offset; one that nobody knows from its beginning."""
        try:
            known = msgspec.json.decode(self._cursor.read_bytes(), type=Cursor)
        except (OSError, msgspec.MsgspecError):
            known = Cursor()
        before = self._log.with_suffix(".log.1")
        for path in (self._log, before):
            if _matches(path, known):
                return self._open(path, known.offset)
        return self._open(before, 0) or self._open(self._log, 0)

    def _open(self, path: Path, offset: int) -> bool:
        try:
            self._file = path.open("rb")
        except FileNotFoundError:
            self._file = None
            return False
        self._offset, self._doubtful = offset, path.stat().st_size
        return True

    def _rotated(self) -> bool:
        """Whether the process writes to another file by now."""
        assert self._file is not None  # noqa: S101 (for the type checker)
        try:
            return self._log.stat().st_ino != _inode(self._file)
        except FileNotFoundError:
            return False

    def _save(self) -> None:
        assert self._file is not None  # noqa: S101 (for the type checker)
        known = Cursor(_inode(self._file), self._offset, _head(self._file, self._offset))
        write_atomically(self._cursor, msgspec.json.encode(known))


def pumping(log: str, cursor: str, bigquery: str, project: str) -> Callable[[], None]:
    """What to call again and again so that the lines of a log become rows."""
    return Sink(Path(log), Path(cursor), bigquery, project).pump


def _whole_lines(chunk: bytes, last: bool) -> tuple[list[tuple[int, bytes]], int]:
    """Lines of a chunk with their places in it, and the bytes they take; `last`: nobody will end the last line."""
    end = chunk.rfind(b"\n") + 1
    endless = not end and len(chunk) == BATCH_BYTES
    if endless or (last and len(chunk) < BATCH_BYTES):
        end = len(chunk)
    found, at = [], 0
    for line in chunk[:end].split(b"\n", BATCH_LINES)[:BATCH_LINES]:
        found.append((at, line))
        at += len(line) + 1
    return found, min(at, end)


def _inode(file: IO[bytes]) -> int:
    return os.fstat(file.fileno()).st_ino


def _head(file: IO[bytes], offset: int) -> str:
    file.seek(0)
    return hashlib.blake2b(file.read(min(offset, _HEAD)), digest_size=16).hexdigest()


def _matches(path: Path, known: Cursor) -> bool:
    try:
        with path.open("rb") as file:
            return bool(known.offset) and _inode(file) == known.inode and _head(file, known.offset) == known.head
    except OSError:
        return False


def _insert_id(inode: int, at: int, line: bytes) -> str:
    return hashlib.blake2b(b"%d %d %b" % (inode, at, line), digest_size=12).hexdigest()
