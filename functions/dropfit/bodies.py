# SPDX-License-Identifier: Apache-2.0
"""Request bodies as ASGI hands them over, read within limits.

Nothing stands before a function that would bound a body's size, the time it may take to arrive, or what all of them
together hold in memory.
"""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import time
from collections.abc import Awaitable, Callable, Mapping, MutableMapping
from typing import Any

from .errors import BadRequest

Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
TOGETHER = 8
"""So many of the largest bodies may be half read at a time; what comes on top is told to try again."""


M_MMAP_THRESHOLD = -3
"""Of mallopt(3)."""
LARGE = 1024**2


def give_back_large_blocks() -> None:
    """Let glibc give memory of a megabyte and more back to the system as soon as it is free.

    By itself it raises that line to 32 MB once such a block was freed: a process that has met a storm of the largest
    bodies then holds 125 MB more for as long as it lives. Elsewhere than on glibc nothing is done.
    """
    with contextlib.suppress(AttributeError, OSError):
        ctypes.CDLL(None).mallopt(M_MMAP_THRESHOLD, LARGE)


SMALL = 64 * 1024
"""A body up to here is never refused for what others hold."""
CROWDED = "too many large requests are arriving: try again in a moment"


class Disconnected(Exception):
    """The client went away before its body was complete."""


class Bodies:
    """Reads request bodies, no larger and no longer than allowed. Use it from one event loop.

    Args:
        most: bytes of one body.
        seconds: that a body may take to arrive.
    """

    def __init__(self, most: int, seconds: float) -> None:
        self._most = most
        self._seconds = seconds
        self._held: dict[asyncio.Task[Any], int] = {}
        self._evicted: set[asyncio.Task[Any]] = set()
        self._due: dict[asyncio.Task[Any], float] = {}
        self._late: set[asyncio.Task[Any]] = set()
        self._timer: asyncio.TimerHandle | None = None

    async def read(self, headers: Mapping[bytes, bytes], receive: Receive) -> bytes:
        """A request's body.

        Args:
            headers: by lower-case name.
            receive: ASGI's.

        Raises:
            BadRequest: 413 when it is too large, 408 when it takes too long, 503 when too many arrive at a time.
            Disconnected: when the client went away.
        """
        declared = headers.get(b"content-length", b"0")
        if len(declared) > 18 or int(declared) > self._most:
            raise self._too_large()
        task = asyncio.current_task()
        assert task is not None  # noqa: S101 (a server runs each request in a task)
        self._due[task] = time.monotonic() + self._seconds
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(self._seconds / 4, self._sweep)
        try:
            message = await receive()
            body: bytes = message.get("body", b"")
            if message.get("more_body", False) or message["type"] != "http.request":
                return await self._rest(task, message, body, receive)
            if len(body) > self._most:
                raise self._too_large()
            return body
        except asyncio.CancelledError:
            if task not in self._late:
                raise
            self._late.remove(task)
            task.uncancel()
            if task in self._evicted:
                self._evicted.remove(task)
                raise BadRequest(CROWDED, status=503) from None
            raise BadRequest(f"the body did not arrive within {self._seconds:g} s", status=408) from None
        finally:
            del self._due[task]

    async def _rest(
        self, task: asyncio.Task[Any], message: MutableMapping[str, Any], first: bytes, receive: Receive
    ) -> bytes:
        """A body that comes in pieces."""
        body = bytearray(first)
        try:
            while True:
                if message["type"] != "http.request":
                    raise Disconnected
                if len(body) > self._most:
                    raise self._too_large()
                if len(body) > SMALL:
                    self._held[task] = len(body)
                    self._make_room()
                if not message.get("more_body", False):
                    return bytes(body)
                message = await receive()
                body += message.get("body", b"")
        finally:
            self._held.pop(task, None)

    def _make_room(self) -> None:
        """End the reading of the largest body when all that are half read hold too much: small ones never pay."""
        if sum(self._held.values()) > TOGETHER * self._most:
            largest = max(self._held, key=lambda task: self._held[task])
            del self._held[largest]
            self._evicted.add(largest)
            self._late.add(largest)
            largest.cancel()

    def _too_large(self) -> BadRequest:
        return BadRequest(f"the body may hold {self._most:,} bytes", status=413)

    def _sweep(self) -> None:
        """End the reading of what is overdue; runs while anything is being read, and no longer."""
        now = time.monotonic()
        for task, due in self._due.items():
            if due < now and task not in self._late:
                self._late.add(task)
                task.cancel()
        loop = asyncio.get_running_loop()
        self._timer = loop.call_later(self._seconds / 4, self._sweep) if self._due else None
