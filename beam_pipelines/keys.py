# SPDX-License-Identifier: Apache-2.0
"""The key universe of a training: chosen as the settings say, and written for the batch prediction to read."""

from __future__ import annotations

import itertools
import logging
import tempfile
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import msgspec
import numpy as np

from beam_pipelines.intake import Services
from beam_pipelines.sources import Source
from dropfit import counting, documents, universe_report
from dropfit.errors import ArtifactError, NotFound
from dropfit.manifest import FOLDER
from dropfit.storage import Stored
from dropfit.universe import Universe
from dropfit.universe_report import Report

if TYPE_CHECKING:
    from dropfit.contract import Columns
    from dropfit.encoding import Encoding
    from dropfit.manifest import Manifest

LOG = logging.getLogger(__name__)
GROUPS = 16
"""Row groups of one object, of universe.ROWS rows: what one worker predicts at a time."""


def choose(services: Services, manifest: Manifest, rows: Columns) -> Universe:
    """The keys that the version's table is to hold.

    Args:
        services: settings, and where the requests are.
        manifest: of the version, whose contract it is.
        rows: accepted rows.

    Raises:
        SettingsError: when the setting does not fit the contract.
    """
    from dropfit import population

    counted = counting.of_rows(manifest.contract, rows)
    chosen = population.chosen(manifest.contract, counted, services.settings)
    found = universe_report.report(manifest.contract, chosen, services.settings)
    LOG.info("%s", universe_report.line(found))
    for note in found.notes:
        LOG.warning("%s", note)
    services.buckets.data.put(_report_name(manifest.version), documents.encode(found), "application/json")
    return chosen


def told(services: Services, version: str) -> dict[str, Any]:
    """What a run says of the universe of a version's table; empty for one from before there was a report."""
    try:
        return universe_report.told(documents.decode(services.buckets.data.read(_report_name(version)), Report))
    except (NotFound, ArtifactError):
        return {}


def _report_name(version: str) -> str:
    return f"{FOLDER}/{version}/universe.json"


def digest(keys: Universe, names: Sequence[str]) -> str:
    """A text for the set of keys, whatever their order.

    Args:
        keys: the universe.
        names: the key's columns.
    """
    from dropfit import duplicates
    from dropfit.ingest import from_table

    batches = (from_table(batch) for batch in keys.batches())
    # A column without a gap may be whole numbers, the same with one is not.
    return duplicates.digest(
        ({n: v if v.dtype == object else v.astype(np.float64) for n, v in batch.items()} for batch in batches), names
    )


def write(
    services: Services, manifest: Manifest, keys: Universe, encoding: Encoding, folder: str, digest: str
) -> tuple[Source, ...]:
    """Write the table's features as Parquet objects, never more than one of them in memory.

    What an earlier attempt wrote of the same keys stands, so that its predictions of them do.

    Args:
        services: where to.
        manifest: of the version.
        keys: the universe.
        encoding: knows what is pinned to a key.
        folder: the objects' common prefix in the data bucket.
        digest: of the keys.

    Returns:
        The objects.
    """
    data, note = services.buckets.data, f"{folder}/keys.json"
    try:
        written = documents.decode(data.read(note), Written)
    except (NotFound, ArtifactError):
        written = Written("", ())
    there = [data.stat(name) for name in written.names]
    if written.digest != digest or not all(there):
        for stale in [stored.name for stored in data.list(f"{folder}/keys")]:
            data.delete(stale)
        there = [*_objects(services, manifest, keys, encoding, folder)]
        names = tuple(stored.name for stored in there if stored)
        data.put(note, documents.encode(Written(digest, names)), "application/json")
    return tuple(Source(data.uri(stored.name), stored.size, stored.generation) for stored in there if stored)


class Written(msgspec.Struct, frozen=True):
    """The objects that hold the keys of that digest."""

    digest: str
    names: tuple[str, ...]


def _objects(
    services: Services, manifest: Manifest, keys: Universe, encoding: Encoding, folder: str
) -> Iterator[Stored]:
    import pyarrow.parquet as pq

    batches = keys.features(manifest.contract, encoding)
    for number, first in enumerate(batches):
        name = f"{folder}/keys-{number:05d}.parquet"
        with tempfile.TemporaryFile() as file:
            with pq.ParquetWriter(file, first.schema, compression="zstd", store_schema=False) as writer:
                for batch in itertools.chain([first], itertools.islice(batches, GROUPS - 1)):
                    writer.write_table(batch)
            stored = services.buckets.data.put(name, file)
        yield stored
