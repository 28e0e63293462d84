# SPDX-License-Identifier: Apache-2.0
"""Uploads -> accepted rows: what a file gives, and which files a training uses."""

from __future__ import annotations

import datetime as dt
import hashlib
import logging
import tempfile
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, BinaryIO, NamedTuple, TextIO, cast

import msgspec

from beam_pipelines.known import Known, Looked, look
from dropfit import documents, quarantine, runs
from dropfit.contract import Problem
from dropfit.duplicates import Repeats, in_use
from dropfit.encoding import sha256
from dropfit.errors import ArtifactError, BadFile, NotFound
from dropfit.quarantine import DRIFTED
from dropfit.receipts import Accepted, Receipt, Receipts, accepted_name, upload_order
from dropfit.registry import Registry
from dropfit.settings import Settings
from dropfit.storage import Bucket, Buckets

if TYPE_CHECKING:
    from io import TextIOWrapper

    from dropfit.contract import Columns

LOG = logging.getLogger(__name__)


class Services(msgspec.Struct, frozen=True):
    """What the steps work with; the clients are those that are made when they are first asked for."""

    settings: Settings
    problem: Problem
    buckets: Buckets
    receipts: Receipts
    registry: Registry
    known: Known = msgspec.field(default_factory=Known)
    clients: dict[str, Any] = msgspec.field(default_factory=dict)


def ingest(services: Services, receipt: Receipt) -> Receipt:
    """Read one upload's pinned generation; returns its receipt as accepted, quarantined, superseded or deleted."""
    uploaded = receipt.object
    try:
        accepted, looked = _take_in(services, receipt)
    except BadFile as bad:
        _quarantine_file(services.buckets.data, receipt, bad)
        changes = {"reason": bad.reason, "code": bad.code, "accepted": None}
        return services.receipts.advance(receipt, state="quarantined", **changes)
    except NotFound:
        newer = services.buckets.landing.stat(uploaded.name)
        state = "deleted" if newer is None else "superseded"
        reason = "removed before it was read" if newer is None else f"overwritten by generation {newer.generation}"
        return services.receipts.advance(receipt, state=state, reason=reason, code=state)
    receipt = services.receipts.advance(receipt, state="accepted", accepted=accepted, attempts=0)
    services.known.add(receipt, looked)
    return receipt


def _take_in(services: Services, receipt: Receipt) -> tuple[Accepted, Looked]:
    from dropfit.ingest import Caps, ingest

    settings, data = services.settings, services.buckets.data
    live = services.buckets.landing.stat(receipt.object.name)
    if live is None or live.generation != receipt.object.generation:
        raise NotFound("that generation is gone")
    if live.size > settings.max_file_bytes:
        raise BadFile(f"it holds {live.size:,} bytes, more than {settings.max_file_bytes:,}", "too-large")
    caps = Caps(
        **{cap: getattr(settings, cap) for cap in Caps.__struct_fields__ if cap != "overridden"},
        overridden=receipt.overridden,
    )
    with (
        tempfile.TemporaryFile() as good,
        tempfile.TemporaryFile("w+", newline="", encoding="utf-8") as bad,
        services.buckets.landing.open(live.name, live.generation) as stream,
    ):
        try:
            found = ingest(services.problem, stream, good, bad, caps)
            looked = _look(services, receipt, good)
        except BadFile:
            _set_aside(data, receipt, bad)
            raise
        good.seek(0)
        digest = hashlib.file_digest(good, "sha256").hexdigest()
        size = good.tell()
        data.put(accepted_name(receipt.id, digest), good)
        _set_aside(data, receipt, bad)
    repeats = services.known.repeats(receipt, looked.rows)
    return Accepted(
        rows=found.rows,
        rejected=found.rejected,
        problem_sha256=services.problem.ingest_sha256,
        sha256=digest,
        size=size,
        reasons=found.reasons,
        notes=[*found.notes, *_notes(services.known, repeats, found.rows)],
        fresh=repeats.fresh,
        changed=repeats.changed,
        repeats=repeats.holders,
        crc32c=live.crc32c,
    ), looked


def _look(services: Services, receipt: Receipt, good: BinaryIO) -> Looked:
    """Hashes and profile of the accepted rows.

    Raises:
        BadFile: when they are probably another thing than those of earlier uploads, and nobody said that it is meant.
    """
    services.known.refresh(services.buckets.data, services.problem)
    good.seek(0)
    looked = look(services.problem, good)
    if DRIFTED not in receipt.overridden:
        strange = services.known.drifted(looked.profile, services.settings.max_drift_share)
        if strange:
            columns = "; ".join(f"{f.column}: {f.reason}" for f in strange[:5])
            means = f"if it is what you mean, `dropfit quarantine release {receipt.id[:12]}`"
            raise BadFile(f"it is probably another thing than the files before: {columns}; {means}", DRIFTED)
    return looked


def _set_aside(data: Bucket, receipt: Receipt, sheet: TextIO) -> None:
    """Keep the rejected rows, when there are any."""
    sheet.flush()
    sheet.seek(0)
    sheet.readline()  # the header
    if sheet.read(1):
        data.put(quarantine.rows_name(receipt.id), cast("BinaryIO", cast("TextIOWrapper", sheet).buffer), "text/csv")


def _notes(known: Known, repeats: Repeats, rows: int) -> list[str]:
    """What people should know of rows that were there before."""
    notes = []
    if repeats.twice:
        notes.append(f"{repeats.twice:,} of {rows:,} rows are overwritten by a later row of the same identity")
    if repeats.holders:
        most = sorted(repeats.holders.items(), key=lambda held: -held[1])
        names = ", ".join(known.name(receipt_id) for receipt_id, _ in most[:3])
        more = f" and {len(most) - 3:,} more" if len(most) > 3 else ""
        changed = f", {repeats.changed:,} of them with other values" if repeats.changed else ""
        total = sum(repeats.holders.values())
        notes.append(f"{total:,} of {rows:,} rows were accepted before with {names}{more}{changed}")
    return notes


def _quarantine_file(data: Bucket, receipt: Receipt, bad: BadFile) -> None:
    document = {"object": receipt.object, "reason": bad.reason, "code": bad.code, "at": dt.datetime.now(dt.UTC)}
    data.put(quarantine.reason_name(receipt.id), documents.encode(document), "application/json")


class Window(NamedTuple):
    """What a training uses.

    Attributes:
        inputs: the uploads, in their order.
        left_out: uploads that the present problem.py cannot read -> why.
        idle: uploads that bring nothing beside the inputs -> which hold their rows.
    """

    inputs: list[Receipt]
    left_out: dict[str, str]
    idle: dict[str, str]


def window(services: Services, objects: Sequence[str] = (), everything: bool = False) -> Window:
    """The accepted uploads to train on.

    Of an object uploaded several times the newest accepted generation counts; named objects narrow the window, else
    the problem's own length does, unless `everything` is wanted. What killed its jobs is used only when it is named.
    What brings neither a row nor a correction takes no place.
    """
    usable = [r for r in services.receipts.all() if r.accepted and (objects or r.code != "crashed")]
    there = {r.object.name: r for r in usable if not objects or r.object.name in objects}
    now, most = services.problem.ingest_sha256, 0 if objects or everything else services.problem.window
    left_out: dict[str, str] = {}
    checked: set[str] = set()
    while True:
        used, idle = in_use(sorted(there.values(), key=upload_order), now, most)
        unchecked = [r for r in used if r.id not in checked]
        if not unchecked:
            return Window(used, left_out, {r.object.name: _held_by(r, used + idle) for r in idle})
        for receipt in unchecked:
            checked.add(receipt.id)
            try:
                there[receipt.object.name] = _as_of_now(services, receipt)
            except BadFile as bad:
                left_out[receipt.object.name] = bad.reason
                del there[receipt.object.name]


def _held_by(receipt: Receipt, others: Sequence[Receipt]) -> str:
    held = receipt.accepted.repeats if receipt.accepted else {}
    names = ", ".join(sorted(r.object.name for r in others if r.id in held))
    return f"all of its rows were accepted before with {names}, and it changes none: it counts nothing"


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
        accepted, looked = _take_in(services, receipt)
        receipt = services.receipts.advance(receipt, accepted=accepted)
        services.known.add(receipt, looked)
        return receipt
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


@runs.part("read")
def accepted_rows(services: Services, inputs: Sequence[Receipt]) -> tuple[Columns, int]:
    """The window's rows without duplicates, in the order of upload, and how many duplicates were dropped.

    Raises:
        ArtifactError: when an accepted file is not what its receipt says.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    from dropfit.encoding import length
    from dropfit.holdout import without_duplicates
    from dropfit.ingest import from_table

    parts = []
    for receipt in inputs:
        payload = services.buckets.data.read(receipt.accepted_name)
        if receipt.accepted is None or sha256(payload) != receipt.accepted.sha256:
            raise ArtifactError(f"{receipt.accepted_name} is not what was accepted of {receipt.object.name}")
        parts.append(pq.read_table(pa.BufferReader(payload)))
    columns = from_table(pa.concat_tables(parts))
    unique = without_duplicates(services.problem, columns)
    return unique, length(columns) - length(unique)
