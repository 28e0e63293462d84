# SPDX-License-Identifier: Apache-2.0
"""Requests that wait for the next job: objects in the data bucket, which survive a crash and need no arguments."""

from __future__ import annotations

import datetime as dt
import logging
import secrets
from typing import Generic, Protocol, TypeVar

import msgspec

from . import documents
from .errors import ArtifactError
from .storage import Bucket

LOG = logging.getLogger(__name__)


class Request(Protocol):
    """What every request is: a msgspec.Struct with these.

    Attributes:
        id: its name.
        attempts: how many jobs have begun to fill it.
    """

    @property
    def id(self) -> str:
        """Its name."""

    @property
    def attempts(self) -> int:
        """How many jobs have begun to fill it."""


R = TypeVar("R", bound=Request)


class Queue(Generic[R]):
    """The requests of a kind.

    Args:
        prefix: what the objects' names begin with.
        kind: the struct that one is.
    """

    def __init__(self, prefix: str, kind: type[R]) -> None:
        self._prefix = prefix
        self._kind = kind

    def add(self, bucket: Bucket, request: R) -> R:
        """Leave a request for the next job.

        Raises:
            Conflict: when another of its name waits.
        """
        bucket.create(self._name(request), documents.encode(request))
        return request

    def waiting(self, bucket: Bucket) -> bool:
        """Whether there is any."""
        return next(iter(bucket.list(self._prefix)), None) is not None

    def is_waiting(self, bucket: Bucket, request: R) -> bool:
        """Whether the request has not had its outcome yet."""
        return bucket.stat(self._name(request)) is not None

    def pending(self, bucket: Bucket) -> list[R]:
        """The requests, oldest first. One that is not readable is put aside."""
        found = []
        for stored in list(bucket.list(self._prefix)):
            payload = bucket.read(stored.name)
            try:
                found.append(documents.decode(payload, self._kind))
            except ArtifactError as error:
                LOG.error("%s is put into quarantine: %s", stored.name, error)
                bucket.put(f"quarantine/{stored.name}", payload)
                bucket.delete(stored.name)
        return found

    def count(self, bucket: Bucket, request: R, attempts: int) -> R:
        """Write how many jobs have begun it: one more before it is begun, one less when that was interrupted."""
        counted: R = msgspec.structs.replace(request, attempts=max(0, attempts))  # type: ignore[type-var]
        bucket.put(self._name(request), documents.encode(counted), "application/json")
        return counted

    def done(self, bucket: Bucket, request: R) -> None:
        """The request has had its outcome."""
        bucket.delete(self._name(request))

    def _name(self, request: R) -> str:
        return f"{self._prefix}{request.id}.json"


def fresh() -> tuple[str, dt.datetime]:
    """A name that nobody has, ordered by time, and the moment that it tells."""
    now = dt.datetime.now(dt.UTC)
    return f"{now:%Y%m%dT%H%M%S%f}-{secrets.token_hex(4)}", now
