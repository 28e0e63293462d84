# SPDX-License-Identifier: Apache-2.0
"""Deployments to be tortured, and what must hold in them at every moment and in the end."""

from __future__ import annotations

import contextlib
import csv
import importlib.util
import io
import os
import random
import secrets
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from herd import Ended, Herd
from places import search

from dropfit import lease, settings, storage, sweep
from dropfit.pointer import Pointer
from dropfit.receipts import Receipt, Receipts, UploadedObject
from dropfit.registry import Registry
from dropfit.runs import Run, latest
from dropfit.snapshot import Snapshot
from dropfit.warehouse import Warehouse
from localcloud.cloud import LocalCloud, Options

PROBLEMS = Path(__file__).parents[1] / "problems"
LEASE_SECONDS = 12.0
IMPATIENT = {
    "DROPFIT_PROBLEM": "penguins:problem",
    "DROPFIT_LEASE_SECONDS": f"{LEASE_SECONDS:g}",
    "DROPFIT_SWEEP_GRACE_SECONDS": "0.5",
    "DROPFIT_MAX_ATTEMPTS": "5",
}
AT_LEISURE = {"DROPFIT_LEASE_SECONDS": "60"}
"""Of worlds in which nobody dies: a lease that a busy machine renews late must not look like one of the dead."""
OURS = ("DROPFIT_", "GOOGLE_", "BIGQUERY_", "STORAGE_", "PUBSUB_", "CLOUD_RUN_", "K_")
FINALIZED = "google.cloud.storage.object.v1.finalized"


@dataclass(frozen=True)
class Figure:
    """What a proof found.

    Attributes:
        name: of the proof.
        sentence: the figure in words.
        ok: whether all is as it must be.
        seed: what replays it.
        numbers: the figures one by one.
        failures: what was not as it must be, each with how to replay it.
    """

    name: str
    sentence: str
    ok: bool
    seed: int
    numbers: Mapping[str, float]
    failures: tuple[str, ...] = ()


def clean_environment(**more: str) -> dict[str, str]:
    """The machine's environment without what could lead a run to somebody's real cloud; problems are importable."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(OURS)}
    kept.pop("PYTHONDONTWRITEBYTECODE", None)
    return kept | {"PYTHONPATH": search(PROBLEMS), "OMP_NUM_THREADS": "1"} | more


@contextlib.contextmanager
def quiet_cloud() -> Iterator[LocalCloud]:
    """A local cloud of storage, BigQuery and the token endpoint, which this process then talks to; no sweeper."""
    services = ("storage", "bigquery", "eventarc")
    with tempfile.TemporaryDirectory(prefix="dropfit-torture-") as home:
        cloud = LocalCloud(Path(home), environ=clean_environment(), services=services, eventarc=Options(sweep=""))
        with cloud:
            os.environ.update(cloud.env)
            yield cloud


@dataclass(frozen=True)
class Served:
    """What is served, once it was found to be whole."""

    pointer: Pointer | None
    rows: int


class World:
    """One deployment: three buckets and a dataset of its own, and runs forked from the zygote.

    Args:
        cloud: where.
        herd: starts the runs.
        more: settings beyond the usual ones.
    """

    def __init__(self, cloud: LocalCloud, herd: Herd, **more: str) -> None:
        from google.cloud import bigquery
        from google.cloud import storage as official

        unique = secrets.token_hex(5)
        given = {f"DROPFIT_{role.upper()}_BUCKET": f"{role}-{unique}" for role in ("landing", "data", "models")}
        self.environ = {**cloud.env, **IMPATIENT, **given, "DROPFIT_DATASET": f"set_{unique}", **more}
        self.settings = settings.load(self.environ)
        client = official.Client(project=self.settings.project)
        for bucket in given.values():
            client.create_bucket(bucket)
        bigquery.Client(project=self.settings.project).create_dataset(self.settings.dataset)
        self.herd = herd
        self.buckets = storage.connect(self.settings)
        self.registry = Registry(self.buckets.models)
        self.warehouse = Warehouse(self.settings)
        self.crashed: set[str] = set()
        self.waited = 0.0

    def put(self, name: str, payload: bytes) -> UploadedObject:
        """Upload, without anybody being told."""
        stored = self.buckets.landing.put(name, payload)
        return UploadedObject(stored.bucket, name, stored.generation)

    def upload(self, name: str, payload: bytes) -> UploadedObject:
        """Upload and leave a receipt, as the function does."""
        uploaded = self.put(name, payload)
        Receipts(self.buckets.data).register(uploaded)
        return uploaded

    def job(self, plan: Mapping[str, Any] | None = None, **more: Any) -> Ended:
        """A retraining job, waited for."""
        return self.herd.run(self.environ, plan=plan, **more)

    def event(self, uploaded: UploadedObject, plan: Mapping[str, Any] | None = None) -> Ended:
        """The function gets the event of an upload; the job that it launches is lost."""
        headers = {
            "ce-id": "1",
            "ce-specversion": "1.0",
            "ce-type": FINALIZED,
            "ce-source": f"//storage.googleapis.com/projects/_/buckets/{uploaded.bucket}",
            "ce-subject": "objects/upload",
            "ce-time": "2026-01-01T00:00:00Z",
            "content-type": "application/json",
        }
        body = {"bucket": uploaded.bucket, "name": uploaded.name, "generation": str(uploaded.generation)}
        return self.herd.run(self.environ, action="event", plan=plan, headers=headers, body=body)

    def receipt(self, uploaded: UploadedObject) -> Receipt:
        """An upload's receipt."""
        return Receipts(self.buckets.data).get(uploaded.id)

    def runs(self) -> list[Run]:
        """Every run of this deployment, oldest first."""
        return latest(self.buckets.data, 10_000)

    def served(self) -> Served:
        """What the pointer says, found whole: manifest, artifacts, table, all of one version.

        Raises:
            AssertionError: when the world is mixed.
        """
        pointer = self.registry.current().pointer
        if pointer is None:
            return Served(None, 0)
        manifest = self.registry.manifest(pointer.version)
        assert self.registry.report(pointer.version).passed, f"{pointer.version} is served and did not pass"
        for artifact in (manifest.model, manifest.encoding):
            self.registry.read_artifact(artifact)
        found = self.versions_in(pointer.table)
        assert list(found) == [pointer.version], f"{pointer.table} of {pointer.version} holds {dict(found)}"
        completed = self.registry.completed(pointer.version)
        assert completed.snapshot == pointer.snapshot is not None, f"{pointer.version} has another snapshot"
        with tempfile.TemporaryDirectory() as folder:
            head = Snapshot(self.registry.fetch_artifact(pointer.snapshot, Path(folder)), unlink=True)
            assert len(head) == completed.keys == found[pointer.version], f"{pointer.version} has another's snapshot"
            head.close()
        return Served(pointer, found[pointer.version])

    def versions_in(self, table: str) -> Counter[str]:
        """Rows by version of a table or the view."""
        sql = f"SELECT model_version, COUNT(*) AS n FROM `{self.warehouse.name(table)}` GROUP BY 1"
        return Counter({row["model_version"]: row["n"] for row in self.warehouse.query(sql, {})})

    def view_is(self, pointer: Pointer | None) -> bool:
        """Whether the view shows what the pointer says."""
        return pointer is None or list(self.versions_in("predictions")) == [pointer.version]

    def recover(self, seconds: float = 600.0) -> None:
        """No event comes: sweeps, and the jobs they launch, until nothing waits.

        Raises:
            AssertionError: when that does not come true.
        """
        begun = time.monotonic()
        while not self.settled():
            assert time.monotonic() - begun < seconds, "nothing converged: " + self.tell()
            swept = sweep.sweep_with(self.settings, self.buckets, _Launcher(self))
            sweep.mend_view(self.settings, self.buckets)
            if not swept.launched:
                time.sleep(0.5)
        self.waited += time.monotonic() - begun

    def settled(self) -> bool:
        """Whether every upload has its outcome, nobody holds the lease and the view is right."""
        if Receipts(self.buckets.data).any_open() or lease.read(self.buckets.data)[0] is not None:
            return False
        live = [UploadedObject(s.bucket, s.name, s.generation) for s in self.buckets.landing.list()]
        if {u.id for u in live} - Receipts(self.buckets.data).ids():
            return False
        return self.view_is(self.registry.current().pointer)

    def tell(self) -> str:
        """What is where, for a failure."""
        receipts = [(r.object.name, r.state, r.attempts, r.reason) for r in Receipts(self.buckets.data).all()]
        return f"receipts {receipts}, lease {lease.read(self.buckets.data)[0]}, pointer {self.registry.current()}"

    def fitted(self) -> Counter[str]:
        """How often each version was fitted, as far as its runs tell."""
        return Counter(
            run.version
            for run in self.runs()
            for step in run.steps
            if step.name == "train" and step.seconds is not None and "metrics" in step.detail
        )


class _Launcher:
    """Forks a job and waits for it: a sweep's launch and the job's whole life are one step of a recovery."""

    def __init__(self, world: World) -> None:
        self._world = world

    def launch(self) -> str:
        ended = self._world.job()
        return str(ended.log)


def seasons() -> dict[str, list[list[str]]]:
    """Real penguins by season: rows, the header first."""
    if str(PROBLEMS) not in sys.path:
        sys.path.append(str(PROBLEMS))
    found = importlib.util.find_spec("palmerpenguins")
    assert found is not None
    assert found.origin is not None
    with (Path(found.origin).parent / "data" / "penguins-raw.csv").open(newline="") as stream:
        header, *rows = csv.reader(stream)
    return {season: [header, *(r for r in rows if r[0] == season)] for season in sorted({row[0] for row in rows})}


def season_file(season: str, dice: random.Random) -> bytes:
    """A season's file, a few rows of which are missing: other bytes and another version each time."""
    header, *rows = seasons()[season]
    left_out = set(dice.sample(range(len(rows)), 3))
    return as_csv([header, *(row for number, row in enumerate(rows) if number not in left_out)])


def as_csv(rows: list[list[str]]) -> bytes:
    """Rows as a file."""
    sink = io.StringIO(newline="")
    csv.writer(sink).writerows(rows)
    return sink.getvalue().encode()


def guarded(name: str, work: Callable[[], None]) -> str:
    """Do it; returns what went wrong, in one line, or nothing."""
    try:
        work()
    except Exception as error:
        return f"{name}: {type(error).__name__}: {error}"
    return ""
