# SPDX-License-Identifier: Apache-2.0
"""What nothing refers to any more: tables, artifacts, shards and rows that crashes and progress left behind.

Never removed: what the pointer names, the versions that were served last, versions that wait for a person or are in
training, what a receipt or a manifest refers to, and whatever is younger than the grace period. Manifests, reports
and decisions stay for ever: they are small, and the history.
"""

from __future__ import annotations

import collections
import datetime as dt
import logging
from collections.abc import Iterable
from typing import TYPE_CHECKING, NamedTuple

from . import attempts, documents, lease
from .errors import ArtifactError, NotFound
from .manifest import FOLDER, Shards, table_name
from .receipts import Receipts, accepted_name
from .registry import PREFIX, Registry
from .settings import Settings
from .storage import Bucket, Buckets, Stored
from .verdict import Completed

if TYPE_CHECKING:
    from .warehouse import Warehouse

LOG = logging.getLogger(__name__)
HISTORY = (".md", ".png")
KEPT = frozenset({"manifest.json", "report.json", "decision.json"})
ACCEPTED = "accepted/"
SNAPSHOT = "snapshot-"


class Orphan(NamedTuple):
    """Something that nothing refers to.

    Attributes:
        kind: version, snapshot, table, shards, rows or batch.
        name: which, for people.
        why: why it may go.
        objects: the objects to remove.
        table: the table it belongs to: it stays when that is served again.
        version: the version that can no longer be served without it, empty for none.
    """

    kind: str
    name: str
    why: str
    objects: tuple[Stored, ...] = ()
    table: str = ""
    version: str = ""

    @property
    def bytes(self) -> int:
        """Bytes of its objects; a table's are not known."""
        return sum(stored.size for stored in self.objects)


class Collector:
    """Finds and removes orphans. Hold the lease meanwhile, so that no training makes what is just being judged.

    Args:
        settings: how many versions to keep, and the grace.
        buckets: the deployment's.
        warehouse: the dataset of the tables.
    """

    def __init__(self, settings: Settings, buckets: Buckets, warehouse: Warehouse) -> None:
        self._settings = settings
        self._data, self._models = buckets.data, buckets.models
        self._registry = Registry(buckets.models)
        self._receipts = Receipts(buckets.data)
        self._warehouse = warehouse
        self._cutoff = lease.server_time(buckets.data) - dt.timedelta(seconds=settings.gc_grace_seconds)

    def find(self) -> list[Orphan]:
        """All that may go.

        Raises:
            ArtifactError: when the pointer is not readable: then nobody knows what is referred to.
        """
        needed = self._needed()
        return [
            *self._versions(needed),
            *self._snapshots(needed),
            *self._tables(needed),
            *self._shards(needed),
            *self._rows(),
            *self._batches(),
        ]

    def remove(self, orphan: Orphan) -> bool:
        """Remove one; False when it has come into use since it was found."""
        if orphan.kind == "version":
            if not self._withdraw(orphan.version):
                return False
        elif orphan.table and orphan.table in self._served().values():
            return False
        if orphan.kind == "table":
            self._warehouse.drop(orphan.table)
        for stored in orphan.objects:
            bucket = self._models if stored.bucket == self._models.name else self._data
            bucket.delete(stored.name)
        LOG.info("removed %s %s: %s", orphan.kind, orphan.name, orphan.why)
        return True

    def _withdraw(self, version: str) -> bool:
        """Say first that the version is no longer complete, then look whether somebody has just pointed at it.

        `rollback` does the same the other way round, so that one of the two notices.
        """
        try:
            completed: Completed | None = self._registry.completed(version)
        except (NotFound, ArtifactError):
            completed = None
        self._registry.withdraw(version)
        if version not in self._served():
            return True
        if completed is not None:
            self._registry.complete(completed)
        return False

    def _served(self) -> dict[str, str]:
        """The versions that must stay, the served one and the rollback targets -> their tables."""
        pointer = self._registry.current().pointer
        if pointer is None:
            return {}
        kept = [pointer.as_served(), *pointer.trail[-self._settings.keep_versions :]]
        return {served.version: served.table for served in kept}

    def _needed(self) -> set[str]:
        """The versions that are served, may be served again, or are being made."""
        pointer = self._registry.current().pointer
        if pointer is None and self._registry.was_lost():
            raise ArtifactError("the pointer is gone, and with it what was served: `dropfit rollback VERSION` first")
        served = [pointer.as_served(), *pointer.trail[-self._settings.keep_versions :]] if pointer else []
        waiting = {receipt.version for receipt in self._receipts.held()} | self._approvable()
        return {s.version for s in served} | waiting | attempts.versions(self._data)

    def _approvable(self) -> set[str]:
        """The newest versions that a person could approve, though no upload waits for them any more."""
        pointer = self._registry.current().pointer
        served = {pointer.version, *(s.version for s in pointer.trail)} if pointer else set()
        found = [
            version
            for version, files in self._registry.files().items()
            if {"manifest.json", "table.json"} <= files and "decision.json" not in files and version not in served
        ]
        return set(sorted(found)[-self._settings.keep_versions :])

    def _old(self, objects: Iterable[Stored]) -> bool:
        return all(stored.updated < self._cutoff for stored in objects)

    def _versions(self, needed: set[str]) -> list[Orphan]:
        found = []
        for version, objects in _by_folder(self._models, PREFIX).items():
            names = {_file(stored) for stored in objects}
            gone = objects if "manifest.json" not in names else [s for s in objects if not _is_history(_file(s))]
            if version in needed or not gone or not self._old(objects):
                continue
            why = "neither served nor waiting" if "manifest.json" in names else "its training never came to an end"
            found.append(Orphan("version", version, why, tuple(gone), version=version))
        return found

    def _snapshots(self, needed: set[str]) -> list[Orphan]:
        """Snapshots of needed versions that a later one replaced: neither the pointer nor the version names them."""
        named = self._named()
        found = []
        for version, objects in _by_folder(self._models, PREFIX).items():
            if version not in needed:
                continue  # they go with all its other files
            kept = named | self._snapshot(version)
            made = [s for s in objects if _file(s).startswith(SNAPSHOT)]
            gone = [s for s in made if s.name not in kept and self._old([s])]
            found += [Orphan("snapshot", s.name, "its version has a newer one", (s,)) for s in gone]
        return found

    def _named(self) -> set[str]:
        """The snapshots that the pointer names, or remembers."""
        pointer = self._registry.current().pointer
        served = [pointer.as_served(), *pointer.trail] if pointer else []
        return {s.snapshot.name for s in served if s.snapshot is not None}

    def _snapshot(self, version: str) -> set[str]:
        """The snapshot that a version names itself, when it is complete and has one."""
        try:
            snapshot = self._registry.completed(version).snapshot
        except (NotFound, ArtifactError):  # the next job that resumes it writes both again
            return set()
        return {snapshot.name} if snapshot else set()

    def _tables(self, needed: set[str]) -> list[Orphan]:
        kept = {self._table(version) for version in needed} | set(self._served().values())
        made = self._warehouse.tables()
        return [
            Orphan("table", table, "its version is neither served nor waiting, or has a newer one", table=table)
            for table, created in made.items()
            if table not in kept and created < self._cutoff
        ]

    def _table(self, version: str) -> str:
        """The table that a version names itself; until it is complete, the one that its training fills."""
        try:
            return self._registry.completed(version).table
        except (NotFound, ArtifactError):
            return table_name(version)

    def _shards(self, needed: set[str]) -> list[Orphan]:
        found = []
        for version, objects in _by_folder(self._data, f"{FOLDER}/").items():
            listed = self._listed(version) if version in needed else set()
            gone = [s for s in objects if s.updated < self._cutoff and s.name not in listed]
            if version in needed:
                gone = [s for s in gone if "/shards/" in s.name]
            elif not self._old(objects):
                continue
            if gone:
                why = "no list of shards names them" if version in needed else "its version is not needed any more"
                table = "" if version in needed else self._table(version)
                found.append(Orphan("shards", version, why, tuple(gone), table))
        return found

    def _listed(self, version: str) -> set[str]:
        try:
            payload = self._data.read(f"{FOLDER}/{version}/manifest.json")
        except NotFound:
            return set()
        return {shard.name for shard in documents.decode(payload, Shards).shards}

    def _rows(self) -> list[Orphan]:
        """Accepted rows that no receipt and no manifest names: of uploads that were read again, or jobs that died."""
        named = {r.accepted_name for r in self._receipts.all() if r.accepted is not None}
        for version in self._registry.ids():
            # One that is not readable hides what it was trained on: ArtifactError ends the search for rows.
            named |= {accepted_name(i.receipt, i.sha256) for i in self._registry.manifest(version).inputs}
        stems = {name.removesuffix(".parquet") for name in named}
        orphans = [s for s in self._data.list(ACCEPTED) if s.name.split(".")[0] not in stems and self._old([s])]
        return [Orphan("rows", s.name, "no receipt and no version names them", (s,)) for s in orphans]

    def _batches(self) -> list[Orphan]:
        """Work of batch predictions that broke off and that nobody has gone on with."""
        found = _by_folder(self._data, "batch/").items()
        why = "it broke off, and nobody went on with it"
        return [Orphan("batch", name, why, tuple(objects)) for name, objects in found if self._old(objects)]


def _by_folder(bucket: Bucket, prefix: str) -> dict[str, list[Stored]]:
    folders: dict[str, list[Stored]] = collections.defaultdict(list)
    for stored in bucket.list(prefix):
        folders[stored.name.removeprefix(prefix).split("/")[0]].append(stored)
    return folders


def _file(stored: Stored) -> str:
    return stored.name.rsplit("/", 1)[-1]


def _is_history(file: str) -> bool:
    return file in KEPT or file.endswith(HISTORY)
