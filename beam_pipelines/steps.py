# SPDX-License-Identifier: Apache-2.0
"""The steps of a retraining, each idempotent: done twice, it leaves what it left the first time.

Heavy libraries are imported where they are used: a job that only finds another at work must end in a second.
"""

from __future__ import annotations

import datetime as dt
import hashlib
import importlib.metadata
import inspect
import io
import platform
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from dropfit import documents, tables
from dropfit.contract import Problem
from dropfit.encoding import sha256
from dropfit.errors import ArtifactError, BadFile, NotFound
from dropfit.receipts import Accepted, Receipt, Receipts
from dropfit.registry import Input, Manifest, Registry, Report
from dropfit.settings import Settings
from dropfit.storage import Bucket, Buckets

if TYPE_CHECKING:
    from dropfit.contract import Columns
    from dropfit.training import Trained

LIBRARIES = ("scikit-learn", "skl2onnx", "onnx", "onnxruntime", "numpy", "pyarrow")


class Services(msgspec.Struct, frozen=True):
    """What the steps work with."""

    settings: Settings
    problem: Problem
    buckets: Buckets
    receipts: Receipts
    registry: Registry


def ingest(services: Services, receipt: Receipt) -> Receipt:
    """Read one upload's pinned generation; returns its receipt as accepted, quarantined, superseded or deleted."""
    uploaded = receipt.object
    try:
        accepted = _take_in(services, receipt)
    except BadFile as bad:
        _quarantine_file(services.buckets.data, receipt, bad)
        return services.receipts.advance(receipt, state="quarantined", reason=bad.reason, code=bad.code)
    except NotFound:
        newer = services.buckets.landing.stat(uploaded.name)
        state = "deleted" if newer is None else "superseded"
        reason = "removed before it was read" if newer is None else f"overwritten by generation {newer.generation}"
        return services.receipts.advance(receipt, state=state, reason=reason, code=state)
    return services.receipts.advance(receipt, state="accepted", accepted=accepted)


def _take_in(services: Services, receipt: Receipt) -> Accepted:
    from dropfit.ingest import Caps, ingest

    settings, data = services.settings, services.buckets.data
    live = services.buckets.landing.stat(receipt.object.name)
    if live is None or live.generation != receipt.object.generation:
        raise NotFound("that generation is gone")
    if live.size > settings.max_file_bytes:
        raise BadFile(f"it holds {live.size:,} bytes, more than {settings.max_file_bytes:,}", "too-large")
    caps = Caps(max_unpacked_bytes=settings.max_unpacked_bytes, max_bad_share=settings.max_bad_share)
    with (
        tempfile.TemporaryFile() as good,
        io.StringIO(newline="") as bad,
        services.buckets.landing.open(live.name, live.generation) as stream,
    ):
        found = ingest(services.problem, stream, good, bad, caps)
        good.seek(0)
        digest = hashlib.file_digest(good, "sha256").hexdigest()
        size = good.tell()
        data.put(receipt.accepted_name, good)
        if found.rejected:
            data.put(f"quarantine/{receipt.id}/rows.csv", bad.getvalue().encode(), "text/csv")
    return Accepted(
        rows=found.rows,
        rejected=found.rejected,
        sha256=digest,
        size=size,
        reasons=found.reasons,
        notes=found.notes,
    )


def _quarantine_file(data: Bucket, receipt: Receipt, bad: BadFile) -> None:
    document = {"object": receipt.object, "reason": bad.reason, "code": bad.code, "at": dt.datetime.now(dt.UTC)}
    data.put(f"quarantine/{receipt.id}/reason.json", documents.encode(document), "application/json")


def window(services: Services, objects: Sequence[str] = ()) -> list[Receipt]:
    """The accepted uploads to train on, in the order of upload.

    Of an object uploaded several times the newest accepted generation counts; named objects narrow the window, else
    the problem's own length does.
    """
    taken = [r for r in services.receipts.all() if r.accepted is not None]
    newest = {r.object.name: r for r in taken}
    chosen = [r for r in newest.values() if not objects or r.object.name in objects]
    chosen.sort(key=lambda r: (r.object.generation, r.object.name))
    return chosen if objects or not services.problem.window else chosen[-services.problem.window :]


def version_id(services: Services, inputs: Sequence[Receipt]) -> str:
    """The same data, code and libraries give the same id, so that a job that is repeated finds its own work.

    It begins with the newest upload's time (a generation is microseconds since 1970), so ids sort by age.
    """
    problem = services.problem
    facts = {
        "problem": services.settings.problem,
        "contract": problem.contract,
        "code": [problem.derive_sha256, inspect.getsource(problem.estimator), problem.seed, problem.gate],
        "inputs": [(r.id, r.accepted.sha256 if r.accepted else "") for r in inputs],
        "libraries": libraries(),
    }
    newest = max(r.object.generation for r in inputs)
    stamp = dt.datetime.fromtimestamp(newest / 1e6, dt.UTC)
    return f"{stamp:%Y%m%dT%H%M%S}-{sha256(msgspec.json.encode(facts))[:8]}"


def accepted_rows(services: Services, inputs: Sequence[Receipt]) -> tuple[Columns, int]:
    """The window's rows without duplicates, in the order of upload, and how many duplicates were dropped.

    Raises:
        ArtifactError: when an accepted file is not what its receipt says.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    from dropfit.encoding import length
    from dropfit.ingest import from_table
    from dropfit.training import without_duplicates

    parts = []
    for receipt in inputs:
        payload = services.buckets.data.read(receipt.accepted_name)
        if receipt.accepted is None or sha256(payload) != receipt.accepted.sha256:
            raise ArtifactError(f"{receipt.accepted_name} is not what was accepted of {receipt.object.name}")
        parts.append(pq.read_table(pa.BufferReader(payload)))
    columns = from_table(pa.concat_tables(parts))
    unique = without_duplicates(services.problem, columns)
    return unique, length(columns) - length(unique)


def existing(services: Services, version: str) -> Manifest | None:
    """The version, when an earlier job made it already."""
    try:
        return services.registry.manifest(version)
    except NotFound:
        return None


def fit(services: Services, rows: Columns) -> Trained:
    """Judge on the newest block, fit on everything.

    Raises:
        TrainingError: when the data cannot carry a model.
    """
    from dropfit.training import train

    return train(services.problem, rows)


def publish(
    services: Services, version: str, inputs: Sequence[Receipt], trained: Trained, duplicates: int
) -> Manifest:
    """Export, compare with the estimator, and make the version exist.

    Raises:
        ExportError: when the model has no faithful ONNX form.
    """
    from dropfit import export

    problem = services.problem
    payload = export.to_onnx(trained.estimator, len(problem.inputs))
    parity = export.check(trained.estimator, payload, trained.sample, trained.width)
    add = services.registry.add_artifact
    manifest = Manifest(
        version=version,
        created=dt.datetime.now(dt.UTC),
        contract=problem.contract,
        problem=services.settings.problem,
        derive_sha256=problem.derive_sha256,
        classes=trained.classes,
        model=add(version, "model", ".onnx", payload),
        encoding=add(version, "encoding", ".json", msgspec.json.encode(trained.encoding)),
        inputs=tuple(_input(r) for r in inputs),
        rows=trained.rows,
        duplicates=duplicates,
        holdout=trained.holdout,
        metrics=trained.metrics,
        constant=trained.constant,
        parity=parity,
        seed=problem.seed,
        libraries=libraries(),
        revision=revision(),
    )
    return services.registry.publish(manifest)


def judge(services: Services, manifest: Manifest) -> Report:
    """The gate's verdict, kept with the version."""
    from dropfit import gate

    return services.registry.judge(gate.judge(services.problem, manifest))


def fill_table(services: Services, manifest: Manifest, rows: Columns) -> tuple[str, int]:
    """Predict the key universe, load the version's table and verify it; returns its name and rows.

    Raises:
        Conflict: when the loaded table is not what was predicted.
    """
    import pyarrow.parquet as pq

    from beam_pipelines import batch_predict
    from dropfit import version
    from dropfit.warehouse import Warehouse

    settings, data = services.settings, services.buckets.data
    loaded = version.load(services.registry, services.problem, manifest.version)
    universe = tables.key_universe(manifest.contract, rows, loaded.scorer.encoder)
    sink = io.BytesIO()
    pq.write_table(tables.features_table(manifest.contract, universe), sink, row_group_size=65_536)
    keys = f"{batch_predict.folder(manifest.version)}/keys.parquet"
    data.put(keys, sink.getvalue())
    shards = batch_predict.run(data.uri(keys), settings, manifest.version)
    table, warehouse = tables.table_name(manifest.version), Warehouse(settings)
    warehouse.load(
        table,
        tables.columns(manifest.contract),
        [data.uri(s.name) for s in shards.shards],
        cluster=manifest.contract.key,
        labels={"dropfit_version": manifest.version.lower()},
    )
    tables.verify(table, warehouse.facts(table, manifest.contract.key, manifest.version), shards.rows)
    return table, shards.rows


def repair_view(services: Services) -> None:
    """The view shows what the pointer says; it is derived, never the truth."""
    from dropfit.warehouse import Warehouse

    pointer = services.registry.current().pointer
    if pointer is not None:
        Warehouse(services.settings).point_view(pointer.table)


def libraries() -> dict[str, str]:
    """What a model depends on: package -> version."""
    return {"python": platform.python_version()} | {name: importlib.metadata.version(name) for name in LIBRARIES}


def revision() -> str:
    """The git revision of this code, empty where there is no git or no repository."""
    try:
        command = ["git", "-C", str(Path(__file__).parent), "rev-parse", "HEAD"]
        return subprocess.run(command, capture_output=True, text=True, check=True, timeout=10).stdout.strip()
    except (OSError, subprocess.SubprocessError):
        return ""


def _input(receipt: Receipt) -> Input:
    accepted = receipt.accepted
    assert accepted is not None  # noqa: S101 (a window holds accepted uploads alone)
    return Input(receipt.object.name, receipt.object.generation, receipt.id, accepted.rows, accepted.sha256)
