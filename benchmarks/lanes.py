# SPDX-License-Identifier: Apache-2.0
"""Ways to run a model that is too slow for its requests, beside requests that do not need it: ADR 15 quotes it.

.venv/bin/python -m benchmarks.lanes

One row costs 20 ms of Python, which cannot be interrupted; twice as many requests arrive as one thread can answer,
each with 100 ms. A request that needs no model asks every 2 ms for its turn of the event loop.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor

from rich.console import Console
from rich.table import Table

from dropfit.admission import Cost, Lane

COST, BETWEEN, DEADLINE, SECONDS, TICK = 0.020, 0.010, 0.100, 4.0, 0.002
Way = Callable[[float], Awaitable[bool]]
"""Deadline by time.monotonic -> whether the model has answered by then."""


class Model:
    """It takes its time, and counts its runs."""

    def __init__(self) -> None:
        self.runs = 0
        self._steps = 1_000_000
        self._steps = int(self._steps * COST / min(self._seconds() for _ in range(5)))

    def _seconds(self) -> float:
        began = time.thread_time()
        self._work()
        return time.thread_time() - began

    def _work(self) -> None:
        for _ in range(self._steps):
            pass

    def __call__(self) -> bool:
        """One row."""
        self.runs += 1
        self._work()
        return True


def lane(model: Model) -> Way:
    """Ours: admitted by the expected cost, one thread."""
    one, cost = Lane(), Cost(0.0, COST)

    async def answer(deadline: float) -> bool:
        return one.admits(cost, 1, deadline) and bool(await one.run(model, cost, 1, deadline))

    return answer


def threads(model: Model, most: int) -> Way:
    """Every request to a pool of threads; whoever is late is no longer waited for."""
    pool = ThreadPoolExecutor(most)

    async def answer(deadline: float) -> bool:
        running = asyncio.get_running_loop().run_in_executor(pool, model)
        return bool((await asyncio.wait({running}, timeout=max(0.0, deadline - time.monotonic())))[0])

    return answer


def wait_for(model: Model) -> Way:
    """Where the request is, under asyncio.wait_for alone."""

    async def run() -> bool:
        return model()

    async def answer(deadline: float) -> bool:
        try:
            await asyncio.wait_for(run(), max(0.0, deadline - time.monotonic()))
        except TimeoutError:
            return False
        return time.monotonic() <= deadline

    return answer


async def story(way: Way) -> tuple[list[bool], list[float], list[float]]:
    """Which requests were answered in time; ms that each reply, and each turn of the quick ones, was late."""
    late: list[float] = []
    turns: list[float] = []

    async def ask(arrived: float) -> bool:
        deadline = arrived + DEADLINE
        answered = await way(deadline)
        late.append(max(0.0, time.monotonic() - deadline) * 1e3)
        return answered

    async def quick() -> None:
        while True:
            due = time.monotonic() + TICK
            await asyncio.sleep(TICK)
            turns.append((time.monotonic() - due) * 1e3)

    ticking, began = asyncio.create_task(quick()), time.monotonic()
    asked: list[asyncio.Task[bool]] = []
    for place in range(int(SECONDS / BETWEEN)):
        arrival = began + place * BETWEEN
        await asyncio.sleep(max(0.0, arrival - time.monotonic()))
        asked.append(asyncio.create_task(ask(arrival)))  # it came then, whenever the loop has time for it
    answers = await asyncio.gather(*asked)
    ticking.cancel()
    return answers, late, turns


def percentile(values: list[float], share: float) -> float:
    """The value below which this share lies."""
    return sorted(values)[min(len(values) - 1, int(share * len(values)))]


def main() -> None:
    """Print the figures."""
    ways: list[tuple[str, Callable[[Model], Way]]] = [
        ("admission, one thread", lane),
        ("a pool of one thread", lambda model: threads(model, 1)),
        ("a thread per request", lambda model: threads(model, 1000)),
        ("asyncio.wait_for alone", wait_for),
    ]
    counted = ("requests", "answered in time", "runs for nobody")
    table = Table("way", *counted, "reply late p99 ms", "quick ones wait p99 ms")
    for name, make in ways:
        model = Model()
        answers, late, turns = asyncio.run(story(make(model)))
        told = (len(answers), sum(answers), model.runs - sum(answers))
        table.add_row(name, *map(str, told), f"{percentile(late, 0.99):.0f}", f"{percentile(turns, 0.99):.0f}")
    Console(width=140).print(table)


if __name__ == "__main__":
    main()
