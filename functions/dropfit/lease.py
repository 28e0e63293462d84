# SPDX-License-Identifier: Apache-2.0
"""One job at a time: a lease object that its holder renews and anybody may take over once it has expired."""

from __future__ import annotations

import datetime as dt
import logging
import secrets
import threading
import time
from types import TracebackType

import msgspec

from . import documents
from .errors import ArtifactError, Conflict, DropfitError, LeaseLost, NotFound
from .storage import Bucket, Stored

NAME = "leases/retrain.json"
CLOCK = "leases/clock"
BEAT = 10.0
"""Seconds between two renewals at least: storage takes about one write a second to one name."""
LOG = logging.getLogger(__name__)


class Claim(msgspec.Struct, frozen=True, kw_only=True):
    """The lease object's content.

    Attributes:
        holder: the job's name, for people.
        nonce: the holder's own random name, so that it recognises its writes.
        beat: how often it was renewed.
        seconds: how long it lasts after each renewal.
        released: whether the holder gave it back.
    """

    holder: str
    nonce: str
    beat: int
    seconds: float
    released: bool = False


class Lease:
    """Hold it with `with`; while held, a thread renews it.

    Args:
        bucket: the data bucket.
        holder: the job's name.
        seconds: how long it lasts without renewal. Renewals come every third of it, but never more often than
            every BEAT seconds.

    Raises:
        Conflict: on entering, when another job holds it.
    """

    def __init__(self, bucket: Bucket, holder: str, seconds: float) -> None:
        self._bucket = bucket
        self._claim = Claim(holder=holder, nonce=secrets.token_hex(8), beat=0, seconds=seconds)
        self._generation = 0
        self._renewed = 0.0
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._beat, name="lease", daemon=True)

    def __enter__(self) -> Lease:
        """Take the lease, or raise Conflict."""
        held, stored = _look(self._bucket)
        # Whether a silent holder is dead, storage's own clock decides: it dated the renewals, and ours may be wrong.
        if held is not None and stored is not None and not _expired(held, stored, server_time(self._bucket)):
            raise Conflict(f"{held.holder} is at work")
        generation = stored.generation if stored else 0
        self._write(self._claim, generation)
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Give the lease back, if it is still ours."""
        self._stop.set()
        self._thread.join(timeout=30)
        try:
            self._write(msgspec.structs.replace(self._claim, released=True), self._generation)
        except DropfitError as failure:
            LOG.warning("the lease could not be given back and will expire: %s", failure)

    def check(self) -> None:
        """Go on only while the lease is ours.

        Raises:
            LeaseLost: when another job may have taken it.
        """
        if time.monotonic() - self._renewed >= self._claim.seconds:
            raise LeaseLost("the lease was not renewed in time; another job may have taken over")

    def _beat(self) -> None:
        while not self._stop.wait(max(BEAT, self._claim.seconds / 3)):
            self._claim = msgspec.structs.replace(self._claim, beat=self._claim.beat + 1)
            try:
                self._write(self._claim, self._generation)
            except Conflict:
                LOG.error("another job has taken the lease")
                self._renewed = float("-inf")
                return
            except DropfitError as failure:
                LOG.warning("could not renew the lease, trying again: %s", failure)

    def _write(self, claim: Claim, generation: int) -> None:
        asked, payload = time.monotonic(), documents.encode(claim)
        try:
            self._generation = self._bucket.replace(NAME, payload, generation).generation
        except Conflict:
            # An earlier renewal of ours may have arrived although its answer was lost.
            held, newest = read(self._bucket)
            if held is None or held.nonce != claim.nonce:
                raise
            self._generation = self._bucket.replace(NAME, payload, newest).generation
        self._renewed = asked


def read(bucket: Bucket) -> tuple[Claim | None, int]:
    """Who holds the lease by this machine's clock, or None; and the generation of the lease (0: there is none)."""
    held, stored = _look(bucket)
    if held is None or stored is None or _expired(held, stored, dt.datetime.now(dt.UTC)):
        return None, stored.generation if stored else 0
    return held, stored.generation


def is_held(bucket: Bucket) -> bool:
    """Whether somebody holds the lease, by storage's clock."""
    held, stored = _look(bucket)
    return held is not None and stored is not None and not _expired(held, stored, server_time(bucket))


def ends(bucket: Bucket) -> tuple[str, dt.datetime] | None:
    """Who holds the lease, and when it expires unless it is renewed."""
    held, stored = _look(bucket)
    if held is None or stored is None:
        return None
    return held.holder, stored.updated + dt.timedelta(seconds=held.seconds)


def server_time(bucket: Bucket) -> dt.datetime:
    """The time by storage's clock: that of a write made now."""
    return bucket.put(CLOCK, b"").updated


def _look(bucket: Bucket) -> tuple[Claim | None, Stored | None]:
    """The claim that was not given back, and the lease object."""
    stored = bucket.stat(NAME)
    if stored is None:
        return None, None
    try:
        claim = documents.decode(bucket.read(NAME, stored.generation), Claim)
    except (NotFound, ArtifactError):
        # Overwritten between the two reads, or garbage: as good as expired, and the swap settles who takes it.
        return None, stored
    return (None if claim.released else claim), stored


def _expired(claim: Claim, stored: Stored, now: dt.datetime) -> bool:
    return (now - stored.updated).total_seconds() >= claim.seconds
