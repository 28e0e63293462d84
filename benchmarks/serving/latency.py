# SPDX-License-Identifier: Apache-2.0
"""At 500 requests a second: how long people wait, and how long while versions are swapped under them."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import msgspec

from .load import Steady, fixed_rate
from .prepare import Prepared
from .rounds import Spread, spread
from .servers import Server

RATE = 500
GAP = 0.4
"""Seconds between two swaps; the server looks at the pointer every 0.1 s."""
SWAP_SETTINGS = {"DROPFIT_POINTER_SECONDS": "0.1", "DROPFIT_MODE": "hybrid"}


@dataclass(frozen=True)
class Waits:
    """What hey saw of one server over all rounds.

    Attributes:
        server: its name.
        blocks: one for each round.
    """

    server: str
    blocks: list[Steady]

    @property
    def p50(self) -> Spread:
        """Milliseconds."""
        return spread([block.p50_ms for block in self.blocks])

    @property
    def p99(self) -> Spread:
        """Milliseconds."""
        return spread([block.p99_ms for block in self.blocks])

    @property
    def rate(self) -> Spread:
        """Answers a second."""
        return spread([block.rate for block in self.blocks])

    @property
    def errors(self) -> int:
        """Requests without a good answer."""
        return sum(block.errors for block in self.blocks)


@dataclass(frozen=True)
class Swaps:
    """Steady blocks and blocks with swaps, taken in turn.

    Attributes:
        swaps: how many times the pointer was swapped.
        seen: how many of them the server was serving before the next one.
        steady: the blocks without.
        swapping: the blocks with.
    """

    swaps: int
    seen: int
    steady: Waits
    swapping: Waits


def waits(
    servers: Sequence[Server], files: Mapping[str, Path], number: int, seconds: float, tell: Callable[[str], None]
) -> list[Waits]:
    """Each server at the fixed rate, in turn, round after round.

    Args:
        servers: running.
        files: server's name -> its one body.
        number: of rounds.
        seconds: of each.
        tell: told each step.
    """
    found = [Waits(server.spec.name, []) for server in servers]
    for turn in range(number):
        for server, of in zip(servers, found, strict=True):
            tell(f"{RATE} requests a second, round {turn + 1} of {number}: {server.spec.name}")
            of.blocks.append(fixed_rate(server.url, files[server.spec.name], RATE, seconds))
    return found


def ratio(quick: Waits, slow: Waits) -> Spread:
    """How many times as long the 99th percentile of one is as that of the other, round by round."""
    return spread([a.p99_ms / b.p99_ms for a, b in zip(slow.blocks, quick.blocks, strict=True)])


def swaps(
    server: Server, file: Path, prepared: Prepared, number: int, blocks: int, tell: Callable[[str], None]
) -> Swaps:
    """Swap the pointer between two versions while the fixed rate goes on, and as long blocks without swaps between.

    Args:
        server: Dropfit, started with SWAP_SETTINGS.
        file: its one body.
        prepared: the two versions.
        number: of swaps.
        blocks: into which they are divided.
        tell: told each step.
    """
    steady, swapping, seen = Waits(server.spec.name, []), Waits(server.spec.name, []), 0
    each = -(-number // blocks)
    mover = Mover(server, prepared)
    for turn in range(blocks):
        tell(f"{RATE} requests a second, steady: block {turn + 1} of {blocks}")
        steady.blocks.append(fixed_rate(server.url, file, RATE, each * GAP))
        tell(f"{RATE} requests a second, {each} swaps: block {turn + 1} of {blocks}")
        thread = threading.Thread(target=mover.run, args=(each,))
        thread.start()
        swapping.blocks.append(fixed_rate(server.url, file, RATE, each * GAP + 1))
        thread.join()
        if mover.failed:
            raise mover.failed
    seen = mover.seen
    return Swaps(each * blocks, seen, steady, swapping)


class Mover:
    """Swaps the pointer to and fro, as a rollback does.

    Args:
        server: whose version is looked at before each next swap.
        prepared: the two versions.
    """

    def __init__(self, server: Server, prepared: Prepared) -> None:
        from dropfit import settings, storage
        from dropfit.pointer import Served
        from dropfit.registry import Registry

        self._server = server
        self._registry = Registry(storage.connect(settings.load()).models)
        self._versions = [msgspec.json.decode(version, type=Served) for version in prepared.versions]
        self._next = 1
        self.seen = 0
        self.failed: Exception | None = None

    def run(self, number: int) -> None:
        """So many swaps, GAP seconds apart."""
        try:
            due = time.monotonic()
            for _ in range(number):
                target = self._versions[self._next]
                self._registry.move(target, self._registry.current(), "bench")
                self._next = 1 - self._next
                due += GAP
                time.sleep(max(0.0, due - time.monotonic()))
                self.seen += self._server.model()["version"] == target.version
        except Exception as error:
            self.failed = error
