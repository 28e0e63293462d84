# SPDX-License-Identifier: Apache-2.0
"""A person's `dropfit train`: an object in the data bucket, which survives a crash and needs no job arguments."""

from __future__ import annotations

import datetime as dt
import logging
import secrets

import msgspec

from . import documents
from .errors import ArtifactError
from .storage import Bucket

PREFIX = "requests/"
LOG = logging.getLogger(__name__)


class TrainRequest(msgspec.Struct, frozen=True, kw_only=True):
    """Somebody asked for a training.

    Attributes:
        id: its name.
        asked_at: when.
        objects: train on these uploads (object names) alone; empty means the problem's window.
        attempts: how many jobs have begun to fill it.
    """

    id: str
    asked_at: dt.datetime
    objects: tuple[str, ...] = ()
    attempts: int = 0


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
    """The requests, oldest first. One that is not readable is put aside."""
    found = []
    for stored in list(bucket.list(PREFIX)):
        payload = bucket.read(stored.name)
        try:
            found.append(documents.decode(payload, TrainRequest))
        except ArtifactError as error:
            LOG.error("%s is put into quarantine: %s", stored.name, error)
            bucket.put(f"quarantine/{stored.name}", payload)
            bucket.delete(stored.name)
    return found


def begin(bucket: Bucket, request: TrainRequest) -> TrainRequest:
    """Count one more attempt, before it is made."""
    begun = msgspec.structs.replace(request, attempts=request.attempts + 1)
    bucket.put(f"{PREFIX}{request.id}.json", documents.encode(begun), "application/json")
    return begun


def done(bucket: Bucket, request: TrainRequest) -> None:
    """The request has had its training."""
    bucket.delete(f"{PREFIX}{request.id}.json")
