# SPDX-License-Identifier: Apache-2.0
"""Events on their way, in one SQLite file: nothing accepted is forgotten, whatever is killed when."""

from __future__ import annotations

import contextlib
import json
import sqlite3
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

# How many delivered events are remembered one by one (all are counted).
KEPT = 1000

# Seconds that a reader or writer waits for another: a disk may be slow.
_PATIENCE = 30.0

_SCHEMA = """
CREATE TABLE IF NOT EXISTS pending (
    id TEXT PRIMARY KEY, headers TEXT NOT NULL, body BLOB NOT NULL,
    received REAL NOT NULL, due REAL NOT NULL, attempts INTEGER NOT NULL DEFAULT 0, last_error TEXT
);
CREATE INDEX IF NOT EXISTS pending_due ON pending (due);
CREATE TABLE IF NOT EXISTS delivered (
    seq INTEGER PRIMARY KEY AUTOINCREMENT, id TEXT NOT NULL, subject TEXT NOT NULL,
    received REAL NOT NULL, delivered REAL NOT NULL, attempts INTEGER NOT NULL
);
CREATE TABLE IF NOT EXISTS dead (
    id TEXT PRIMARY KEY, headers TEXT NOT NULL, body BLOB NOT NULL,
    received REAL NOT NULL, died REAL NOT NULL, attempts INTEGER NOT NULL, last_error TEXT
);
"""


@dataclass(frozen=True)
class Event:
    """One event to deliver: `received` and `due` in seconds since 1970, `attempts` the failed ones so far."""

    id: str
    headers: dict[str, str]
    body: bytes
    received: float
    due: float
    attempts: int = 0
    last_error: str | None = None


@dataclass(frozen=True)
class Counts:
    """How many events wait, were delivered since the home was made, and are dead."""

    pending: int
    delivered: int
    dead: int


@dataclass(frozen=True)
class DeadLetter:
    """An event whose retention ended before anybody took it."""

    id: str
    subject: str
    received: float
    died: float
    attempts: int
    last_error: str | None


class Queue:
    """The queue. One per process, used by one thread; other processes may read beside it.

    Raises:
        sqlite3.Error: from every method, when the file cannot be read or written.
    """

    def __init__(self, path: Path) -> None:
        self._db = sqlite3.connect(path, timeout=_PATIENCE, isolation_level=None)
        # WAL with NORMAL survives the death of the process, which is what a laptop's emulator promises.
        self._db.executescript("PRAGMA journal_mode=WAL; PRAGMA synchronous=NORMAL;")
        self._db.executescript(_SCHEMA)

    def add(self, events: Collection[Event]) -> None:
        """Take all of the events in or, on an exception, none; a known id changes nothing."""
        rows = [(e.id, json.dumps(e.headers), e.body, e.received, e.due) for e in events]
        with self._transaction():
            self._db.executemany(
                "INSERT OR IGNORE INTO pending (id, headers, body, received, due) VALUES (?, ?, ?, ?, ?)",
                rows,
            )

    def due(self, now: float, limit: int, but: Collection[str] = ()) -> list[Event]:
        """Up to `limit` events whose time has come, the longest due first, without some."""
        rows = self._db.execute(
            "SELECT id, headers, body, received, due, attempts, last_error FROM pending "
            "WHERE due <= ? AND id NOT IN (SELECT value FROM json_each(?)) ORDER BY due LIMIT ?",
            (now, json.dumps(list(but)), limit),
        )
        return [Event(row[0], json.loads(row[1]), *row[2:]) for row in rows]

    def next_due(self, but: Collection[str] = ()) -> float | None:
        """When the next event is due, leaving some out; None when none waits."""
        query = "SELECT min(due) FROM pending WHERE id NOT IN (SELECT value FROM json_each(?))"
        found: float | None = self._db.execute(query, (json.dumps(list(but)),)).fetchone()[0]
        return found

    def delivered(self, event: Event, now: float) -> None:
        """Record a delivery and forget the event."""
        row = (event.id, event.headers.get("ce-subject", ""), event.received, now, event.attempts + 1)
        with self._transaction():
            self._db.execute("DELETE FROM pending WHERE id = ?", (event.id,))
            insert = "INSERT INTO delivered (id, subject, received, delivered, attempts) VALUES (?, ?, ?, ?, ?)"
            self._db.execute(insert, row)
            self._db.execute("DELETE FROM delivered WHERE seq <= (SELECT max(seq) FROM delivered) - ?", (KEPT,))

    def failed(self, event: Event, error: str, due: float) -> None:
        """Record a failed attempt and when to try again."""
        with self._transaction():
            update = "UPDATE pending SET attempts = attempts + 1, last_error = ?, due = ? WHERE id = ?"
            self._db.execute(update, (error, due, event.id))

    def bury(self, event: Event, error: str, now: float) -> None:
        """Record a last failed attempt: the event is dead, kept with its reason."""
        row = (
            event.id,
            json.dumps(event.headers),
            event.body,
            event.received,
            now,
            event.attempts + 1,
            error,
        )
        with self._transaction():
            self._db.execute("DELETE FROM pending WHERE id = ?", (event.id,))
            self._db.execute("INSERT OR REPLACE INTO dead VALUES (?, ?, ?, ?, ?, ?, ?)", row)

    def counts(self) -> Counts:
        """How many events are where."""
        return _counts(self._db)

    def close(self) -> None:
        """Let go of the file."""
        self._db.close()

    def _transaction(self) -> sqlite3.Connection:
        # `with connection:` commits or rolls back but, with isolation_level None, does not begin.
        self._db.execute("BEGIN IMMEDIATE")
        return self._db


def counts(path: Path) -> Counts:
    """The counts in a queue's file, whether or not its process runs; zeros when there is no file."""
    db = _beside(path)
    if db is None:
        return Counts(0, 0, 0)
    with contextlib.closing(db):
        return _counts(db)


def dead_letters(path: Path) -> list[DeadLetter]:
    """Events that were given up, the latest last; none when there is no file."""
    db = _beside(path)
    if db is None:
        return []
    with contextlib.closing(db):
        rows = db.execute("SELECT id, headers, received, died, attempts, last_error FROM dead ORDER BY died")
        return [DeadLetter(row[0], json.loads(row[1]).get("ce-subject", ""), *row[2:]) for row in rows]


def _beside(path: Path) -> sqlite3.Connection | None:
    """The file, to be read beside its process; None until that process has made its tables."""
    if not path.exists():
        return None
    db = sqlite3.connect(path, timeout=_PATIENCE)
    if db.execute("SELECT 1 FROM sqlite_master WHERE name = 'dead'").fetchone():
        return db
    db.close()
    return None


def _counts(db: sqlite3.Connection) -> Counts:
    query = (
        "SELECT (SELECT count(*) FROM pending), (SELECT coalesce(max(seq), 0) FROM delivered), "
        "(SELECT count(*) FROM dead)"
    )
    return Counts(*db.execute(query).fetchone())
