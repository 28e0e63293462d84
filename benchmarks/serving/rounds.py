# SPDX-License-Identifier: Apache-2.0
"""Processor time per request, over interleaved rounds. A round's ratios are of neighbours in time, so they hold
although a machine's mood changes; the median over the rounds is the figure, the spread says how much to trust it."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from .load import flood
from .servers import Server, ServerError
from .tree import Meter


@dataclass(frozen=True)
class Sample:
    """One server in one round.

    Attributes:
        server: its name.
        size: rows per request.
        round: which.
        us: processor microseconds of the process tree per request.
        rate: requests a second.
        p99_ms: milliseconds that 99 of 100 stayed under, at full load.
        processors: how many of them it kept busy.
    """

    server: str
    size: int
    round: int
    us: float
    rate: float
    p99_ms: float
    processors: float


class Spread(NamedTuple):
    """A median, and the least and the greatest."""

    median: float
    low: float
    high: float


def measure(
    servers: Sequence[Server],
    files: Mapping[tuple[str, int], Path],
    sizes: Sequence[int],
    number: int,
    seconds: float,
    tell: Callable[[str], None],
) -> list[Sample]:
    """Load every server in turn, round after round, each round beginning with another one.

    Args:
        servers: running.
        files: (server's name, size) -> its bodies, one a line.
        sizes: rows per request.
        number: of rounds.
        seconds: of load for each server and size.
        tell: told each step.

    Raises:
        ServerError: when a server answers errors.
    """
    samples = []
    for turn in range(number):
        for size in sizes:
            for server in rotated(servers, turn):
                tell(f"round {turn + 1} of {number}, {size} row{'s' * (size > 1)}: {server.spec.name}")
                samples.append(_sample(server, files[server.spec.name, size], size, turn, seconds))
    return samples


def rotated(items: Sequence[Server], by: int) -> list[Server]:
    """The same in a circle, beginning elsewhere."""
    start = by % len(items)
    return [*items[start:], *items[:start]]


def _sample(server: Server, file: Path, size: int, turn: int, seconds: float) -> Sample:
    meter = Meter(server.pid)
    burst = flood(server.url, file, seconds)
    used = meter.seconds()
    if burst.errors or not burst.requests:
        raise ServerError(f"{server.spec.name}: {burst.errors} errors under load\n{server.last_words()}")
    us, rate = 1e6 * used / burst.requests, burst.requests / burst.seconds
    return Sample(server.spec.name, size, turn, us, rate, burst.p99_ms, used / burst.seconds)


def spread(values: Sequence[float]) -> Spread:
    """Median, least and greatest."""
    return Spread(statistics.median(values), min(values), max(values))


def cost(samples: Sequence[Sample], server: str, size: int) -> Spread:
    """Microseconds per request."""
    return spread([s.us for s in samples if (s.server, s.size) == (server, size)])


def rate(samples: Sequence[Sample], server: str, size: int) -> Spread:
    """Requests a second."""
    return spread([s.rate for s in samples if (s.server, s.size) == (server, size)])


def ratio(samples: Sequence[Sample], quick: str, slow: str, size: int) -> Spread | None:
    """How many times as quick one server is as another by processor time, round by round; None without both.

    Args:
        samples: of all rounds.
        quick: whose speed is told.
        slow: what it is compared with.
        size: rows per request.
    """
    costs = {(s.server, s.round): s.us for s in samples if s.size == size}
    turns = sorted({turn for _, turn in costs})
    ratios = [costs[slow, t] / costs[quick, t] for t in turns if (slow, t) in costs and (quick, t) in costs]
    return spread(ratios) if ratios else None
