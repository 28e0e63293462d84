# SPDX-License-Identifier: Apache-2.0
"""A body is read within its size and its time, and slow ones are nobody else's business."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

import pytest

from dropfit import bodies
from dropfit.bodies import Bodies, Disconnected
from dropfit.errors import BadRequest

Message = MutableMapping[str, Any]


def arriving(*messages: Message, then: str = "silence") -> Callable[[], Awaitable[Message]]:
    """ASGI's receive: the messages one after the other, then nothing ever, or a disconnection."""
    left = list(messages)

    async def receive() -> Message:
        if left:
            await asyncio.sleep(0)
            return left.pop(0)
        if then == "disconnect":
            return {"type": "http.disconnect"}
        return await asyncio.get_running_loop().create_future()

    return receive


def part(body: bytes, more: bool = False) -> Message:
    return {"type": "http.request", "body": body, "more_body": more}


def read(reader: Bodies, receive: Callable[[], Awaitable[Message]], length: bytes = b"0") -> bytes:
    return asyncio.run(reader.read({b"content-length": length}, receive))


def test_a_body_in_one_piece_or_in_many_is_the_same_body() -> None:
    reader = Bodies(100, 5)
    assert read(reader, arriving(part(b"abc"))) == b"abc"
    assert read(reader, arriving(part(b"a", True), part(b"b", True), part(b"c"))) == b"abc"
    assert read(reader, arriving(part(b""))) == b""


@pytest.mark.parametrize("pieces", [[part(b"x" * 11)], [part(b"x" * 6, True), part(b"x" * 6)]])
def test_a_body_that_is_too_large_is_a_413_whatever_it_declares(pieces: list[Message]) -> None:
    with pytest.raises(BadRequest) as refused:
        read(Bodies(10, 5), arriving(*pieces))
    assert refused.value.status == 413


@pytest.mark.parametrize("length", [b"11", b"9" * 30])
def test_a_declared_length_that_is_too_large_is_refused_before_anything_is_read(length: bytes) -> None:
    async def receive() -> Message:
        raise AssertionError("it was read")

    with pytest.raises(BadRequest) as refused:
        read(Bodies(10, 5), receive, length)
    assert refused.value.status == 413


@pytest.mark.parametrize("pieces", [[], [part(b"{", True)]])
def test_a_body_that_does_not_arrive_is_a_408_and_its_request_is_over(pieces: list[Message]) -> None:
    async def story() -> None:
        reader = Bodies(100, 0.05)
        with pytest.raises(BadRequest) as refused:
            await reader.read({}, arriving(*pieces))
        assert refused.value.status == 408
        await asyncio.sleep(0)  # the request that was late goes on: nothing is cancelled any more

    asyncio.run(asyncio.wait_for(story(), 60))


def test_a_client_that_goes_away_is_told_apart_from_one_that_is_slow() -> None:
    with pytest.raises(Disconnected):
        read(Bodies(100, 5), arriving(part(b"{", True), then="disconnect"))
    with pytest.raises(Disconnected):
        read(Bodies(100, 5), arriving(then="disconnect"))


def test_a_request_that_its_server_cancels_is_cancelled_and_no_408() -> None:
    async def story() -> None:
        task = asyncio.create_task(Bodies(100, 5).read({}, arriving()))
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(story())


def test_two_hundred_half_open_bodies_do_not_delay_a_whole_one() -> None:
    async def story() -> bytes:
        reader = Bodies(100, 30)
        slow = [asyncio.create_task(reader.read({}, arriving(part(b"{", True)))) for _ in range(200)]
        await asyncio.sleep(0)
        body = await asyncio.wait_for(reader.read({}, arriving(part(b"whole"))), 20)
        for task in slow:
            task.cancel()
        await asyncio.gather(*slow, return_exceptions=True)
        return body

    assert asyncio.run(story()) == b"whole"


def test_large_bodies_that_never_end_do_not_cost_a_small_one_in_pieces_its_answer() -> None:
    most = 4 * bodies.SMALL

    async def story() -> tuple[bytes, list[Any]]:
        reader = Bodies(most, 60)
        held = [
            asyncio.create_task(reader.read({}, arriving(part(b"x" * (most - 1), True))))
            for _ in range(2 * bodies.TOGETHER)
        ]
        for _ in range(5):
            await asyncio.sleep(0)
        small = await asyncio.wait_for(reader.read({}, arriving(part(b"sm", True), part(b"all"))), 20)
        gone = [task for task in held if task.done()]
        for task in held:
            task.cancel()
        return small, [task.exception().status for task in gone]

    small, told = asyncio.run(story())
    assert small == b"small"
    assert told == [503] * bodies.TOGETHER


def test_when_they_are_gone_there_is_room_again() -> None:
    async def story() -> bytes:
        reader = Bodies(4 * bodies.SMALL, 0.05)
        large = bytes(4 * bodies.SMALL - 1)
        half = [reader.read({}, arriving(part(large, True))) for _ in range(2 * bodies.TOGETHER)]
        await asyncio.gather(*half, return_exceptions=True)
        return await reader.read({}, arriving(part(large, True), part(b"x")))

    assert asyncio.run(story()) == bytes(4 * bodies.SMALL - 1) + b"x"
