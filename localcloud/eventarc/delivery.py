# SPDX-License-Identifier: Apache-2.0
"""The delivery loop: every due event is POSTed, several at once, until a 2xx or until its retention ends."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import logging
import random
import time
from collections.abc import Awaitable, Callable

import httpx

from .options import Options
from .queue import Event, Queue

log = logging.getLogger(__name__)

# Delivers one event; returns None once it is taken, else why not. Whatever should happen to events on their
# way (duplicates, delays, drops) is a function of this type around another.
Send = Callable[[Event], Awaitable[str | None]]


def post_to(client: httpx.AsyncClient, target: str) -> Send:
    """A Send that POSTs the event in the CloudEvents binary mode."""

    async def send(event: Event) -> str | None:
        try:
            answer = await client.post(target, content=event.body, headers=event.headers)
        except httpx.HTTPError as error:
            return f"{type(error).__name__}: {error}"
        return None if answer.is_success else f"HTTP {answer.status_code}: {answer.text[:500]}"

    return send


class Delivery:
    """Takes due events from the queue and sends them.

    Args:
        queue: where they wait.
        send: how one is sent.
        options: patience and concurrency.
        clock: seconds since 1970.
        spread: a random number from 0 to 1, for the jitter.
    """

    def __init__(
        self,
        queue: Queue,
        send: Send,
        options: Options,
        clock: Callable[[], float] = time.time,
        spread: Callable[[], float] = random.random,
    ) -> None:
        self._queue = queue
        self._send = send
        self._options = options
        self._clock = clock
        self._spread = spread
        self._under_way: dict[str, asyncio.Task[None]] = {}
        self._news = asyncio.Event()

    def wake(self) -> None:
        """Look at the queue now: something came in."""
        self._news.set()

    async def run(self) -> None:
        """Deliver until cancelled; what is under way then stays in the queue."""
        try:
            while True:
                self._news.clear()
                self._start_due()
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(self._news.wait(), self._pause())
        finally:
            for task in self._under_way.values():
                task.cancel()
            await asyncio.gather(*self._under_way.values(), return_exceptions=True)

    def _start_due(self) -> None:
        free = self._options.concurrency - len(self._under_way)
        for event in self._queue.due(self._clock(), free, but=self._under_way) if free else ():
            task = asyncio.create_task(self._deliver(event))
            self._under_way[event.id] = task
            task.add_done_callback(functools.partial(self._finished, event.id))

    def _pause(self) -> float | None:
        if len(self._under_way) >= self._options.concurrency:
            return None  # a delivery that ends will wake us
        due = self._queue.next_due(but=self._under_way)
        return None if due is None else max(0.0, due - self._clock())

    def _finished(self, event_id: str, task: asyncio.Task[None]) -> None:
        if not task.cancelled() and (error := task.exception()):
            # The outcome could not be recorded (a full disk?): it is still due, so hold it back a while.
            log.error("event %s: its outcome could not be recorded", event_id, exc_info=error)
            asyncio.get_running_loop().call_later(self._options.backoff_max, self._release, event_id)
        else:
            self._release(event_id)

    def _release(self, event_id: str) -> None:
        del self._under_way[event_id]
        self.wake()

    async def _deliver(self, event: Event) -> None:
        subject = event.headers["ce-subject"]
        try:
            error = await self._send(event)
        except Exception as broken:  # an event must outlive any fault of the one who carries it
            log.exception("event %s %s: sending broke", event.id, subject)
            error = f"{type(broken).__name__}: {broken}"
        now = self._clock()
        end = event.received + self._options.retention
        if error is None:
            self._queue.delivered(event, now)
            log.info("event %s %s: delivered, attempt %d", event.id, subject, event.attempts + 1)
        elif now >= end:
            self._queue.bury(event, error, now)
            log.error("event %s %s: dead after %d attempts: %s", event.id, subject, event.attempts + 1, error)
        else:
            due = min(now + self._backoff(event.attempts), end)
            self._queue.failed(event, error, due)
            log.warning("event %s %s: again in %.1f s: %s", event.id, subject, due - now, error)

    def _backoff(self, failed_before: int) -> float:
        # Doubling, of which a random half to whole: events that failed together do not come back together.
        longest = min(self._options.backoff_max, self._options.backoff_min * 2.0 ** min(failed_before, 60))
        return longest * (0.5 + self._spread() / 2)
