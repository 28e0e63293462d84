# SPDX-License-Identifier: Apache-2.0
"""Shared transforms, Arrow tables between them. The model is opened in `setup`, never per element.

What runs through the graph up to `Read` are descriptions of work, and from there on the runner fuses the steps: a
table is handed from one to the next in memory, and each piece is written before the next is read.
"""

from __future__ import annotations

import collections
import functools
import hashlib
import secrets
from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

import apache_beam as beam

from beam_pipelines import sources
from beam_pipelines.folders import folder
from beam_pipelines.ledger import REJECTED, SHARDS, Ledger, Piece
from dropfit import splits, storage, tables, version
from dropfit.checks import Checked, check
from dropfit.columnar import Columnar
from dropfit.contract import load_problem
from dropfit.errors import BadFile
from dropfit.manifest import Artifact
from dropfit.parts import Raw
from dropfit.registry import Registry
from dropfit.settings import Settings
from dropfit.splits import Split
from dropfit.version import Version


class Work(NamedTuple):
    """A split, and which of its parts an earlier run has done."""

    split: Split
    done: tuple[int, ...] = ()


class Part(NamedTuple):
    """Some rows of a split on their way.

    Attributes:
        split: its number.
        part: its place in the split, from 0.
        last: whether the split ends with it.
        raw: the rows as the file has them.
    """

    split: int
    part: int
    last: bool
    raw: Raw


class Predicted(NamedTuple):
    """What became of a part.

    Attributes:
        piece: what is known of it before it is written.
        rows: Arrow table as `tables.rows_table` makes it, without a row when all were rejected.
        rejected: Arrow table of the rows that were set aside, None when there are none.
    """

    piece: Piece
    rows: Any
    rejected: Any


@functools.lru_cache(maxsize=2)
def loaded(settings: Settings, version_id: str) -> Version:
    """A version, once per process: its threads share it, and Dask sets a DoFn up for every element."""
    registry = Registry(storage.connect(settings).models)
    return version.load(registry, load_problem(settings.problem), version_id)


class Read(beam.DoFn):
    """A split -> its rows, part by part.

    Args:
        settings: how objects are opened.
        version_id: the predicting version, whose contract says what is read as what.
    """

    def __init__(self, settings: Settings, version_id: str) -> None:
        self._settings = settings
        self._id = version_id

    def setup(self) -> None:
        """The version's contract."""
        self._contract = loaded(self._settings, self._id).manifest.contract
        self._nulls = load_problem(self._settings.problem).nulls

    def process(self, work: Work) -> Iterable[Part]:
        """Read one split; parts that are done already are read over and not given."""
        with sources.opened(self._settings, work.split) as stream:
            for part, last, raw in _numbered(splits.read(stream, work.split, self._contract, self._nulls)):
                if part not in work.done:
                    yield Part(work.split.number, part, last, raw)


def _numbered(raws: Iterator[Raw]) -> Iterator[tuple[int, bool, Raw]]:
    """Each part with its place and whether it is the last."""
    part, held = 0, next(raws)
    for following in raws:
        yield part, False, held
        part, held = part + 1, following
    yield part, True, held


class Predict(beam.DoFn):
    """Feature rows -> predicted rows.

    Args:
        settings: where the version is.
        version_id: which version predicts.
        at: the moment to write into `predicted_at`; one for the whole batch.
        checked: whether the rows are known to be what the contract allows. Else those that are not are set aside.
    """

    def __init__(self, settings: Settings, version_id: str, at: Any, checked: bool) -> None:
        self._settings = settings
        self._id = version_id
        self._at = at
        self._checked = checked

    def setup(self) -> None:
        """Load the version once per worker."""
        self._problem = load_problem(self._settings.problem)
        self._version = loaded(self._settings, self._id)
        self._columnar = Columnar(self._version.scorer)

    def process(self, part: Part) -> Iterable[Predicted]:
        """Predict one part."""
        manifest = self._version.manifest
        read = part.raw.table.num_rows + len(part.raw.broken)
        found = Checked(part.raw.table, None, {}) if self._checked else self._check(part.raw)
        scored = self._columnar.score(found.table)
        rows = tables.rows_table(manifest.contract, found.table, scored, manifest.classes, self._id, self._at)
        piece = Piece(
            split=part.split,
            part=part.part,
            last=part.last,
            read=read,
            rows=rows.num_rows,
            reasons=found.reasons,
            policy=_counted(scored.fired),
        )
        yield Predicted(piece, rows, found.rejected)

    def _check(self, raw: Raw) -> Checked:
        try:
            return check(self._problem, self._version.manifest.contract, raw)
        except BadFile as bad:
            raise BadFile(f"{raw.uri}: {bad.reason}", bad.code) from bad


def _counted(fired: Any) -> dict[str, int]:
    return dict(collections.Counter(rule for rules in fired for rule in rules)) if any(fired) else {}


class Write(beam.DoFn):
    """Predicted rows -> a Parquet shard under a fresh name, and the note that it is there.

    A retried bundle leaves an orphan, not a duplicate: only shards that a note names are ever listed.

    Args:
        settings: how buckets are opened.
        place: address of the batch's folder.
        fingerprint: of the batch.
    """

    def __init__(self, settings: Settings, place: str, fingerprint: str) -> None:
        self._settings = settings
        self._place = place
        self._fingerprint = fingerprint

    def setup(self) -> None:
        """Connect once per worker."""
        self._ledger = Ledger(folder(self._settings, self._place), self._fingerprint)

    def process(self, predicted: Predicted) -> Iterable[Piece]:
        """Write one part; gives the note that stands."""
        shard = self._put(SHARDS, predicted.rows)  # also without a row: it says which columns there would be
        rejected = None if predicted.rejected is None else self._put(REJECTED, predicted.rejected)
        yield self._ledger.note(predicted.piece.placed(shard, rejected))

    def _put(self, place: str, table: Any) -> Artifact:
        payload = tables.as_parquet(table)
        name = f"{place}{secrets.token_hex(8)}.parquet"
        self._ledger.folder.put(name, payload)
        return Artifact(name, len(payload), hashlib.sha256(payload).hexdigest())


def commit(pieces: list[Piece], settings: Settings, place: str, fingerprint: str) -> None:
    """Write the manifest, which is what commits all pieces; a second time it is the same.

    Args:
        pieces: all of them: there is nothing to commit before the last one's note.
        settings: how buckets are opened.
        place: address of the batch's folder.
        fingerprint: of the batch.
    """
    Ledger(folder(settings, place), fingerprint).commit()
