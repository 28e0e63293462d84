# SPDX-License-Identifier: Apache-2.0
"""What earlier uploads hold and look like, kept for the whole job so that each upload is judged without reading them.

It is read from storage when the first upload of a round is taken in, and grows with every upload that is accepted.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, BinaryIO, NamedTuple

import numpy as np

from dropfit import drift
from dropfit.duplicates import Hashes, Held, KnownRows, Repeats, gathered, hashes
from dropfit.encoding import length
from dropfit.errors import DropfitError
from dropfit.profile import SAMPLE, Profile, names, profile
from dropfit.receipts import Receipt, Receipts, upload_order

if TYPE_CHECKING:
    from dropfit.contract import Columns, Problem
    from dropfit.storage import Bucket

ROWS = 65_536
LOG = logging.getLogger(__name__)


class Looked(NamedTuple):
    """What a file's accepted rows are, in short; without a profile where it is too old to be compared with."""

    rows: Held
    profile: Profile | None


class Known:
    """The rows and profiles of the uploads in use; what was taken in under another problem.py says nothing."""

    def __init__(self) -> None:
        self._begin("")

    def _begin(self, problem_sha256: str) -> None:
        self._problem_sha256 = problem_sha256
        self._stale = True
        self._rows = KnownRows()
        self._profiles: dict[str, Profile] = {}
        self._newest: dict[str, Receipt] = {}

    def expire(self) -> None:
        """A round begins: somebody else may have worked since."""
        self._stale = True

    def refresh(self, data: Bucket, problem: Problem) -> None:
        """Read what has been accepted and is not known yet."""
        if problem.ingest_sha256 != self._problem_sha256:
            self._begin(problem.ingest_sha256)
        if not self._stale:
            return
        # Receipts of its own: what the job has read must not pass for what is read here.
        accepted = [r for r in Receipts(data).all() if self._counts(r)]
        newest = {r.object.name: r for r in accepted}
        self._rows.keep({r.id for r in newest.values()})
        in_use = sorted(newest.values(), key=upload_order)
        for age, receipt in enumerate(in_use, start=-len(in_use)):
            if receipt.id not in self._rows:
                self._load(data, problem, receipt, age >= -drift.FILES)
        self._newest, self._stale = newest, False

    def _counts(self, receipt: Receipt) -> bool:
        found = receipt.accepted
        return found is not None and found.problem_sha256 == self._problem_sha256 and receipt.code != "crashed"

    def _load(self, data: Bucket, problem: Problem, receipt: Receipt, is_recent: bool) -> None:
        import pyarrow as pa

        try:
            looked = look(problem, pa.BufferReader(data.read(receipt.accepted_name)), is_recent)
        except (DropfitError, pa.ArrowException) as error:
            LOG.warning("%s is not compared with: %s", receipt.object.name, error)
            return
        self._remember(receipt, looked)

    def _remember(self, receipt: Receipt, looked: Looked) -> None:
        self._rows.add(receipt.id, looked.rows)
        found = receipt.accepted
        if looked.profile is not None and found and (found.fresh or found.changed or not found.repeats):
            self._profiles[receipt.id] = looked.profile

    def drifted(self, found: Profile | None, share: float) -> list[drift.Finding]:
        """The columns that are probably another thing than in the newest accepted files."""
        if found is None:
            return []
        return drift.judge(list(self._profiles.values())[-drift.FILES :], found, share)

    def repeats(self, receipt: Receipt, rows: Held) -> Repeats:
        """What of an upload is there already, in uploads that it does not replace."""
        replaced = self._newest.get(receipt.object.name)
        return self._rows.compare(rows, replaced.id if replaced else "")

    def name(self, receipt_id: str) -> str:
        """The object name of an upload in use."""
        return next((n for n, r in self._newest.items() if r.id == receipt_id), receipt_id[:12])

    def add(self, receipt: Receipt, looked: Looked) -> None:
        """An upload was accepted."""
        before = self._newest.get(receipt.object.name)
        if before is not None and upload_order(before) > upload_order(receipt):
            return
        if before is not None:
            self._rows.forget(before.id)
        self._newest[receipt.object.name] = receipt
        self._remember(receipt, looked)


def look(problem: Problem, accepted: BinaryIO | Any, with_profile: bool = True) -> Looked:
    """Hashes and profile of accepted rows, batch by batch.

    Args:
        problem: under which they were accepted.
        accepted: their Parquet file, seekable.
        with_profile: whether it is wanted.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    pa.default_memory_pool().release_unused()  # what reading the file has freed
    file = pq.ParquetFile(accepted)
    total = file.metadata.num_rows
    chance = np.random.default_rng(problem.seed)
    sample: list[Columns] = []

    def each() -> Iterator[Hashes]:
        for columns in _batches(file):
            if with_profile:
                chosen = chance.random(length(columns)) < SAMPLE / total
                sample.append({name: columns[name][chosen] for name in names(problem)})
            yield hashes(problem, columns)

    rows = gathered(each(), total)
    if not with_profile:
        return Looked(rows, None)
    seen = {name: np.concatenate([part[name] for part in sample]) for name in names(problem)}
    return Looked(rows, profile(problem, seen))


def _batches(file: Any) -> Iterator[Columns]:
    import pyarrow as pa

    from dropfit.ingest import from_table

    for batch in file.iter_batches(ROWS):
        yield from_table(pa.Table.from_batches([batch]))
