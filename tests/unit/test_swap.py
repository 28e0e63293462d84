# SPDX-License-Identifier: Apache-2.0
"""The served version is exchanged whole while requests go on, and no request waits for it."""

from __future__ import annotations

import asyncio
import time

import pytest
from pointing import Pointer, settled, until

from dropfit import swap
from dropfit.swap import Live


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
