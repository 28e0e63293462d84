# SPDX-License-Identifier: Apache-2.0
"""A version that is broken or out of reach leaves the old one serving, is told, and is tried again."""

from __future__ import annotations

import asyncio
import itertools

import pytest
from pointing import Clock, Pointer, looked, settled, until

from dropfit.errors import ArtifactError, Unavailable
from dropfit.swap import Live


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
