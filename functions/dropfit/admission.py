# SPDX-License-Identifier: Apache-2.0
"""Whether the model can answer in time, and where it runs.

A synchronous run cannot be interrupted, so a request is admitted by what its run is expected to cost. What takes next
to nothing runs where the request is; anything else runs in one thread beside the event loop, in the order of arrival,
so that a slow model delays nobody who does not need it.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

T = TypeVar("T")
INLINE = 0.002
"""Seconds that a run may hold up the event loop; handing it to the thread costs a tenth of a millisecond itself."""
PROBE = 1.0
"""Seconds after which a model that has become too slow for its deadline is tried again."""
WEIGHT = 0.2
"""Of the newest run in the moving average."""
SLOWEST = 16.0
"""Times slower than measured when it was loaded: more is one run's bad luck, not the model."""


class Cost:
    """What a run is expected to take: fixed + rows x per_row, scaled by how the runs of late compared with it.

    Attributes:
        fixed: seconds, as measured when the version was loaded.
        per_row: seconds.
        scale: moving average of measured over expected seconds.
    """

    def __init__(self, fixed: float, per_row: float) -> None:
        self.fixed = fixed
        self.per_row = per_row
        self.scale = 1.0

    def at_best(self, rows: int) -> float:
        """Seconds that so many rows took when the version was loaded."""
        return self.fixed + rows * self.per_row

    def estimate(self, rows: int) -> float:
        """Seconds that so many rows are expected to take now."""
        return self.scale * (self.fixed + rows * self.per_row)

    def observe(self, rows: int, seconds: float) -> None:
        """Learn from a run."""
        ratio = seconds / (self.fixed + rows * self.per_row + 1e-9)
        self.scale += WEIGHT * ((ratio if ratio < SLOWEST else SLOWEST) - self.scale)


def measure(run: Callable[[int], object], budget: float = 0.1) -> Cost:
    """Time a model while it is warmed up.

    Args:
        run: predicts so many rows.
        budget: seconds that this may take, if the model is no slower than that.
    """
    run(1)  # the first run pays for what the others find ready
    one = _best(run, 1, budget / 4)
    many = max(2, min(64, int(budget / 4 / max(one, 1e-9))))
    per_row = max(0.0, (_best(run, many, budget / 4) - one) / (many - 1))
    return Cost(max(one - per_row, 1e-6), per_row)


def _best(run: Callable[[int], object], rows: int, budget: float) -> float:
    """Seconds of the quickest of some runs: the others were disturbed."""
    taken: list[float] = []
    while len(taken) < 5 and sum(taken) < budget:
        begun = time.perf_counter()
        run(rows)
        taken.append(time.perf_counter() - begun)
    return min(taken)


class Lane:
    """The one thread in which slow runs follow each other; it is started by the first of them.

    Use it from one event loop. It outlives the versions that run in it.
    """

    def __init__(self) -> None:
        self._pool: ThreadPoolExecutor | None = None
        self._waiting = 0
        self._expected = 0.0
        self._running = (0.0, 0.0)
        self._probed = 0.0

    @property
    def idle(self) -> bool:
        """Whether nothing runs in the thread."""
        return not self._waiting

    def backlog(self, now: float) -> float:
        """Seconds until the thread is expected to be free."""
        if not self._waiting:
            return 0.0
        since, expected = self._running
        return max(0.0, self._expected - min(now - since, expected))

    def admits(self, cost: Cost, rows: int, deadline: float) -> bool:
        """Whether a run that is asked for now is expected to end in time.

        A run that is only late because the runs of late were slow is let through once a second, so that a model that
        has recovered is noticed.

        Args:
            cost: of the model.
            rows: instances.
            deadline: by time.monotonic.
        """
        now = time.monotonic()
        if now + self.backlog(now) + cost.estimate(rows) <= deadline:
            return True
        due = self.idle and now + cost.at_best(rows) <= deadline and now - self._probed >= PROBE
        if due:
            self._probed = now
        return due

    async def run(self, work: Callable[[], T], cost: Cost, rows: int, deadline: float) -> T | None:
        """The work's result, or None when it has not come by the deadline; then the thread finishes it for nobody.

        Raises:
            Exception: what the work raises.
        """
        if self._pool is None:
            self._pool = ThreadPoolExecutor(1, thread_name_prefix="dropfit-model")
        expected = cost.estimate(rows)
        self._expected += expected
        self._waiting += 1

        def timed() -> T | None:
            started = time.monotonic()
            self._running = started, expected
            if started > deadline:
                return None
            result = work()
            cost.observe(rows, time.monotonic() - started)
            return result

        running = asyncio.get_running_loop().run_in_executor(self._pool, timed)
        running.add_done_callback(lambda done: self._done(done, expected))
        done, _ = await asyncio.wait({running}, timeout=max(0.0, deadline - time.monotonic()))
        return running.result() if done else None

    def _done(self, running: asyncio.Future[T | None], expected: float) -> None:
        self._waiting -= 1
        self._expected -= expected
        if not running.cancelled():
            running.exception()  # nobody may be waiting for it any more
