# SPDX-License-Identifier: Apache-2.0
"""How often a version was begun: what kills its job each time is not tried for ever."""

from __future__ import annotations

import msgspec

from . import documents
from .errors import NotFound
from .storage import Bucket

PREFIX = "attempts/"


class Attempts(msgspec.Struct, frozen=True):
    """The counter's content."""

    begun: int


def begin(bucket: Bucket, version: str) -> int:
    """Count one more attempt, before it is made; returns how many there were before."""
    name = f"{PREFIX}{version}.json"
    try:
        before = documents.decode(bucket.read(name), Attempts).begun
    except NotFound:
        before = 0
    bucket.put(name, documents.encode(Attempts(before + 1)), "application/json")
    return before


def forget(bucket: Bucket, version: str) -> None:
    """It came to an end, or somebody wants it tried anew."""
    bucket.delete(f"{PREFIX}{version}.json")
