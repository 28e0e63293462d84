# SPDX-License-Identifier: Apache-2.0
"""A person's `dropfit train`: an object in the data bucket, which survives a crash and needs no job arguments."""

from __future__ import annotations

import datetime as dt
import secrets

import msgspec

from . import documents
from .storage import Bucket

PREFIX = "requests/"


class TrainRequest(msgspec.Struct, frozen=True, kw_only=True):
    """Somebody asked for a training.

    Attributes:
        id: its name.
        asked_at: when.
        objects: train on these uploads (object names) alone; empty means the problem's window.
    """

    id: str
    asked_at: dt.datetime
    objects: tuple[str, ...] = ()


def ask(bucket: Bucket, objects: tuple[str, ...]) -> TrainRequest:
    """Leave a request for the next job."""
    now = dt.datetime.now(dt.UTC)
    request = TrainRequest(id=f"{now:%Y%m%dT%H%M%S%f}-{secrets.token_hex(4)}", asked_at=now, objects=objects)
    bucket.create(f"{PREFIX}{request.id}.json", documents.encode(request))
    return request


def waiting(bucket: Bucket) -> bool:
    """Whether there is any."""
    return next(iter(bucket.list(PREFIX)), None) is not None


def is_waiting(bucket: Bucket, request: TrainRequest) -> bool:
    """Whether the request has not had its training yet."""
    return bucket.stat(f"{PREFIX}{request.id}.json") is not None


def pending(bucket: Bucket) -> list[TrainRequest]:
    """The requests, oldest first.

    Raises:
        ArtifactError: when one is not readable.
    """
    return [documents.decode(bucket.read(s.name), TrainRequest) for s in bucket.list(PREFIX)]


def done(bucket: Bucket, request: TrainRequest) -> None:
    """The request has had its training."""
    bucket.delete(f"{PREFIX}{request.id}.json")
