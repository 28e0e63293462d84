# SPDX-License-Identifier: Apache-2.0
"""Clients that send half a request and wait, and clients that send the most they may: good ones do not notice.

.venv/bin/python tests/torture slow --count 200
"""

from __future__ import annotations

import asyncio
import contextlib
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import msgspec
import numpy as np
from door import Door, asked, deploy, opened
from worlds import Figure, quiet_cloud

from localcloud import flights

GOOD = 1.0
"""Seconds within which a good request must be answered."""
WAITED = "a good request waited"
"""What is said of one that was not."""
BODY_SECONDS = 5.0
MOST = 8 * 1024**2
KEPT = 40 * 1024**2
BOUND = 100 * 1024**2
"""More memory than this abuse never cost: eight of the largest bodies that are half read, and what one becomes that
is being decoded."""


@dataclass
class Held:
    """What became of the connections that were held.

    Attributes:
        statuses: status -> how many were told so; 0: nothing came.
        closed: how many the server closed.
        seconds: from the first byte to the answer, of the slowest.
    """

    statuses: Counter[int]
    closed: int
    seconds: float


async def hold(port: int, halves: int, drips: int, heads: int, patience: float) -> Held:
    """Open so many connections with half a body, with a body of a byte a second, and with headers alone, and wait."""
    found = Held(Counter(), 0, 0.0)
    head = b"POST /predict HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 400\r\n\r\n"
    starts = [(head + b'{"instances": [' + b" " * 150, False)] * halves
    starts += [(head + b"{", True)] * drips + [(head, False)] * heads

    async def one(start: bytes, drip: bool) -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        begun = time.monotonic()
        writer.write(start)
        dripping = asyncio.create_task(_drip(writer)) if drip else None
        reply = b""
        with contextlib.suppress(TimeoutError, ConnectionError):
            async with asyncio.timeout(patience):
                reply = await reader.read(4096)
                found.seconds = max(found.seconds, time.monotonic() - begun)
                while await reader.read(4096):
                    pass
                found.closed += 1
        found.statuses[int(reply[9:12]) if reply.startswith(b"HTTP/1.1 ") else 0] += 1
        if dripping is not None:
            dripping.cancel()
        writer.close()

    await asyncio.gather(*(one(*start) for start in starts))
    return found


async def _drip(writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(ConnectionError):
        while True:
            await asyncio.sleep(1)
            writer.write(b" ")
            await writer.drain()


class Good:
    """A client that asks as it should until the block ends, and measures its waits."""

    def __init__(self, door: Door) -> None:
        example = door.ask("/openapi.json").json()["components"]["schemas"]["Instance"]["examples"][0]
        self._body = msgspec.json.encode({"instances": [example]})
        self._door = door
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._ask)
        self.seconds: list[float] = []
        self.failed: list[str] = []
        self.most = 0

    def __enter__(self) -> Good:
        self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._stop.set()
        self._thread.join()

    def _ask(self) -> None:
        line = self._door.line()
        while not self._stop.wait(0.02):
            try:
                reply = asked(line, "POST", "/predict", self._body)
            except OSError as error:
                self.failed.append(repr(error))
                continue
            self.seconds.append(reply.seconds)
            if reply.status != 200:
                self.failed.append(f"{reply.status} {reply.body[:200]!r}")
            self.most = max(self.most, self._door.memory())


def starve(door: Door, halves: int, drips: int, heads: int, seconds: float) -> tuple[dict[str, float], list[str]]:
    """Hold so many connections half open beside a good client; the numbers, and what was not as it must be."""
    count = halves + drips + heads
    before = door.descriptors()
    with Good(door) as good:
        held = asyncio.run(hold(door.port, halves, drips, heads, 4 * seconds + 60))
    failures = [f"a good request failed: {what}" for what in good.failed]
    if max(good.seconds) >= GOOD:
        failures.append(f"{WAITED} {max(good.seconds):.2f} s")
    if held.statuses != Counter({408: count}) or held.closed != count:
        failures.append(f"held connections: {dict(held.statuses)}, {held.closed} of {count} closed")
    deadline = time.monotonic() + 60
    while (more := door.descriptors() - before) > 4 and time.monotonic() < deadline:
        time.sleep(0.05)
    if more > 4:
        failures.append(f"{more} sockets stay open")
    numbers = {"held": count, "good": len(good.seconds), "held_seconds": held.seconds}
    return numbers | _waits(good.seconds), failures


def _waits(seconds: list[float]) -> dict[str, float]:
    return {"p50_ms": 1000 * float(np.median(seconds)), "p99_ms": 1000 * float(np.quantile(seconds, 0.99))} | {
        "worst_ms": 1000 * max(seconds)
    }


def bodies(example: object) -> Iterator[bytes]:
    """Bodies of the largest size, each a different trouble to read; by turns, for ever."""
    one = msgspec.json.encode(example)

    def filled(unit: bytes) -> bytes:
        return b'{"instances":[' + b",".join([unit] * ((MOST - 16) // (len(unit) + 1))) + b"]}"

    names = b",".join(b'"%d":1' % number for number in range(MOST // 11))
    made = [filled(unit) for unit in (b"{}", b"[]", b'{"a":1}', one, b"1", b'"a"')]
    made += [b'{"instances":[{' + names + b"}]}", b"[" * MOST, b'{"instances":[' + one + b"]}"]
    made = [body.ljust(MOST)[:MOST] for body in made]
    while True:
        yield from made


def swell(door: Door, count: int, abreast: int = 16) -> tuple[dict[str, float], list[str]]:
    """Send so many of the largest bodies, many at a time, beside a good client."""
    example = door.ask("/openapi.json").json()["components"]["schemas"]["Instance"]["examples"][0]
    each = {door.ask(body=body).status for _, body in zip(range(9), bodies(example), strict=False)}
    before = door.memory()
    with Good(door) as good:
        statuses = _flood(door, bodies(example), count, abreast)
    peak, kept = good.most - before, door.memory() - before
    failures = [f"a good request failed: {what}" for what in good.failed]
    if each != {200, 400, 413} or set(statuses) - each - {0, 408, 503}:  # 503: too many at a time
        failures.append(f"statuses {each}, {dict(statuses)}")
    if peak > BOUND:
        failures.append(f"the server's memory peaked {peak / 1024**2:.0f} MB higher")
    if kept > KEPT:
        failures.append(f"the server keeps {kept / 1024**2:.0f} MB")
    numbers = {"bodies": count, "peak_mb": peak / 1024**2, "kept_mb": kept / 1024**2}
    return numbers | {f"status_{status}": many for status, many in sorted(statuses.items())} | _waits(
        good.seconds
    ), failures


def _flood(door: Door, source: Iterator[bytes], count: int, abreast: int) -> Counter[int]:
    """Send so many bodies; how often which status came, 0 when the server closed under what was still being sent."""
    lock, statuses, left = threading.Lock(), Counter[int](), iter(range(count))

    def work() -> None:
        line = door.line(300)
        while True:
            with lock:
                if next(left, None) is None:
                    return
                body = next(source)
            try:
                statuses[asked(line, "POST", "/predict", body).status] += 1
            except ConnectionError:
                statuses[0] += 1

    threads = [threading.Thread(target=work) for _ in range(abreast)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return statuses


def run(count: int, seed: int, tick: Callable[..., None] = lambda: None) -> Figure:
    """So many connections held with half a body, as many that drip, half as many with headers alone; large bodies."""
    with quiet_cloud() as cloud, tempfile.TemporaryDirectory(prefix="dropfit-torture-") as place:
        deployment = deploy(cloud.env)
        deployment.upload(*flights.months(Path(place) / "files", (1,)))
        with opened(deployment, Path(place) / "server", DROPFIT_BODY_SECONDS=f"{BODY_SECONDS:g}") as door:
            held, failures = starve(door, count, count, count // 2, BODY_SECONDS)
            tick()
            large, more = swell(door, 5 * count)
    failures += more
    sentence = (
        f"{held['held']:.0f} connections held half open, told 408 and closed in {held['held_seconds']:.1f} s; "
        f"good requests p50 {held['p50_ms']:.1f}, p99 {held['p99_ms']:.0f}, worst {held['worst_ms']:.0f} ms; "
        f"{large['bodies']:,.0f} bodies of 8 MB, 16 at a time: memory peaked {large['peak_mb']:.0f} MB higher and "
        f"kept {large['kept_mb']:.0f} MB, good requests p99 {large['p99_ms']:.0f} ms; {len(failures)} failures"
    )
    numbers = {f"held_{name}": value for name, value in held.items()} | {f"large_{n}": v for n, v in large.items()}
    return Figure("slow", sentence, not failures, seed, numbers, tuple(failures))
