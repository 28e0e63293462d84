# SPDX-License-Identifier: Apache-2.0
"""A deployment in memory that fills tables: real rows, model, checks and snapshots; without Beam and BigQuery."""

from __future__ import annotations

import io
import sys
import types
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import msgspec
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from fake_bucket import FakeBucket
from fakes import Shelf, pots, settings

import beam_pipelines
from beam_pipelines import retrain
from beam_pipelines.intake import Services
from beam_pipelines.ledger import Batch
from dropfit import documents, refreshes, tables, version, warehouse
from dropfit.encoding import sha256
from dropfit.errors import NotFound
from dropfit.ingest import from_table, to_table
from dropfit.manifest import Artifact, Manifest, Shards
from dropfit.pointer import Pointer
from dropfit.receipts import Accepted, Receipts, UploadedObject, accepted_name
from dropfit.registry import Registry
from dropfit.shift import Count
from dropfit.storage import Buckets
from dropfit.tables import TableFacts
from dropfit.verdict import Completed

Hook = Callable[[str], None]


class Dataset:
    """dropfit.warehouse.Warehouse in memory.

    Args:
        data: where its loads read.
    """

    def __init__(self, data: FakeBucket) -> None:
        self.held: dict[str, list[dict[str, Any]]] = {}
        self.labels: dict[str, Mapping[str, str]] = {}
        self.view = ""
        self.spoil: Callable[[list[dict[str, Any]]], list[dict[str, Any]]] = lambda rows: rows
        self._data = data

    def load(self, table: str, columns: Any, uris: Sequence[str], cluster: Any, labels: Mapping[str, str]) -> None:
        payloads = [self._data.read(uri.split("/", 3)[3]) for uri in uris]
        rows = pa.concat_tables([pq.read_table(io.BytesIO(p)) for p in payloads]).to_pylist()
        self.held[table] = []  # a load that fails has emptied the emulator's table
        self.held[table] = self.spoil(rows)
        self.labels[table] = labels

    def facts(self, table: str, key: Sequence[str], version: str) -> TableFacts:
        rows = self._rows(table)
        nulls = sum((row["prediction"] is None) != row["policy"].endswith(("confidence", "denied")) for row in rows)
        strangers = sum(row["model_version"] != version for row in rows)
        return TableFacts(len(rows), len({tuple(row[name] for name in key) for row in rows}), nulls, strangers)

    def sample(self, table: str, key: Sequence[str], rows: int) -> list[dict[str, Any]]:
        return sorted(self._rows(table), key=lambda row: sha256(repr([row[n] for n in key]).encode()))[:rows]

    def spread(self, before: str, after: str, numbers: bool) -> list[Count]:
        values = [[row["prediction"] for row in self._rows(table)] for table in (before, after)]
        places = sorted({v for found in values for v in found if v is not None})
        counts = [Count(n, *(found.count(v) for found in values)) for n, v in enumerate(places)]
        return [*counts, Count(-1, *(found.count(None) for found in values))]

    def point_view(self, table: str) -> None:
        self._rows(table)
        self.view = table

    def shown(self) -> str:
        return self.view

    def exists(self, table: str) -> bool:
        return table in self.held

    def _rows(self, table: str) -> list[dict[str, Any]]:
        if table not in self.held:
            raise NotFound(f"{table} does not exist")
        return self.held[table]


class Watched:
    """Something outside; a hook is told of every call before it is made, and may act, or end the process."""

    def __init__(self, there: Any, hook: Hook) -> None:
        self._there, self._hook = there, hook

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._there, name)
        if not callable(found) or name == "uri":
            return found

        def call(*given: Any, **named: Any) -> Any:
            self._hook(name)
            return found(*given, **named)

        return call


class Mill:
    """A version v1 that is served from the table of its training, v2 that was trained after it, and accepted rows.

    Args:
        shelf: v1.
        patch: stands in for Beam and BigQuery while the test lasts.
    """

    def __init__(self, shelf: Shelf, patch: pytest.MonkeyPatch, **changes: Any) -> None:
        self.problem = shelf.problem
        self.landing, self.data, self.models = FakeBucket("landing"), FakeBucket("data"), shelf.bucket.copy()
        self.models.delete("current.json")
        self.dataset = Dataset(self.data)
        self.settings = settings(**changes)
        self.hook: Hook = lambda method: None
        self.predictions = 0
        batch = types.ModuleType("beam_pipelines.batch_predict")
        batch.run = self._predict  # type: ignore[attr-defined]
        patch.setitem(sys.modules, batch.__name__, batch)
        patch.setattr(beam_pipelines, "batch_predict", batch, raising=False)
        patch.setattr(warehouse, "Warehouse", lambda settings: Watched(self.dataset, lambda m: self.hook(m)))
        self.registry = Registry(self.models)  # type: ignore[arg-type]
        self.accept("old.csv", pots(60))
        other = msgspec.structs.replace(self.registry.manifest("v1"), version="v2")
        self._copy_files(other)
        self.heads = {name: self._serve(name) for name in ("v2", "v1")}

    @property
    def services(self) -> Services:
        """What a job works with: a fresh one, as a job begins with."""
        watched = (Watched(bucket, lambda m: self.hook(m)) for bucket in (self.landing, self.data, self.models))
        buckets: Any = Buckets(*watched)  # type: ignore[arg-type]
        return Services(self.settings, self.problem, buckets, Receipts(buckets.data), Registry(buckets.models))

    @property
    def pointer(self) -> Pointer:
        """What is served."""
        found = self.registry.current().pointer
        assert found is not None
        return found

    @property
    def rows(self) -> list[dict[str, Any]]:
        """The rows of the served table."""
        return self.dataset.held[self.pointer.table]

    def accept(self, name: str, rows: Mapping[str, Any]) -> None:
        """An upload whose rows were taken in."""
        sink = io.BytesIO()
        pq.write_table(to_table(self.problem, rows), sink)
        payload = sink.getvalue()
        receipts: Any = Receipts(self.data)  # type: ignore[arg-type]
        stored = self.landing.put(name, payload)
        receipt, _ = receipts.register(UploadedObject("landing", name, stored.generation))
        digest, count = sha256(payload), len(rows["pot"])
        accepted = Accepted(
            rows=count, rejected=0, sha256=digest, size=9, fresh=count, problem_sha256=self.problem.ingest_sha256
        )
        receipts.advance(receipt, state="kept", accepted=accepted)
        self.data.put(accepted_name(receipt.id, digest), payload)

    def order(self, force: bool = False) -> None:
        """`dropfit batch refresh`."""
        refreshes.ask(self.data, "ann", force)  # type: ignore[arg-type]

    def work(self, hook: Hook = lambda method: None) -> None:
        """A job without arguments."""
        self.hook = hook
        try:
            retrain.work(self.services, "job")
        finally:
            self.hook = lambda method: None

    def keys(self) -> set[tuple[Any, ...]]:
        """The keys of the served table, each of which it holds once; all of its rows are of the served version."""
        rows = self.rows
        found = {tuple(row[name] for name in self.problem.key) for row in rows}
        assert len(found) == len(rows)
        assert {row["model_version"] for row in rows} == {self.pointer.version}
        return found

    def _copy_files(self, other: Manifest) -> None:
        """Another version with files of its own, of the same content."""
        renamed = {}
        for name in ("model", "encoding", "probe", "trial", "trial_encoding"):
            found: Artifact = getattr(other, name)
            stem, suffix = found.name.rsplit("/", 1)[-1].rsplit("-", 1)[0], "." + found.name.rsplit(".", 1)[-1]
            renamed[name] = self.registry.add_artifact("v2", stem, suffix, self.registry.read_artifact(found))
        self.registry.publish(msgspec.structs.replace(other, **renamed))

    def _serve(self, name: str) -> Completed:
        """The table of a version's training is filled, and served."""
        from beam_pipelines import table

        rows = self._accepted()
        manifest, since = self.registry.manifest(name), self.registry.current()
        done = table.fill(self.services, manifest, rows, since)
        self.registry.promote(name, done.table, since, "job", self.registry.seal(name), done.snapshot)
        self.dataset.view = done.table
        return done

    def _accepted(self) -> dict[str, Any]:
        (stored,) = self.data.list("accepted/")
        return from_table(pq.read_table(io.BytesIO(self.data.read(stored.name))))

    def _predict(self, settings: Any, batch: Batch) -> tuple[Any, None]:
        """beam_pipelines.batch_predict.run, as one loop."""
        self.predictions += 1
        version_id, (keys,) = batch.version, batch.inputs
        features = pq.read_table(io.BytesIO(self.data.read(keys.uri.split("/", 3)[3])))
        loaded = version.load(self.registry, self.problem, version_id)
        scored = loaded.scorer.score(from_table(features))
        at = loaded.manifest.created
        made = tables.rows_table(loaded.manifest.contract, features, scored, loaded.manifest.classes, version_id, at)
        payload = tables.as_parquet(made)
        name = f"tables/{version_id}/shards/{self.predictions:04x}.parquet"
        self.data.put(name, payload)
        shards = Shards(
            version=version_id, rows=made.num_rows, shards=(Artifact(name, len(payload), sha256(payload)),)
        )
        self.data.put(f"tables/{version_id}/manifest.json", documents.encode(shards))
        return types.SimpleNamespace(manifest=lambda: shards), None
