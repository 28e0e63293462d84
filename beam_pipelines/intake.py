# SPDX-License-Identifier: Apache-2.0
"""Uploads -> accepted rows: what a file gives, and which files a training uses."""

from __future__ import annotations

import datetime as dt
import hashlib
import io
import logging
import tempfile
from collections.abc import Sequence
from typing import TYPE_CHECKING

import msgspec

from dropfit import documents
from dropfit.contract import Problem
from dropfit.encoding import sha256
from dropfit.errors import ArtifactError, BadFile, NotFound
from dropfit.receipts import Accepted, Receipt, Receipts, upload_order
from dropfit.registry import Registry
from dropfit.settings import Settings
from dropfit.storage import Bucket, Buckets

if TYPE_CHECKING:
    from dropfit.contract import Columns

LOG = logging.getLogger(__name__)


class Services(msgspec.Struct, frozen=True):
    """What the steps work with."""

    settings: Settings
    problem: Problem
    buckets: Buckets
    receipts: Receipts
    registry: Registry


def ingest(services: Services, receipt: Receipt) -> Receipt:
    """Read one upload's pinned generation; returns its receipt as accepted, quarantined, superseded or deleted."""
    uploaded = receipt.object
    try:
        accepted = _take_in(services, receipt)
    except BadFile as bad:
        _quarantine_file(services.buckets.data, receipt, bad)
        return services.receipts.advance(receipt, state="quarantined", reason=bad.reason, code=bad.code)
    except NotFound:
        newer = services.buckets.landing.stat(uploaded.name)
        state = "deleted" if newer is None else "superseded"
        reason = "removed before it was read" if newer is None else f"overwritten by generation {newer.generation}"
        return services.receipts.advance(receipt, state=state, reason=reason, code=state)
    return services.receipts.advance(receipt, state="accepted", accepted=accepted)


def _take_in(services: Services, receipt: Receipt) -> Accepted:
    from dropfit.ingest import Caps, ingest

    settings, data = services.settings, services.buckets.data
    live = services.buckets.landing.stat(receipt.object.name)
    if live is None or live.generation != receipt.object.generation:
        raise NotFound("that generation is gone")
    if live.size > settings.max_file_bytes:
        raise BadFile(f"it holds {live.size:,} bytes, more than {settings.max_file_bytes:,}", "too-large")
    caps = Caps(max_unpacked_bytes=settings.max_unpacked_bytes, max_bad_share=settings.max_bad_share)
    with (
        tempfile.TemporaryFile() as good,
        io.StringIO(newline="") as bad,
        services.buckets.landing.open(live.name, live.generation) as stream,
    ):
        found = ingest(services.problem, stream, good, bad, caps)
        good.seek(0)
        digest = hashlib.file_digest(good, "sha256").hexdigest()
        size = good.tell()
        data.put(receipt.accepted_name, good)
        if found.rejected:
            data.put(f"quarantine/{receipt.id}/rows.csv", bad.getvalue().encode(), "text/csv")
    return Accepted(
        rows=found.rows,
        rejected=found.rejected,
        problem_sha256=services.problem.ingest_sha256,
        sha256=digest,
        size=size,
        reasons=found.reasons,
        notes=found.notes,
    )


def _quarantine_file(data: Bucket, receipt: Receipt, bad: BadFile) -> None:
    document = {"object": receipt.object, "reason": bad.reason, "code": bad.code, "at": dt.datetime.now(dt.UTC)}
    data.put(f"quarantine/{receipt.id}/reason.json", documents.encode(document), "application/json")


def window(services: Services, objects: Sequence[str] = ()) -> list[Receipt]:
    """The accepted uploads to train on, in the order of upload.

    Of an object uploaded several times the newest accepted generation counts; named objects narrow the window, else
    the problem's own length does.
    """
    newest = {r.object.name: r for r in services.receipts.all() if r.accepted is not None}
    chosen = [r for r in newest.values() if not objects or r.object.name in objects]
    chosen.sort(key=upload_order)
    current = [r for r in (_as_of_now(services, r) for r in chosen) if r is not None]
    return current if objects or not services.problem.window else current[-services.problem.window :]


def _as_of_now(services: Services, receipt: Receipt) -> Receipt | None:
    """The receipt with rows as the present problem.py wants them; None when the upload cannot give them any more."""
    if receipt.accepted is not None and receipt.accepted.problem_sha256 == services.problem.ingest_sha256:
        return receipt
    try:
        LOG.info("%s was taken in under another problem.py: it is read again", receipt.object.name)
        return services.receipts.advance(receipt, accepted=_take_in(services, receipt))
    except (BadFile, NotFound) as error:
        LOG.warning("%s is left out: %s", receipt.object.name, error)
        return None


def accepted_rows(services: Services, inputs: Sequence[Receipt]) -> tuple[Columns, int]:
    """The window's rows without duplicates, in the order of upload, and how many duplicates were dropped.

    Raises:
        ArtifactError: when an accepted file is not what its receipt says.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    from dropfit.encoding import length
    from dropfit.ingest import from_table
    from dropfit.training import without_duplicates

    parts = []
    for receipt in inputs:
        payload = services.buckets.data.read(receipt.accepted_name)
        if receipt.accepted is None or sha256(payload) != receipt.accepted.sha256:
            raise ArtifactError(f"{receipt.accepted_name} is not what was accepted of {receipt.object.name}")
        parts.append(pq.read_table(pa.BufferReader(payload)))
    columns = from_table(pa.concat_tables(parts))
    unique = without_duplicates(services.problem, columns)
    return unique, length(columns) - length(unique)
