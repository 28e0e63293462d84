# SPDX-License-Identifier: Apache-2.0
"""Fill a table of a version: predict the keys, load, verify, prove a sample, write the snapshot of its head.

Who fills one, a training or a refresh, then says that the version is complete and swaps the pointer. Until then
nobody is served from it.
"""

from __future__ import annotations

import datetime as dt
import logging
from typing import TYPE_CHECKING, Any, NamedTuple

import msgspec

from beam_pipelines.intake import Services
from dropfit import runs, shift, tables
from dropfit.contract import Label
from dropfit.errors import ArtifactError, Conflict, NotFound
from dropfit.manifest import FOLDER, Artifact, Manifest, Shards, table_name
from dropfit.verdict import Completed, Sampled, Shift

if TYPE_CHECKING:
    from dropfit.contract import Columns
    from dropfit.pointer import Current
    from dropfit.snapshot import Written
    from dropfit.universe import Universe
    from dropfit.version import Version
    from dropfit.warehouse import Warehouse

LOG = logging.getLogger(__name__)
TRAINING = "training"
"""The filling that a training makes."""


class Wanted(NamedTuple):
    """What a table is to hold.

    Attributes:
        version: that predicts.
        universe: the keys, and how often each was counted.
        digest: of the keys, whatever their order.
    """

    version: Version
    universe: Universe
    digest: str


def fill(services: Services, manifest: Manifest, rows: Columns, since: Current) -> Completed:
    """The table of a version that is in training, and how far it lies from the served one.

    A table that an earlier job verified is left alone: it may be served already, or be one to roll back to.

    Args:
        services: where everything is.
        manifest: the version's.
        rows: the accepted rows whose keys it holds.
        since: what is served.

    Raises:
        Conflict: when the loaded table is not what was predicted.
        ArtifactError: when the shards are not what was written.
    """
    registry, version = services.registry, manifest.version
    done = finished(services, manifest)
    if done is None:
        registry.withdraw(version)
        done = made(services, manifest, wanted(services, manifest, rows), table_name(version), TRAINING)
        registry.complete(done)
    moved = shifted(services, manifest, done.table, since)
    if moved != done.shift:
        done = msgspec.structs.replace(done, shift=moved)
        registry.complete(done)
    return done


def finished(services: Services, manifest: Manifest) -> Completed | None:
    """The verified table of a version, when it has one and table and snapshot are still what was said of them."""
    try:
        done = services.registry.completed(manifest.version)
        check(services, manifest, done)
    except (NotFound, Conflict, ArtifactError):
        return None
    return done


@runs.part("check")
def check(services: Services, manifest: Manifest, done: Completed) -> None:
    """Look at a table and its snapshot once more.

    Raises:
        NotFound: when one is gone.
        Conflict: when the table is not what was loaded.
        ArtifactError: when the snapshot is not what was written.
    """
    facts = warehouse_of(services).facts(done.table, manifest.contract.key, manifest.version)
    tables.verify(done.table, facts, done.rows)
    if done.snapshot is not None:
        services.registry.prove_artifact(done.snapshot)


@runs.part("predict")
def wanted(services: Services, manifest: Manifest, rows: Columns) -> Wanted:
    """The keys of accepted rows, as a table holds them, and the version that predicts them.

    Raises:
        ArtifactError: when the version is broken.
    """
    from beam_pipelines import keys
    from dropfit import version

    loaded = version.load(services.registry, services.problem, manifest.version)
    chosen = keys.choose(services, manifest, rows)
    return Wanted(loaded, chosen, keys.digest(chosen, manifest.contract.key))


def made(services: Services, manifest: Manifest, found: Wanted, table: str, filling: str) -> Completed:
    """Predict keys into a table, load it, verify it, prove it, write its snapshot; nobody is told of it yet.

    Args:
        services: where everything is.
        manifest: the version's.
        found: the keys.
        table: its name, which nothing may point at.
        filling: which filling it is: a label of the table, and the folder of its shards.

    Raises:
        Conflict: when the loaded table is not what was predicted.
        ArtifactError: when the shards are not what was written.
    """
    warehouse = warehouse_of(services)
    shards = _predicted(services, manifest, found, filling)
    with runs.part("load"):
        warehouse.load(
            table,
            tables.columns(manifest.contract),
            [services.buckets.data.uri(s.name) for s in shards.shards],
            cluster=manifest.contract.key,
            labels=tables.labels(manifest, filling),
        )
    with runs.part("verify"):
        tables.verify(table, warehouse.facts(table, manifest.contract.key, manifest.version), shards.rows)
    sample = _proved(warehouse, found.version, table, shards.rows)
    snapshot, written = _headed(services, manifest, shards, found.universe)
    return Completed(
        version=manifest.version,
        table=table,
        rows=shards.rows,
        verified_at=dt.datetime.now(dt.UTC),
        snapshot=snapshot,
        keys=written.rows,
        groups=written.groups,
        universe=found.digest,
        sample=sample,
    )


@runs.part("shift")
def shifted(services: Services, manifest: Manifest, table: str, since: Current) -> Shift | None:
    """How far the predictions of a table lie from those of the served one.

    None where nothing is served, what is served answers another question or cannot be read, or its table is gone.
    """
    if since.pointer is None or since.pointer.table == table:
        return None
    against, contract = since.pointer, manifest.contract
    try:
        if services.registry.manifest(against.version, against.manifest_sha256).contract.target != contract.target:
            return None
        numbers = not isinstance(contract.target, Label)
        counts = warehouse_of(services).spread(against.table, table, numbers)
    except (NotFound, ArtifactError) as error:
        LOG.warning("the predictions of %s are compared with nothing: %s", table, error)
        return None
    measure = "Kolmogorov-Smirnov statistic" if numbers else "total variation"
    size = shift.kolmogorov(counts) if numbers else shift.total_variation(counts)
    return Shift(against.table, measure, round(size, 6), contract.policy.max_shift)


@runs.part("told")
def told(services: Services, done: Completed) -> dict[str, Any]:
    """What a run says of a table: its facts, keys, snapshot (empty when it has none), sample and shift."""
    from beam_pipelines import keys

    head = done.snapshot and {
        "keys": done.keys,
        "left_out": done.rows - done.keys,
        "groups": done.groups,
        "bytes": done.snapshot.size,
    }
    return {
        "rows": done.rows,
        "table": done.table,
        # What verify lets pass has no others.
        "facts": {"keys": done.rows, "nulls": 0, "strangers": 0},
        "universe": keys.told(services, done.version),
        "snapshot": head or {},
        "sample": msgspec.to_builtins(done.sample),
        "shift": msgspec.to_builtins(done.shift),
    }


@runs.part("predict")
def _predicted(services: Services, manifest: Manifest, found: Wanted, filling: str) -> Shards:
    """Predict the keys into shards. What a job that was killed had done of the same keys stands."""
    from beam_pipelines import batch_predict, keys
    from beam_pipelines.ledger import Batch

    version, data = manifest.version, services.buckets.data
    place = f"{FOLDER}/{version}"
    encoding = found.version.scorer.encoder.encoding
    inputs = keys.write(services, manifest, found.universe, encoding, place, found.digest)
    name = version if filling == TRAINING else f"{version}-{filling}"
    batch = Batch(version, inputs, data.uri(place), name, checked=True)
    return batch_predict.run(services.settings, batch)[0].manifest()


@runs.part("head")
def _headed(services: Services, manifest: Manifest, shards: Shards, found: Universe) -> tuple[Artifact, Written]:
    """The snapshot of the table's head."""
    from beam_pipelines import head

    return head.write(services, manifest, shards, found)


@runs.part("prove")
def _proved(warehouse: Warehouse, version: Version, table: str, rows: int) -> Sampled:
    """Rows of the table, predicted again by the version that it is of."""
    from dropfit import proof

    expected = min(rows, proof.SAMPLE)
    read = warehouse.sample(table, version.manifest.contract.key, proof.SAMPLE)
    return proof.compare(table, version.scorer, read, expected)


def warehouse_of(services: Services) -> Warehouse:
    """A job's one client of BigQuery: making another takes as long as a call."""
    from dropfit.warehouse import Warehouse

    if "warehouse" not in services.clients:
        services.clients["warehouse"] = Warehouse(services.settings)
    made: Warehouse = services.clients["warehouse"]
    return made
