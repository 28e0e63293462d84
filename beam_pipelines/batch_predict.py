# SPDX-License-Identifier: Apache-2.0
"""Batch prediction: Parquet rows of features -> shards of the static-serving table.

Reads what `keys` names, predicts whole Arrow batches with a version, writes shards under fresh names, and lists them
in a manifest, which is what commits them. By hand, against the local cloud:

    set -a; . .dropfit/env; .venv/bin/python -m beam_pipelines.batch_predict VERSION gs://dropfit-data/tables/VERSION/keys.parquet
"""

from __future__ import annotations

import datetime as dt
import sys
from collections.abc import Sequence
from typing import Any

import apache_beam as beam
from apache_beam.io.parquetio import ReadFromParquetBatched
from apache_beam.options.pipeline_options import PipelineOptions

from beam_pipelines.transforms import Predict, WriteShard
from dropfit import documents, storage
from dropfit import settings as config
from dropfit.errors import ArtifactError, NotFound
from dropfit.manifest import FOLDER, Artifact, Shards
from dropfit.settings import Settings

RUNNER = "FnApiRunner"
"""The DirectRunner's own engine. By that name it would first try Prism, and download it."""


class CommitShards(beam.DoFn):
    """The list of all shards -> the manifest object.

    Args:
        settings: where to write.
        version_id: the predicting version.
        name: the manifest's object name in the data bucket.
    """

    def __init__(self, settings: Settings, version_id: str, name: str) -> None:
        self._settings = settings
        self._id = version_id
        self._name = name

    def process(self, written: list[tuple[Artifact, int]]) -> None:
        """Write the manifest; it may replace that of an earlier run, whole by whole."""
        shards = tuple(sorted((shard for shard, _ in written), key=lambda s: s.name))
        manifest = Shards(version=self._id, rows=sum(rows for _, rows in written), shards=shards)
        storage.connect(self._settings).data.put(self._name, documents.encode(manifest), "application/json")


def folder(version_id: str) -> str:
    """Where a version's table is prepared, in the data bucket."""
    return f"{FOLDER}/{version_id}"


def build(pipeline: Any, keys: str, settings: Settings, version_id: str, at: dt.datetime) -> None:
    """The graph: keys are read, predicted, written, listed."""
    place = folder(version_id)
    (
        pipeline
        | "Read keys" >> ReadFromParquetBatched(keys)
        | "Predict" >> beam.ParDo(Predict(settings, version_id, at))
        | "Write shards" >> beam.ParDo(WriteShard(settings, f"{place}/shards"))
        | "List shards" >> beam.combiners.ToList()
        | "Commit" >> beam.ParDo(CommitShards(settings, version_id, f"{place}/manifest.json"))
    )


def run(keys: str, settings: Settings, version_id: str, options: Sequence[str] = ()) -> Shards:
    """Launch it and wait.

    Args:
        keys: a Parquet file or pattern, gs:// or local, as `tables.features_table` makes it.
        settings: where everything is.
        version_id: the predicting version.
        options: Beam's pipeline options; the runner among them.

    Raises:
        ArtifactError: when the pipeline ended without its manifest, or it is not readable.
    """
    at = dt.datetime.now(dt.UTC).replace(microsecond=0)
    with beam.Pipeline(options=PipelineOptions([f"--runner={RUNNER}", *options])) as pipeline:
        build(pipeline, keys, settings, version_id, at)
    try:
        payload = storage.connect(settings).data.read(f"{folder(version_id)}/manifest.json")
        return documents.decode(payload, Shards)
    except NotFound as error:
        raise ArtifactError(f"the batch prediction of {version_id} left no manifest") from error


def main(arguments: Sequence[str]) -> int:
    """`batch_predict VERSION KEYS [BEAM OPTIONS]`."""
    if len(arguments) < 2:
        print(__doc__)
        return 2
    version_id, keys, *options = arguments
    shards = run(keys, config.load(), version_id, options)
    print(f"{shards.rows:,} rows in {len(shards.shards)} shards, listed in {folder(version_id)}/manifest.json")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
