# SPDX-License-Identifier: Apache-2.0
"""Shared transforms: Arrow tables in, Arrow tables out. The model is opened in `setup`, never per element."""

from __future__ import annotations

import datetime as dt
import hashlib
import io
import secrets
from collections.abc import Iterable
from typing import Any

import apache_beam as beam
import pyarrow.parquet as pq

from dropfit import storage, tables, version
from dropfit.contract import load_problem
from dropfit.ingest import from_table
from dropfit.manifest import Artifact
from dropfit.registry import Registry
from dropfit.settings import Settings


class Predict(beam.DoFn):
    """Feature rows -> rows of the static-serving table.

    Args:
        settings: where the version is.
        version_id: which version predicts.
        at: the moment to write into `predicted_at`; one for the whole table.
    """

    def __init__(self, settings: Settings, version_id: str, at: dt.datetime) -> None:
        self._settings = settings
        self._id = version_id
        self._at = at

    def setup(self) -> None:
        """Load the version once per worker."""
        registry = Registry(storage.connect(self._settings).models)
        self._version = version.load(registry, load_problem(self._settings.problem), self._id)

    def process(self, features: Any) -> Iterable[Any]:
        """Predict one Arrow table of features."""
        manifest, scorer = self._version.manifest, self._version.scorer
        scored = scorer.score(from_table(features))
        yield tables.rows_table(manifest.contract, features, scored, manifest.classes, self._id, self._at)


class WriteShard(beam.DoFn):
    """An Arrow table -> a Parquet object under a fresh name.

    A retried bundle leaves an orphan, not a duplicate: only the shards that the manifest lists are ever loaded.

    Args:
        settings: where to write.
        folder: the objects' common prefix in the data bucket.
    """

    def __init__(self, settings: Settings, folder: str) -> None:
        self._settings = settings
        self._folder = folder

    def setup(self) -> None:
        """Connect once per worker."""
        self._bucket = storage.connect(self._settings).data

    def process(self, rows: Any) -> Iterable[tuple[Artifact, int]]:
        """Write one table; gives the shard and its number of rows."""
        sink = io.BytesIO()
        pq.write_table(rows, sink, compression="zstd")
        payload = sink.getvalue()
        name = f"{self._folder}/{secrets.token_hex(8)}.parquet"
        self._bucket.put(name, payload)
        yield Artifact(name, len(payload), hashlib.sha256(payload).hexdigest()), rows.num_rows
