# SPDX-License-Identifier: Apache-2.0
"""The head of a version's table as one file for serving: the most frequent keys that fit, and the back-off groups.

The predictions are read back out of the shards that the table was loaded from, not made a second time, so that table
and snapshot are the same numbers. Keys of one frequency are taken in the order of their text: the same shards give
the same bytes, and a repeated job the same file.
"""

from __future__ import annotations

import io
import logging
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from beam_pipelines.intake import Services
from dropfit import backoff, snapshot
from dropfit.contract import Columns, Contract, Label
from dropfit.encoding import sha256, take
from dropfit.errors import ArtifactError
from dropfit.keys import joined
from dropfit.manifest import Artifact, Manifest, Shards
from dropfit.records import Row
from dropfit.snapshot import Written
from dropfit.storage import Bucket

LOG = logging.getLogger(__name__)
Array = np.ndarray[Any, Any]


class Predicted(NamedTuple):
    """Rows of a table.

    Attributes:
        keys: the key columns, shape (rows,) each.
        texts: the keys as keys.joined makes them.
        values: shape (rows,): float64 with NaN, or labels with None, where the policy left none.
        fired: per row, the policy's rules, joined by commas.
        probabilities: shape (rows, classes) for a label target, all 0 in a row that has none; else None.
    """

    keys: Columns
    texts: list[str]
    values: Array
    fired: list[str]
    probabilities: Array | None


def write(
    services: Services, manifest: Manifest, shards: Shards, counts: Mapping[str, int]
) -> tuple[Artifact, Written]:
    """Write and store the snapshot of a table.

    Args:
        services: where the shards are, where it goes, and how large it may be.
        manifest: the version's.
        shards: what the table was loaded from.
        counts: key -> how many accepted rows have it.

    Returns:
        The snapshot, and what it holds.

    Raises:
        ArtifactError: when a shard is not what was written.
    """
    contract = manifest.contract
    found = _ordered(predicted(services.buckets.data, shards, contract, manifest.classes), counts)
    weights = np.array([counts[key] for key in found.texts], dtype=np.float64)
    groups = backoff.groups(contract, found.keys, found.values, weights, manifest.classes, found.probabilities)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / f"snapshot{snapshot.SUFFIX}"
        written = snapshot.write(path, _rows(found), groups, services.settings.snapshot_bytes)
        if written.groups < len(groups):
            LOG.warning(
                "%s of %s back-off groups do not fit into the snapshot", len(groups) - written.groups, len(groups)
            )
        return services.registry.add_file(manifest.version, "snapshot", path), written


def predicted(data: Bucket, shards: Shards, contract: Contract, classes: tuple[str, ...]) -> Predicted:
    """All rows of the shards, in no order that means anything.

    Raises:
        ArtifactError: when a shard is not what was written.
    """
    import pyarrow as pa

    from dropfit.ingest import from_table

    table = pa.concat_tables([_shard(data, shard, contract) for shard in shards.shards])
    rows = from_table(table.select([*contract.key, "prediction"]))
    keys = {name: rows[name] for name in contract.key}
    probabilities = None
    if isinstance(contract.target, Label):
        probabilities = _probabilities(table.column("probabilities"), len(classes))
    fired = table.column("policy").to_pylist()
    return Predicted(keys, joined(keys, contract.key), rows["prediction"], fired, probabilities)


def _probabilities(column: Any, classes: int) -> Array:
    """Shape (rows, classes); of a row that has none, because the policy denies every label, all are 0."""
    import pyarrow.compute as pc

    there = pc.list_value_length(column).to_numpy() > 0
    shares = np.zeros((len(there), classes))
    shares[there] = pc.struct_field(pc.list_flatten(column), "probability").to_numpy().reshape(-1, classes)
    return shares


def _shard(data: Bucket, shard: Artifact, contract: Contract) -> Any:
    import pyarrow.parquet as pq

    payload = data.read(shard.name)
    if sha256(payload) != shard.sha256:
        raise ArtifactError(f"the shard {shard.name} is not what was written")
    wanted = (*contract.key, "prediction", "policy")
    columns = [*wanted, "probabilities"] if isinstance(contract.target, Label) else [*wanted]
    return pq.read_table(io.BytesIO(payload), columns=columns)


def _ordered(found: Predicted, counts: Mapping[str, int]) -> Predicted:
    """The most frequent keys first, of one frequency in the order of their text."""
    texts, fired = found.texts, found.fired
    by_text = np.array(sorted(range(len(texts)), key=texts.__getitem__), dtype=np.int64)
    often = np.array([counts[texts[row]] for row in by_text], dtype=np.int64)
    places = by_text[np.argsort(-often, kind="stable")]
    order = places.tolist()
    return Predicted(
        take(found.keys, places),
        [texts[row] for row in order],
        found.values[places],
        [fired[row] for row in order],
        None if found.probabilities is None else found.probabilities[places],
    )


def _rows(found: Predicted) -> Iterator[tuple[str, Row]]:
    for row, (key, value, fired) in enumerate(zip(found.texts, found.values.tolist(), found.fired, strict=True)):
        shares = () if found.probabilities is None else tuple(found.probabilities[row].tolist())
        shares = shares if any(shares) else ()
        kept = None if value is None or value != value else value
        yield key, Row(kept, tuple(fired.split(",")) if fired else (), shares)
