# SPDX-License-Identifier: Apache-2.0
"""The served version is exchanged whole while requests go on, and no request waits for it."""

from __future__ import annotations

import asyncio
import itertools
import threading
import time
import types
from collections.abc import Callable

import pytest

from dropfit import swap
from dropfit.errors import ArtifactError, Unavailable
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


def test_the_first_request_waits_for_the_first_version() -> None:
    pointer = Pointer()
    assert asyncio.run(Live(pointer.look, pointer.read, pointer.load, 0).get()) == "version 1"


def test_before_the_first_promotion_there_is_nothing_to_serve_and_no_trouble() -> None:
    pointer = Pointer(generation=0)
    live = Live(pointer.look, pointer.read, pointer.load, 0)
    assert asyncio.run(live.get()) is None
    assert live.trouble == ""
    assert pointer.loads == []


def test_a_first_version_that_does_not_come_is_told_of_in_time_and_served_once_it_comes(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def story() -> None:
        pointer = Pointer()
        pointer.go_on.clear()
        live = Live(pointer.look, pointer.read, pointer.load, 0)
        try:
            assert await asyncio.wait_for(live.get(), 60) is None
            assert "not loaded yet" in live.trouble
        finally:
            pointer.go_on.set()
        await settled(live, "version 1")
        assert live.trouble == ""
        assert pointer.loads == [1]

    monkeypatch.setattr(swap, "FIRST_PATIENCE", 0.02)
    asyncio.run(story())


def test_a_new_generation_is_loaded_once_however_many_requests_come() -> None:
    async def story() -> None:
        pointer = Pointer()
        live = Live(pointer.look, pointer.read, pointer.load, 0)
        assert set(await asyncio.gather(*(live.get() for _ in range(50)))) == {"version 1"}
        pointer.generation = 2
        await settled(live, "version 2")
        before = pointer.looks
        while pointer.looks < before + 3:  # later looks find the same generation
            await live.get()
            await asyncio.sleep(0.001)
        assert pointer.loads == [1, 2]

    asyncio.run(story())


def test_no_request_waits_for_a_slow_load() -> None:
    async def story() -> None:
        pointer = Pointer()
        live = Live(pointer.look, pointer.read, pointer.load, 0)
        await live.get()
        pointer.generation = 2
        pointer.loading.clear()
        pointer.go_on.clear()
        try:
            assert await live.get() == "version 1"
            await until(pointer.loading.is_set)
            for _ in range(100):  # the load cannot end before these are answered
                assert await asyncio.wait_for(live.get(), 60) == "version 1"
        finally:
            pointer.go_on.set()
        await settled(live, "version 2")

    asyncio.run(story())


def test_no_request_waits_for_a_load_that_is_slower_than_a_silence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(swap, "SILENCE", 0.05)
    monkeypatch.setattr(swap, "PATIENCE", 40.0)

    async def story() -> float:
        pointer = Pointer()
        live = Live(pointer.look, pointer.read, pointer.load, 0)
        await live.get()
        pointer.generation = 2
        pointer.loading.clear()
        pointer.go_on.clear()
        try:
            await live.get()
            await until(pointer.loading.is_set)
            await asyncio.sleep(2 * swap.SILENCE)  # requests keep coming; the load just takes long
            begun = time.monotonic()
            await live.get(swap.PATIENCE)
            return time.monotonic() - begun
        finally:
            pointer.go_on.set()

    assert asyncio.run(story()) < 20


def test_after_a_long_silence_a_request_waits_for_the_newest_version(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(swap, "SILENCE", 0.0)
    monkeypatch.setattr(swap, "PATIENCE", 60.0)

    async def story() -> str | None:
        pointer = Pointer()
        live = Live(pointer.look, pointer.read, pointer.load, 0)
        await live.get()
        pointer.generation = 2
        return await live.get(swap.PATIENCE)

    assert asyncio.run(story()) == "version 2"


def test_after_a_long_silence_patience_ends_while_there_is_something_to_answer(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(swap, "SILENCE", 0.0)
    monkeypatch.setattr(swap, "PATIENCE", 0.01)

    async def story() -> str | None:
        pointer = Pointer()
        live = Live(pointer.look, pointer.read, pointer.load, 0)
        await live.get()
        pointer.generation = 2
        pointer.go_on.clear()
        try:
            return await live.get()
        finally:
            pointer.go_on.set()

    assert asyncio.run(story()) == "version 1"


@pytest.mark.parametrize("broken", [ArtifactError("a flipped bit"), RuntimeError("a surprise")])
def test_a_broken_version_leaves_the_old_one_serving_and_a_repaired_one_replaces_it(broken: Exception) -> None:
    async def story() -> None:
        pointer = Pointer()
        live = Live(pointer.look, pointer.read, pointer.load, 0)
        await live.get()
        pointer.generation, pointer.broken = 2, broken
        await live.get()
        await until(lambda: live.trouble != "")
        assert await live.get() == "version 1"
        pointer.generation, pointer.broken = 3, None
        await settled(live, "version 3")
        assert live.trouble == ""

    asyncio.run(story())


def test_a_broken_first_version_is_told_and_not_served() -> None:
    async def story() -> None:
        pointer = Pointer()
        pointer.broken = ArtifactError("a flipped bit")
        live = Live(pointer.look, pointer.read, pointer.load, 0)
        assert await live.get() is None
        assert live.trouble == "a flipped bit"

    asyncio.run(story())


def test_while_storage_is_down_the_loaded_version_goes_on() -> None:
    async def story() -> None:
        pointer = Pointer()
        live = Live(pointer.look, pointer.read, pointer.load, 0)
        await live.get()
        pointer.unreachable = Unavailable("503")
        await live.get()
        await until(lambda: "storage does not answer" in live.trouble)
        assert await live.get() == "version 1"
        pointer.unreachable = None
        await live.get()
        await until(lambda: live.trouble == "")

    asyncio.run(story())


def test_a_pointer_that_vanishes_leaves_the_loaded_version_serving() -> None:
    async def story() -> None:
        pointer = Pointer()
        live = Live(pointer.look, pointer.read, pointer.load, 0)
        await live.get()
        pointer.generation = 0
        before = pointer.looks
        while pointer.looks < before + 3:
            assert await live.get() == "version 1"
            await asyncio.sleep(0.001)

    asyncio.run(story())


def test_the_pointer_is_looked_at_no_more_often_than_asked() -> None:
    async def story() -> int:
        pointer = Pointer()
        live = Live(pointer.look, pointer.read, pointer.load, 3600)
        for _ in range(100):
            await live.get()
        return pointer.looks

    assert asyncio.run(story()) == 1


def test_a_request_that_is_given_up_does_not_give_up_the_load_of_the_others() -> None:
    async def story() -> None:
        pointer = Pointer()
        pointer.go_on.clear()
        live = Live(pointer.look, pointer.read, pointer.load, 3600)
        hasty = asyncio.create_task(live.get())
        patient = asyncio.create_task(live.get())
        await until(pointer.loading.is_set)
        hasty.cancel()
        with pytest.raises(asyncio.CancelledError):
            await hasty
        pointer.go_on.set()
        assert await patient == "version 1"

    asyncio.run(story())


async def looked(live: Live[int, str], pointer: Pointer, times: int) -> None:
    """Ask until the pointer has been looked at so often."""
    before = pointer.looks
    while pointer.looks < before + times:
        await live.get()
        await asyncio.sleep(0.001)
    await live.get()


def test_a_version_that_cannot_be_loaded_is_fetched_again_after_ever_longer_pauses(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    clock = Clock(monkeypatch)

    async def story() -> list[float]:
        pointer = Pointer()
        live = Live(pointer.look, pointer.read, pointer.load, 0)
        await live.get()
        pointer.generation, pointer.broken, tried = 2, ArtifactError("a flipped bit"), []
        while clock.now < 100:
            before = len(pointer.loads)
            await looked(live, pointer, 2)
            if len(pointer.loads) > before:
                tried.append(clock.now)
            assert live.trouble == "a flipped bit"
            clock.now += 0.5
        assert live.refusals == len(tried)
        return tried

    tried = asyncio.run(story())
    pauses = [b - a for a, b in itertools.pairwise(tried)]
    assert pauses[:5] == pytest.approx([1, 2, 4, 8, 16], abs=0.6)


def test_a_refused_version_is_no_longer_waited_for_once_the_pointer_moves(monkeypatch: pytest.MonkeyPatch) -> None:
    async def story() -> None:
        pointer = Pointer()
        live = Live(pointer.look, pointer.read, pointer.load, 0)
        await live.get()
        pointer.generation, pointer.broken = 2, ArtifactError("a flipped bit")
        await looked(live, pointer, 3)
        pointer.generation, pointer.broken = 3, None
        await settled(live, "version 3")
        assert (live.trouble, live.swaps, live.refusals) == ("", 1, 1)

    asyncio.run(story())


@pytest.mark.parametrize("fault", ["unreachable", "corrupt", "gone"])
def test_how_long_the_pointer_could_not_be_read_is_known(fault: str, monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock(monkeypatch)

    async def story() -> None:
        pointer = Pointer()
        live = Live(pointer.look, pointer.read, pointer.load, 0)
        await live.get()
        clock.now += 600  # nobody asked for ten minutes: that says nothing of the pointer
        assert live.unreadable_for == 0
        if fault == "gone":
            pointer.generation = 0
        elif fault == "corrupt":
            pointer.generation, pointer.corrupt = 2, ArtifactError("{")
        else:
            pointer.unreachable = Unavailable("503")
        await looked(live, pointer, 2)
        clock.now += 30
        await looked(live, pointer, 2)
        assert live.unreadable_for == pytest.approx(30, abs=1)
        assert live.loaded == "version 1"
        assert live.trouble
        pointer.unreachable = pointer.corrupt = None
        pointer.generation = 3
        await settled(live, "version 3")
        assert live.unreadable_for == 0

    asyncio.run(story())


def test_a_pointer_to_a_broken_version_is_readable_all_the_same() -> None:
    async def story() -> None:
        pointer = Pointer()
        live = Live(pointer.look, pointer.read, pointer.load, 0)
        await live.get()
        pointer.generation, pointer.broken = 2, ArtifactError("a flipped bit")
        await looked(live, pointer, 4)
        assert live.unreadable_for == 0

    asyncio.run(story())
