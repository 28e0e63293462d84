# SPDX-License-Identifier: Apache-2.0
"""Uploads -> accepted rows: what a file gives, and which files a training uses."""

from __future__ import annotations

import datetime as dt
import hashlib
import logging
import tempfile
from collections.abc import Sequence
from typing import TYPE_CHECKING, BinaryIO, NamedTuple, cast

import msgspec

from dropfit import documents
from dropfit.contract import Problem
from dropfit.encoding import sha256
from dropfit.errors import ArtifactError, BadFile, NotFound
from dropfit.receipts import Accepted, Receipt, Receipts, accepted_name, upload_order
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
    return services.receipts.advance(receipt, state="accepted", accepted=accepted, attempts=0)


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
        tempfile.TemporaryFile("w+", newline="", encoding="utf-8") as bad,
        services.buckets.landing.open(live.name, live.generation) as stream,
    ):
        found = ingest(services.problem, stream, good, bad, caps)
        good.seek(0)
        digest = hashlib.file_digest(good, "sha256").hexdigest()
        size = good.tell()
        data.put(accepted_name(receipt.id, digest), good)
        if found.rejected:
            bad.flush()
            data.put(f"quarantine/{receipt.id}/rows.csv", cast("BinaryIO", bad.buffer), "text/csv")
    return Accepted(
        rows=found.rows,
        rejected=found.rejected,
        problem_sha256=services.problem.ingest_sha256,
        sha256=digest,
        size=size,
        reasons=found.reasons,
        notes=found.notes,
        crc32c=live.crc32c,
    )


def _quarantine_file(data: Bucket, receipt: Receipt, bad: BadFile) -> None:
    document = {"object": receipt.object, "reason": bad.reason, "code": bad.code, "at": dt.datetime.now(dt.UTC)}
    data.put(f"quarantine/{receipt.id}/reason.json", documents.encode(document), "application/json")


class Window(NamedTuple):
    """What a training uses.

    Attributes:
        inputs: the uploads, in their order.
        left_out: uploads that the present problem.py cannot read -> why.
    """

    inputs: list[Receipt]
    left_out: dict[str, str]


def window(services: Services, objects: Sequence[str] = ()) -> Window:
    """The accepted uploads to train on.

    Of an object uploaded several times the newest accepted generation counts; named objects narrow the window, else
    the problem's own length does. What killed its jobs is used only when it is named.
    """
    usable = [r for r in services.receipts.all() if r.accepted and (objects or r.code != "crashed")]
    newest = {r.object.name: r for r in usable}
    chosen = [r for r in newest.values() if not objects or r.object.name in objects]
    chosen.sort(key=upload_order)
    found = Window([], {})
    for receipt in chosen if objects or not services.problem.window else chosen[-services.problem.window :]:
        try:
            found.inputs.append(_as_of_now(services, receipt))
        except BadFile as bad:
            found.left_out[receipt.object.name] = bad.reason
    return found


def _as_of_now(services: Services, receipt: Receipt) -> Receipt:
    """The receipt with rows as the present problem.py wants them.

    Raises:
        BadFile: when the upload cannot give them any more.
    """
    now = services.problem.ingest_sha256
    if receipt.accepted is not None and receipt.accepted.problem_sha256 == now:
        return receipt
    if receipt.unfit == now:
        raise BadFile(receipt.reason or "it does not fit the present problem.py", "unfit")
    LOG.info("%s was taken in under another problem.py: it is read again", receipt.object.name)
    try:
        return services.receipts.advance(receipt, accepted=_take_in(services, receipt))
    except NotFound:
        if _same_columns(services, receipt):
            return receipt
        bad = BadFile("it left the landing bucket, and the present problem.py wants other columns", "unfit")
    except BadFile as error:
        bad = error
    LOG.warning("%s is left out: %s", receipt.object.name, bad.reason)
    services.receipts.advance(receipt, unfit=now)
    raise bad


def _same_columns(services: Services, receipt: Receipt) -> bool:
    """Whether rows accepted earlier have all that the present problem.py keeps."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    schema = pq.read_schema(pa.BufferReader(services.buckets.data.read(receipt.accepted_name)))
    return list(schema.names) == list(services.problem.kept)


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
