# SPDX-License-Identifier: Apache-2.0
"""A pointer whose loads are noted, a clock that is set, and waiting: shared by the tests of the swap."""

from __future__ import annotations

import asyncio
import threading
import time
import types
from collections.abc import Callable

import pytest

from dropfit import swap
from dropfit.swap import Live


class Pointer:
    """A pointer and what it names; every load is noted, and may be held up or broken."""

    def __init__(self, generation: int = 1) -> None:
        self.generation = generation
        self.loads: list[int] = []
        self.looks = 0
        self.broken: Exception | None = None
        self.unreachable: Exception | None = None
        self.corrupt: Exception | None = None
        self.loading = threading.Event()
        self.go_on = threading.Event()
        self.go_on.set()

    def look(self) -> int:
        self.looks += 1
        if self.unreachable:
            raise self.unreachable
        return self.generation

    def read(self) -> int:
        if self.corrupt:
            raise self.corrupt
        return self.generation

    def load(self, generation: int) -> str:
        self.loads.append(generation)
        self.loading.set()
        assert self.go_on.wait(60), "nobody let the load go on"
        if self.broken:
            raise self.broken
        return f"version {generation}"


class Clock:
    """The time that swap.py sees."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = 1.0
        monkeypatch.setattr(swap, "time", types.SimpleNamespace(monotonic=lambda: self.now))


async def until(condition: Callable[[], bool], seconds: float = 60.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not come true in time"
        await asyncio.sleep(0.002)


async def settled(live: Live[int, str], wanted: str) -> None:
    """Ask until the wanted version answers."""
    deadline = time.monotonic() + 60
    while await live.get() != wanted:
        assert time.monotonic() < deadline, "the version was never served"
        await asyncio.sleep(0.002)


async def looked(live: Live[int, str], pointer: Pointer, times: int) -> None:
    """Ask until the pointer has been looked at so often."""
    before = pointer.looks
    while pointer.looks < before + times:
        await live.get()
        await asyncio.sleep(0.001)
    await live.get()
