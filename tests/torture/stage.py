# SPDX-License-Identifier: Apache-2.0
"""The stand-ins for what a machine would compute: reading a file, fitting, exporting, predicting a table.

An uploaded file is its kind and a number. The newest file of a training decides how it ends:

    good    a model better than the constant        weak    one that is not: the gate keeps it
    hollow  data that carries no model              lethal  the fit kills its process, each time
    bad     unreadable: quarantined                 odd     quarantined until a person releases it
                                                    poison  reading it kills the process, each time
"""

from __future__ import annotations

import datetime as dt
import io
import sys
import threading
import types
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
from world import World

import beam_pipelines
import dropfit.ingest
from beam_pipelines import intake, steps, table
from beam_pipelines.known import Looked
from dropfit import documents, export, lease, libraries, report, version, warehouse
from dropfit.contract import Columns
from dropfit.duplicates import Repeats
from dropfit.encoding import Encoding, sha256
from dropfit.errors import ArtifactError, BadFile, TrainingError
from dropfit.export import Exported
from dropfit.ingest import Ingested
from dropfit.manifest import Artifact, Parity, Shards
from dropfit.quarantine import DRIFTED
from dropfit.receipts import Receipt
from dropfit.registry import Registry
from dropfit.snapshot import Written
from dropfit.training import Trained
from dropfit.verdict import Report, Sampled

GOOD = ("good", "odd")
LIBRARIES = {"python": "3"}


def _process() -> Any:
    return World.running[-1]


def ingest(problem: Any, stream: Any, accepted: Any, rejected: Any, caps: Any) -> Ingested:
    """dropfit.ingest.ingest."""
    payload = stream.read()
    kind = payload.split()[0].decode()
    if kind == "bad":
        raise BadFile("it is no table", "unreadable")
    if kind == "odd" and DRIFTED not in caps.overridden:
        raise BadFile("it is probably another thing", DRIFTED)
    if kind == "poison":
        _process().die()
    accepted.write(payload)
    return Ingested(1, 0, {}, [])


def accepted_rows(services: Any, inputs: Sequence[Receipt]) -> tuple[Columns, int]:
    """intake.accepted_rows: a row for each file, whose `pot` is the file's number."""
    serials, kinds = [], []
    for receipt in inputs:
        payload = services.buckets.data.read(receipt.accepted_name)
        if receipt.accepted is None or sha256(payload) != receipt.accepted.sha256:
            raise ArtifactError(f"{receipt.accepted_name} is not what was accepted")
        kind, serial = payload.decode().split()
        serials.append(float(serial))
        kinds.append(kind)
    _process().newest = kinds[-1]
    names = np.array([f"leaf {int(serial)}" for serial in serials], dtype=object)
    cups, numbers = np.array([None] * len(serials), dtype=object), np.array(serials)
    return {"leaf": names, "cup": cups, "minutes": numbers, "warmth": numbers, "pot": numbers}, 0


class Judging(types.ModuleType):
    """beam_pipelines.judging: what was fitted says itself whether it is good."""

    @staticmethod
    def plan(services: Any, rows: Columns, since: Any) -> Any:
        served = since.pointer.version if since.pointer else ""
        return types.SimpleNamespace(champion=types.SimpleNamespace(version=served))

    @staticmethod
    def judge(services: Any, manifest: Any, rows: Columns, champion: Any) -> Report:
        services.registry.read_artifact(manifest.trial)
        passed = manifest.metrics["log_loss"] < manifest.constant["log_loss"]
        now = dt.datetime.now(dt.UTC)
        said = ("good" if passed else "weak",)
        return Report(version=manifest.version, passed=passed, reasons=said, judged_at=now, champion=champion.version)


def fit(services: Any, rows: Columns, planned: Any) -> Trained:
    """steps.fit."""
    process = _process()
    process.world.watch.fitted(process)
    process.world.pass_time(1.0)
    if process.newest == "lethal":
        process.die()
    if process.newest == "hollow":
        raise TrainingError("the rows teach nothing")
    good = process.newest in GOOD
    serials, nothing = [int(serial) for serial in rows["pot"].tolist()], Encoding(vocabularies={}, pinned={})
    return Trained(
        estimator=serials,
        encoding=nothing,
        trial=serials,
        trial_encoding=nothing,
        classes=(),
        width=2,
        rows=len(rows["pot"]),
        metrics={"log_loss": 0.2 if good else 0.9, "brier": 0.1},
        constant={"log_loss": 0.6, "brier": 0.2},
        holdout={"first": "1", "last": "1", "method": "newest", "rows": 100},
        mask=np.ones(len(serials), dtype=bool),
        sample=None,
        trial_sample=None,
    )


def exported(estimator: Any, *given: Any) -> Exported:
    """dropfit.export.export: the model's file is the list of its rows."""
    return Exported(" ".join(map(str, estimator)).encode(), "onnxruntime", "", Parity(1, 0.0, 0.0), b"{}")


class AllFresh:
    """beam_pipelines.known.Known: no row was there before, and nothing has drifted."""

    def expire(self) -> None:
        """Knows nothing that could be old."""

    def add(self, receipt: Any, looked: Any) -> None:
        """Remembers nothing."""

    def repeats(self, receipt: Any, rows: Any) -> Repeats:
        """All is fresh."""
        return Repeats(fresh=1, changed=0, twice=0, holders={})


class BatchPredict(types.ModuleType):
    """beam_pipelines.batch_predict, without Beam: one shard, one line a key."""

    @staticmethod
    def run(settings: Any, batch: Any) -> Any:
        process, version_id, (keys,) = _process(), batch.version, batch.inputs
        data, models = process.buckets.data, process.buckets.models
        Registry(models).manifest(version_id)
        leaves = pq.read_table(io.BytesIO(data.read(keys.uri.split("/", 3)[3]))).column("leaf").to_pylist()
        shard = f"tables/{version_id}/shards/{process.name}-{process.calls}"
        payload = "\n".join(f"{leaf}\t{version_id}" for leaf in leaves).encode()
        data.put(shard, payload)
        artifact = Artifact(shard, len(payload), sha256(payload))
        shards = Shards(version=version_id, rows=len(leaves), shards=(artifact,))
        data.put(f"tables/{version_id}/manifest.json", documents.encode(shards))
        return types.SimpleNamespace(manifest=lambda: shards), None


class Head(types.ModuleType):
    """beam_pipelines.head: the snapshot is the text of the shards."""

    @staticmethod
    def write(services: Any, manifest: Any, shards: Shards, counts: Any) -> tuple[Artifact, Written]:
        (shard,) = shards.shards
        payload = services.buckets.data.read(shard.name)
        if sha256(payload) != shard.sha256 or len(counts) != shards.rows:
            raise ArtifactError(f"{shard.name} is not what was written")
        artifact = services.registry.add_artifact(manifest.version, "snapshot", ".head", payload)
        return artifact, Written(shards.rows, 1, 0, len(payload))


def load(registry: Any, problem: Any, version_id: str, threads: int = 1) -> Any:
    """dropfit.version.load: hashes are checked, nothing is parsed."""
    manifest = registry.manifest(version_id)
    registry.read_artifact(manifest.encoding)
    registry.read_artifact(manifest.model)
    encoder = types.SimpleNamespace(encoding=Encoding({}, {}))
    return types.SimpleNamespace(manifest=manifest, scorer=types.SimpleNamespace(encoder=encoder))


def proved(warehouse: Any, version: Any, table: str, rows: int) -> Sampled:
    """table._proved: nothing was predicted that could be predicted again."""
    return Sampled(rows, 0, 0.0)


def version_id(real: Any) -> Any:
    """steps.version_id, which tells the watch what its process begins to train."""

    def told(services: Any, inputs: Sequence[Receipt]) -> str:
        process = _process()
        process.version = real(services, inputs)
        process.world.watch.begun(process, inputs)
        return str(process.version)

    return told


class NoThread:
    """A heartbeat that never comes to beat: a job of some seconds needs none, and a thread is slow to start."""

    def __init__(self, **named: Any) -> None:
        """Takes what a thread takes."""

    def start(self) -> None:
        """Starts nothing."""

    def join(self, timeout: float) -> None:
        """Waits for nothing."""


def temporary_file(mode: str = "w+b", **named: Any) -> Any:
    """tempfile.TemporaryFile, in memory."""
    return io.BytesIO() if "b" in mode else io.TextIOWrapper(io.BytesIO(), encoding="utf-8", newline="")


def _warehouse(settings: Any) -> Any:
    return _process().warehouse


@contextmanager
def staged() -> Iterator[None]:
    """While inside, worlds can run."""
    with pytest.MonkeyPatch.context() as patch:
        batch = BatchPredict("beam_pipelines.batch_predict")
        patch.setitem(sys.modules, batch.__name__, batch)
        patch.setattr(beam_pipelines, "batch_predict", batch, raising=False)
        head = Head("beam_pipelines.head")
        patch.setitem(sys.modules, head.__name__, head)
        patch.setattr(beam_pipelines, "head", head, raising=False)
        judging = Judging("beam_pipelines.judging")
        patch.setitem(sys.modules, judging.__name__, judging)
        patch.setattr(beam_pipelines, "judging", judging, raising=False)
        patch.setattr(report, "files", lambda *given: [])
        patch.setattr(dropfit.ingest, "ingest", ingest)
        patch.setattr(intake, "accepted_rows", accepted_rows)
        patch.setattr(steps, "fit", fit)
        patch.setattr(table, "_proved", proved)
        patch.setattr(libraries, "recorded", lambda: LIBRARIES)
        patch.setattr(intake, "_look", lambda *given: Looked(None, None))  # type: ignore[arg-type]
        patch.setattr(steps, "revision", lambda settings: "")
        patch.setattr(steps, "version_id", version_id(steps.version_id))
        patch.setattr(export, "export", exported)
        patch.setattr(version, "load", load)
        patch.setattr(warehouse, "Warehouse", _warehouse)
        patch.setattr(lease, "time", types.SimpleNamespace(monotonic=lambda: _process().world.now))
        patch.setattr(lease, "threading", types.SimpleNamespace(Event=threading.Event, Thread=NoThread))
        patch.setattr(intake, "tempfile", types.SimpleNamespace(TemporaryFile=temporary_file))
        yield
