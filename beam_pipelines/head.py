# SPDX-License-Identifier: Apache-2.0
"""The head of a version's table as one file for serving: the most frequent keys that fit, and the back-off groups.

The predictions are read back out of the shards that the table was loaded from, not made a second time, so that table
and snapshot are the same numbers. Shards are read one by one; of all keys only numbers are held (some 70 bytes a
key), in the order of the universe: the same rows give the same bytes, however they lie in shards.
"""

from __future__ import annotations

import io
import logging
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from beam_pipelines.intake import Services
from dropfit import snapshot
from dropfit.backoff import Groups
from dropfit.contract import Label
from dropfit.encoding import sha256
from dropfit.errors import ArtifactError
from dropfit.manifest import Artifact, Manifest, Shards
from dropfit.records import Row
from dropfit.snapshot import Written
from dropfit.storage import Bucket
from dropfit.universe import Places, Universe
from dropfit.universe_report import fitting

LOG = logging.getLogger(__name__)
Array = np.ndarray[Any, Any]
AT_A_TIME = 256 * 1024**2
"""Bytes of probabilities that are held: where they are more, the shards are read again for the next classes."""
CHUNK = 8_192
"""Rows of the head that are made at a time."""


def write(services: Services, manifest: Manifest, shards: Shards, universe: Universe) -> tuple[Artifact, Written]:
    """Write and store the snapshot of a table.

    Args:
        services: where the shards are, where it goes, and how large it may be.
        manifest: the version's.
        shards: what the table was loaded from.
        universe: the keys that were predicted, and how often each was counted.

    Returns:
        The snapshot, and what it holds.

    Raises:
        ArtifactError: when a shard is not what was written, or the shards hold other keys.
    """
    room = services.settings.snapshot_bytes
    table = Table(services.buckets.data, manifest, shards, universe)
    weights = universe.counts.astype(np.float64)
    weights[~table.counting] = 0.0
    most = room // (2 * snapshot.LEAST)
    groups = Groups(manifest.contract, universe.axes, universe.numbers, weights, manifest.classes, most)
    rows = fitting(universe, table.shared.astype(np.int32) * (5 * len(manifest.classes)), room)
    shares = table.sum_up(groups, rows)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / f"snapshot{snapshot.SUFFIX}"
        written = snapshot.write(path, table.rows(rows, shares), groups, room)
        if written.groups < groups.count:
            out = groups.count - written.groups
            LOG.warning("%s of %s back-off groups do not fit into the snapshot", out, groups.count)
        written = written._replace(left_out=len(universe) + groups.count - written.rows - written.groups)
        return services.registry.add_file(manifest.version, "snapshot", path), written


class Table:
    """A table's predictions in the order of its universe, read out of its shards one by one.

    Args:
        data: where the shards are.
        manifest: of the version.
        shards: what the table was loaded from.
        universe: its keys.

    Attributes:
        shared: which rows have probabilities: bool, shape (keys,).
        counting: which rows' predictions count in a mean.

    Raises:
        ArtifactError: when a shard is not what was written, or the shards hold other keys.
    """

    def __init__(self, data: Bucket, manifest: Manifest, shards: Shards, universe: Universe) -> None:
        self._data, self._manifest, self._shards, self._universe = data, manifest, shards, universe
        count = len(universe)
        label = isinstance(manifest.contract.target, Label)
        self._labels, self._fires = Words(), Words()
        self._values = np.full(count, -1, dtype=np.int32) if label else np.full(count, np.nan)
        self._fired = np.zeros(count, dtype=np.int32)
        self.shared = np.zeros(count, dtype=bool)
        self._places: list[Array] = []
        found = np.zeros(count, dtype=bool)
        self._block = max(1, AT_A_TIME // (8 * max(1, count)))
        self._shares = self._empty(0)
        places = Places(manifest.contract, universe)
        for table in self._read():
            at = places.of(table).astype(np.int32)
            found[at] = True
            self._take(table, at)
        rows = sum(map(len, self._places))
        if rows != count or not found.all():
            raise ArtifactError(
                f"the shards of {shards.version} hold {rows:,} rows and {int(found.sum()):,} of the {count:,} keys "
                "that were to be predicted: fill the table anew"
            )
        self.counting = self.shared & (self._values >= 0) if label else ~np.isnan(self._values)

    def _read(self) -> Iterator[Any]:
        """The shards' columns that matter here."""
        contract = self._manifest.contract
        columns = [*contract.key, "prediction", "policy"]
        if self._manifest.classes:
            columns.append("probabilities")
        for shard in self._shards.shards:
            payload = self._data.read(shard.name)
            if sha256(payload) != shard.sha256:
                raise ArtifactError(f"the shard {shard.name} is not what was written")
            yield pq.read_table(io.BytesIO(payload), columns=columns)

    def _take(self, table: Any, at: Array) -> None:
        """Put a shard's rows where they belong."""
        self._places.append(at)
        self._fired[at] = self._fires.codes(table.column("policy"))
        if not self._manifest.classes:
            self._values[at] = table.column("prediction").to_numpy()
            return
        self._values[at] = self._labels.codes(table.column("prediction"))
        lengths = pc.list_value_length(table.column("probabilities")).to_numpy()
        self.shared[at] = lengths > 0
        self._put_shares(table, at, 0)

    def _put_shares(self, table: Any, at: Array, begin: int) -> None:
        """The probabilities of a block of classes; a row that has none, because the policy denies all, keeps 0."""
        column, classes = table.column("probabilities"), len(self._manifest.classes)
        shares = pc.struct_field(pc.list_flatten(column), "probability").to_numpy().reshape(-1, classes)
        there = at[self.shared[at]]
        for place in range(len(self._shares)):
            self._shares[place, there] = shares[:, begin + place]

    def _empty(self, begin: int) -> Array:
        """A block of classes, of all keys: float64, shape (classes of the block, keys)."""
        return np.zeros((min(self._block, len(self._manifest.classes) - begin), len(self._universe)))

    def sum_up(self, groups: Groups, rows: int) -> Array:
        """Give the groups all predictions; returns the first rows' probabilities, shape (rows, classes)."""
        classes = len(self._manifest.classes)
        if not classes:
            groups.add(self._values)
        held = np.zeros((rows, classes))
        for begin in range(0, classes, self._block):
            if begin:
                self._shares = self._empty(begin)
                for table, at in zip(self._read(), self._places, strict=True):
                    self._put_shares(table, at, begin)
            for place, column in enumerate(self._shares, start=begin):
                groups.add(column, place)
                held[:, place] = column[:rows]
        return held

    def rows(self, count: int, shares: Array) -> Iterator[tuple[str, Row]]:
        """The first rows, as the snapshot holds them.

        Args:
            count: how many.
            shares: their probabilities, shape (count, classes).
        """
        fires = [tuple(text.split(",")) if text else () for text in self._fires.words]
        for begin in range(0, count, CHUNK):
            part = slice(begin, min(begin + CHUNK, count))
            values = self._values[part].tolist()
            if self._manifest.classes:
                kept = [self._labels.words[code] if code >= 0 else None for code in values]
            else:
                kept = [value if value == value else None for value in values]
            fired = [fires[code] for code in self._fired[part].tolist()]
            told = [tuple(s) if any(s) else () for s in shares[part].tolist()]
            keys = self._universe.axes.texts(self._universe.numbers[part])
            yield from zip(keys, map(Row, kept, fired, told), strict=True)


class Words:
    """Texts as codes, the same in every shard.

    Attributes:
        words: the text of each code.
    """

    def __init__(self) -> None:
        self.words: list[str] = []
        self._codes: dict[str | None, int] = {None: -1}

    def codes(self, column: Any) -> Array:
        """Each row's code: int32, shape (rows,); -1 for null.

        Args:
            column: Arrow texts, plain or dictionary-coded.
        """
        coded = column.combine_chunks() if isinstance(column, pa.ChunkedArray) else column
        coded = coded if pa.types.is_dictionary(coded.type) else coded.dictionary_encode()
        known = []
        for word in coded.dictionary.to_pylist():
            if word not in self._codes:
                self._codes[word] = len(self.words)
                self.words.append(word)
            known.append(self._codes[word])
        places = pc.fill_null(coded.indices.cast(pa.int32()), len(known)).to_numpy(zero_copy_only=False)
        return np.asarray(np.array([*known, -1], dtype=np.int32)[places])
