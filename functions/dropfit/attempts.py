# SPDX-License-Identifier: Apache-2.0
"""Trainings that have begun and not ended: what kills its job each time is not tried for ever.

The epoch of the first attempt stays with it, so that a training that is resumed after a crash still knows whether a
person has moved the pointer since it began.
"""

from __future__ import annotations

import msgspec

from . import documents
from .errors import NotFound
from .storage import Bucket

PREFIX = "attempts/"


class Attempts(msgspec.Struct, frozen=True):
    """How a training stands.

    Attributes:
        begun: how many jobs have begun it.
        epoch: the pointer's epoch when the first of them did.
    """

    begun: int
    epoch: int = 0


def begin(bucket: Bucket, version: str, epoch: int) -> Attempts:
    """Count one more attempt, before it is made; returns how it stood before, with the epoch it began in."""
    name = f"{PREFIX}{version}.json"
    try:
        before = documents.decode(bucket.read(name), Attempts)
    except NotFound:
        before = Attempts(0, epoch)
    bucket.put(name, documents.encode(Attempts(before.begun + 1, before.epoch)), "application/json")
    return before


def give_back(bucket: Bucket, version: str) -> None:
    """An attempt was interrupted, which is not the version's fault; the epoch it began in stays."""
    name = f"{PREFIX}{version}.json"
    try:
        before = documents.decode(bucket.read(name), Attempts)
    except NotFound:
        return
    bucket.put(name, documents.encode(Attempts(max(0, before.begun - 1), before.epoch)), "application/json")


def forget(bucket: Bucket, version: str) -> None:
    """It came to an end, or somebody wants it tried anew."""
    bucket.delete(f"{PREFIX}{version}.json")


def versions(bucket: Bucket) -> set[str]:
    """The versions whose training has begun and not ended."""
    return {stored.name.removeprefix(PREFIX).removesuffix(".json") for stored in bucket.list(PREFIX)}
