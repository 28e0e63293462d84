# SPDX-License-Identifier: Apache-2.0
"""What happened to each uploaded object generation: exactly one receipt each, under `receipts/` in the data bucket.

    received --> accepted --> promoted      a version trained on it is served
       |            |-------> held          the version has passed the gate and waits for `dropfit approve`
       |            |-------> kept          a version was trained on it, and the gate kept it from being served
       |            `-------> recorded      taken in, not trained: training=static, outside the window, or nothing new
       |--> quarantined                     unusable, with the reason; a person's release makes it `received` again
       |--> superseded, deleted             the object was overwritten or removed before it was read
       `--> failed                          Dropfit's own fault, after several attempts; the log is named

The state also stands in the object's metadata, so that one listing tells what is open.
"""

from __future__ import annotations

import datetime as dt
import logging
from collections.abc import Iterable, Iterator
from typing import Any, Literal

import msgspec

from . import documents, joblog
from .encoding import sha256
from .errors import ArtifactError, Conflict
from .storage import Bucket, Stored

State = Literal[
    "received",
    "accepted",
    "recorded",
    "promoted",
    "kept",
    "held",
    "quarantined",
    "superseded",
    "deleted",
    "failed",
]
OPEN: frozenset[State] = frozenset({"received", "accepted"})
PREFIX = "receipts/"
LOG = logging.getLogger(__name__)


class UploadedObject(msgspec.Struct, frozen=True):
    """One generation of one object in the landing bucket."""

    bucket: str
    name: str
    generation: int

    @property
    def id(self) -> str:
        """What everything of ours about this object is named by: names are opaque and never become paths."""
        return sha256(f"{self.bucket}\n{self.name}\n{self.generation}".encode())


class Accepted(msgspec.Struct, frozen=True, kw_only=True):
    """What ingest took in.

    Attributes:
        rows: accepted rows.
        rejected: rows set aside.
        sha256: of the accepted Parquet file.
        size: its bytes.
        crc32c: of the uploaded object, base64, as storage reports it.
        problem_sha256: what the problem made of files then; under another one the upload is read again.
        reasons: reason -> number of rows.
        notes: what was odd but harmless, such as ignored columns.
        fresh: identities of rows that no other upload in use held then.
        changed: identities that one held, with other values: corrections.
        repeats: receipt id of an upload that held rows of this one -> how many.
    """

    rows: int
    rejected: int
    sha256: str
    size: int
    problem_sha256: str = ""
    reasons: dict[str, int] = {}
    notes: list[str] = []
    crc32c: str = ""
    fresh: int = 0
    changed: int = 0
    repeats: dict[str, int] = {}


class Override(msgspec.Struct, frozen=True, kw_only=True):
    """A person says that a quarantined file is what they mean.

    Attributes:
        codes: the judgements about the file as a whole that no longer stop it; none when only its form was wrong.
        by: who, as their machine knows them.
        at: when.
    """

    codes: tuple[str, ...]
    by: str
    at: dt.datetime


class Receipt(msgspec.Struct, frozen=True, kw_only=True):
    """What is known of one uploaded object generation.

    Attributes:
        object: which one.
        state: see the module.
        received_at: when the receipt was first written.
        updated_at: when it last changed.
        attempts: how many jobs have begun to read it.
        accepted: what ingest took in, once it did.
        reason: why not, for people.
        code: why not, for programs.
        version: the version trained with it.
        unfit: the hash of a later problem.py under which it could not be read again.
        override: a person's release from the quarantine, if there was one.
    """

    object: UploadedObject
    state: State
    received_at: dt.datetime
    updated_at: dt.datetime
    attempts: int = 0
    accepted: Accepted | None = None
    reason: str = ""
    code: str = ""
    version: str = ""
    unfit: str = ""
    override: Override | None = None

    @property
    def id(self) -> str:
        """The receipt's name."""
        return self.object.id

    @property
    def is_open(self) -> bool:
        """Whether it still waits for its outcome."""
        return self.state in OPEN

    @property
    def overridden(self) -> frozenset[str]:
        """The judgements about the file as a whole that a person has overridden."""
        return frozenset(self.override.codes if self.override else ())

    @property
    def accepted_name(self) -> str:
        """Where its accepted rows lie in the data bucket."""
        return accepted_name(self.id, self.accepted.sha256 if self.accepted else "")


class Receipts:
    """The receipts in a data bucket.

    What was read here can be advanced here, unless another job has written it since.

    Args:
        bucket: the data bucket.
    """

    def __init__(self, bucket: Bucket) -> None:
        self._bucket = bucket
        self._generations: dict[str, int] = {}

    def register(self, uploaded: UploadedObject) -> tuple[Receipt, bool]:
        """The object's receipt, written now if there is none, and whether it was.

        Raises:
            Unavailable: when storage does not answer.
        """
        now = dt.datetime.now(dt.UTC)
        receipt = Receipt(object=uploaded, state="received", received_at=now, updated_at=now)
        try:
            self._write(receipt, 0)
        except Conflict:
            return self.get(receipt.id), False
        return receipt, True

    def get(self, receipt_id: str) -> Receipt:
        """The receipt of that id.

        Raises:
            NotFound: when there is none.
        """
        payload, generation = self._bucket.fetch(name(receipt_id))
        self._generations[receipt_id] = generation
        return documents.decode(payload, Receipt)

    def advance(self, receipt: Receipt, **changes: Any) -> Receipt:
        """Write what has become of it; only the job that holds the lease does.

        Raises:
            Conflict: when another job has written it since it was read.
        """
        changed = msgspec.structs.replace(receipt, updated_at=dt.datetime.now(dt.UTC), **changes)
        generation = self._generations.get(receipt.id)
        if generation is None:
            stored = self._bucket.stat(name(receipt.id))
            generation = stored.generation if stored else 0
        self._write(changed, generation)
        if changed.state != receipt.state and not changed.is_open:
            _tell(changed)
        return changed

    def _write(self, receipt: Receipt, generation: int) -> None:
        stored = self._bucket.replace(
            name(receipt.id), documents.encode(receipt), generation, {"state": receipt.state}
        )
        self._generations[receipt.id] = stored.generation

    def all(self) -> list[Receipt]:
        """Every receipt, in the order of upload."""
        return self._read(self._listed())

    def open(self) -> list[Receipt]:
        """The receipts that wait for an outcome, in the order of upload; reads no others."""
        return self._read(s for s in self._listed() if s.metadata.get("state") in OPEN)

    def held(self) -> list[Receipt]:
        """The receipts whose version waits for a person, in the order of upload; reads no others."""
        return self._read(s for s in self._listed() if s.metadata.get("state") == "held")

    def any_open(self) -> bool:
        """Whether one waits for an outcome; reads none."""
        return any(s.metadata.get("state") in OPEN for s in self._listed())

    def ids(self) -> set[str]:
        """The ids of all receipts."""
        return {_id(s) for s in self._listed()}

    def _read(self, listed: Iterable[Stored]) -> list[Receipt]:
        ids, found = [_id(stored) for stored in listed], []
        for receipt_id, (payload, generation) in zip(ids, self._bucket.fetch_all(list(map(name, ids))), strict=True):
            self._generations[receipt_id] = generation
            try:
                found.append(documents.decode(payload, Receipt))
            except ArtifactError as error:
                LOG.error("%s is passed over: %s", name(receipt_id), error)
        return sorted(found, key=upload_order)

    def _listed(self) -> Iterator[Stored]:
        return self._bucket.list(PREFIX)


def _tell(receipt: Receipt) -> None:
    """Log an upload's outcome. Not its reason, which may quote the file."""
    told = joblog.fields(
        "upload",
        outcome=receipt.state,
        object=receipt.object.name,
        generation=receipt.object.generation,
        code=receipt.code,
        version=receipt.version,
    )
    level = logging.ERROR if receipt.state == "failed" else logging.INFO
    LOG.log(level, "%s: %s", receipt.object.name, receipt.state, extra=told)


def name(receipt_id: str) -> str:
    """Where a receipt lies."""
    return f"{PREFIX}{receipt_id}.json"


def _id(stored: Stored) -> str:
    return stored.name.removeprefix(PREFIX).removesuffix(".json")


def accepted_name(receipt_id: str, digest: str) -> str:
    """Where accepted rows lie: under what they hash to, so that nothing that was trained on is ever overwritten."""
    return f"accepted/{receipt_id}-{digest[:16]}.parquet"


def upload_order(receipt: Receipt) -> tuple[int, str]:
    """Receipts sort by generation, which the server gave; never by a clock of ours."""
    return receipt.object.generation, receipt.object.name
