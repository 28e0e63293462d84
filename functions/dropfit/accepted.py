# SPDX-License-Identifier: Apache-2.0
"""The accepted rows of a deployment, file by file and batch by batch, as a training of now would use them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from .contract import Problem
from .counting import Seen
from .duplicates import hashes, in_use
from .encoding import sha256
from .errors import ArtifactError, NotFound
from .ingest import from_table
from .receipts import Receipt, Receipts, upload_order
from .universe import ROWS, Universe

if TYPE_CHECKING:
    from .storage import Bucket

Array = np.ndarray[Any, Any]


def counted(problem: Problem, data: Bucket, tell: Callable[[str], None] = lambda _: None) -> Universe:
    """How often each key came, each event once, of a repeated one the row uploaded last.

    Holds one file and 8 bytes per row, and nothing of a key but itself.

    Args:
        problem: in force.
        data: the data bucket.
        tell: is given what is being read.

    Raises:
        NotFound: when there are no accepted rows.
        ArtifactError: when a file is not what was accepted.
    """
    inputs, others = window(problem, Receipts(data).all())
    if not inputs:
        waits = f"; {others} uploads were taken in under another problem.py: `dropfit train`" if others else ""
        raise NotFound(f"there are no accepted rows to count{waits or '; `dropfit upload FILE` first'}")
    seen, known = Seen(problem), np.array([], dtype=np.uint64)
    for receipt in reversed(inputs):  # the newest first: what it holds counts there alone
        tell(f"counting {receipt.object.name}")
        file = _file(data, receipt)
        fresh, known = _fresh(problem, file, known)
        begin = 0
        for batch in file.iter_batches(ROWS, columns=list(problem.key)):
            mask = fresh[begin : begin + batch.num_rows]
            begin += batch.num_rows
            seen.add(pa.table(batch).filter(pa.array(mask)))
    found = seen.universe()
    if not others:
        return found
    return found.noted(f"{others} uploads were taken in under another problem.py; the next training reads them again")


def window(problem: Problem, receipts: Sequence[Receipt]) -> tuple[list[Receipt], int]:
    """The uploads whose rows count, in their order, and how many do not, as another problem.py has read them."""
    there = {r.object.name: r for r in receipts if r.accepted and r.code != "crashed"}
    now = problem.ingest_sha256
    fitting = [r for r in there.values() if r.accepted and r.accepted.problem_sha256 == now]
    used, _ = in_use(sorted(fitting, key=upload_order), now, problem.window)
    return used, len(there) - len(fitting)


def _file(data: Bucket, receipt: Receipt) -> Any:
    payload = data.read(receipt.accepted_name)
    if receipt.accepted is None or sha256(payload) != receipt.accepted.sha256:
        raise ArtifactError(f"{receipt.accepted_name} is not what was accepted of {receipt.object.name}")
    return pq.ParquetFile(pa.BufferReader(payload))


def _fresh(problem: Problem, file: Any, known: Array) -> tuple[Array, Array]:
    """Which rows of a file count: of each identity the last row, where no newer file holds it.

    Args:
        problem: says what makes two rows one event; without an identity every row counts.
        file: accepted rows.
        known: identities of newer files, ascending.

    Returns:
        bool, shape (rows,), and the identities known now.
    """
    if not problem.identity:
        return np.ones(file.metadata.num_rows, dtype=bool), known
    batches = file.iter_batches(ROWS)
    found = [hashes(problem, from_table(pa.table(batch))).identities for batch in batches]
    identities = np.concatenate([*found, np.array([], dtype=np.uint64)])
    distinct, last = np.unique(identities[::-1], return_index=True)
    new = ~np.isin(distinct, known, assume_unique=True)
    fresh = np.zeros(len(identities), dtype=bool)
    fresh[len(identities) - 1 - last[new]] = True
    return fresh, np.union1d(known, distinct)
