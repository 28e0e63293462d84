# SPDX-License-Identifier: Apache-2.0
"""At 500 requests a second: how long people wait, and how long while versions are swapped under them."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

import msgspec

from .load import Steady, fixed_rate
from .prepare import Prepared
from .rounds import Spread, spread
from .servers import Server

RATE = 500
GAP = 0.35
"""Seconds between two swaps at least; the server looks at the pointer every 0.1 s."""
BLOCK, MOST_BLOCKS = 8.0, 12
"""Seconds of each block, with swaps and without; so many of each at most."""
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
        seen: how many of them the server was seen to serve.
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


def swaps(server: Server, file: Path, prepared: Prepared, number: int, tell: Callable[[str], None]) -> Swaps:
    """Swap the pointer between two versions while the fixed rate goes on, with as long blocks without swaps between.

    Args:
        server: Dropfit, started with SWAP_SETTINGS.
        file: its one body.
        prepared: the two versions.
        number: of swaps that the server must have served; tried for no more than MOST_BLOCKS.
        tell: told each step.
    """
    steady, swapping = Waits(server.spec.name, []), Waits(server.spec.name, [])
    mover = Mover(server, prepared)
    try:
        while mover.seen < number and len(swapping.blocks) < MOST_BLOCKS:
            tell(f"{RATE} requests a second, steady; {mover.seen} of {number} swaps")
            steady.blocks.append(fixed_rate(server.url, file, RATE, BLOCK))
            tell(f"{RATE} requests a second, swapping; {mover.seen} of {number} swaps")
            with mover:
                swapping.blocks.append(fixed_rate(server.url, file, RATE, BLOCK))
    finally:
        mover.leave_first()
    return Swaps(mover.swaps, mover.seen, steady, swapping)


class Mover:
    """Swaps the pointer to and fro, as a rollback does, for as long as the block lasts.

    A swap follows the one before when the server answers with that one's version, and no sooner than GAP.

    Args:
        server: whose version is looked at.
        prepared: the two versions.
    """

    def __init__(self, server: Server, prepared: Prepared) -> None:
        from dropfit import settings, storage
        from dropfit.pointer import Served
        from dropfit.registry import Registry

        self._server = server
        self._registry = Registry(storage.connect(settings.load()).models)
        self._versions = [msgspec.json.decode(version, type=Served) for version in prepared.versions]
        self._over = threading.Event()
        self._thread = threading.Thread()
        self._failed: Exception | None = None
        self.swaps = 0
        self.seen = 0

    def __enter__(self) -> None:
        self._over.clear()
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._over.set()
        self._thread.join()
        if self._failed is not None:
            raise self._failed

    def leave_first(self) -> None:
        """Leave the pointer at the version that the rivals serve too."""
        self._registry.move(self._versions[0], self._registry.current(), "bench")

    def _run(self) -> None:
        try:
            while not self._over.is_set():
                self._swap()
        except Exception as error:  # raised again where the block ends
            self._failed = error

    def _swap(self) -> None:
        current = self._registry.current()
        target = next(v for v in self._versions if current.pointer is None or v.version != current.pointer.version)
        self._registry.move(target, current, "bench")
        self.swaps += 1
        self._over.wait(GAP)
        while not self._over.is_set():
            if self._server.model()["version"] == target.version:
                self.seen += 1
                return
            self._over.wait(GAP / 10)
