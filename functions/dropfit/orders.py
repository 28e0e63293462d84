# SPDX-License-Identifier: Apache-2.0
"""A person's `dropfit train`: an object in the data bucket, which survives a crash and needs no job arguments."""

from __future__ import annotations

import datetime as dt

import msgspec

from .queues import Queue, fresh
from .storage import Bucket

PREFIX = "requests/"


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


_QUEUE = Queue(PREFIX, TrainRequest)
waiting, is_waiting, pending, done = _QUEUE.waiting, _QUEUE.is_waiting, _QUEUE.pending, _QUEUE.done


def ask(bucket: Bucket, objects: tuple[str, ...]) -> TrainRequest:
    """Leave a request for the next job."""
    name, now = fresh()
    return _QUEUE.add(bucket, TrainRequest(id=name, asked_at=now, objects=objects))


def begin(bucket: Bucket, request: TrainRequest) -> TrainRequest:
    """Count one more attempt, before it is made."""
    return _QUEUE.count(bucket, request, request.attempts + 1)
