# SPDX-License-Identifier: Apache-2.0
"""What the local Eventarc does to events on purpose."""

from __future__ import annotations

import asyncio
import json

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from localcloud.eventarc.chaos import Chaos, fate, unruly
from localcloud.eventarc.options import Options
from localcloud.eventarc.queue import Event

WILD = Chaos(seed=7, copies=5, delay=0.05)


def announce(number: int, attempts: int = 0, message: str = "1") -> Event:
    body = json.dumps({"name": f"{number}.csv", "generation": str(number)}).encode()
    return Event(message, {"ce-subject": f"objects/{number}.csv"}, body, received=0, due=0, attempts=attempts)


def deliver(
    chaos: Chaos, count: int, answers: tuple[str | None, ...] = (None,)
) -> tuple[list[int], list[str | None]]:
    """What arrived in which order, and what the delivery loop was told of each event."""
    arrived: list[int] = []

    async def target(event: Event) -> str | None:
        arrived.append(int(json.loads(event.body)["generation"]))
        return answers[len(arrived) % len(answers)]

    async def everything() -> list[str | None]:
        send = unruly(target, chaos)
        return list(await asyncio.gather(*(send(announce(number)) for number in range(count))))

    return arrived, asyncio.run(everything())


def test_nothing_is_wild_unless_somebody_says_so() -> None:
    assert not Options().chaos.on
    assert deliver(Options().chaos, 5) == (list(range(5)), [None] * 5)


def test_every_event_arrives_one_to_five_times_and_out_of_order() -> None:
    arrived, told = deliver(WILD, 200)
    times = {number: arrived.count(number) for number in range(200)}
    assert set(times.values()) == {1, 2, 3, 4, 5}
    assert told == [None] * 200
    firsts = list(dict.fromkeys(arrived))
    assert firsts != sorted(firsts)


def test_a_dropped_event_never_arrives_and_its_sender_believes_it_did() -> None:
    arrived, told = deliver(Chaos(seed=3, drop=0.3), 300)
    assert 60 <= 300 - len(set(arrived)) <= 120
    assert told == [None] * 300
    dropped = set(range(300)) - set(arrived)
    assert {n for n in range(300) if not fate(Chaos(seed=3, drop=0.3), announce(n, attempts=4)).copies} == dropped


def test_a_copy_that_was_taken_makes_up_for_one_that_was_not() -> None:
    assert deliver(Chaos(copies=5, seed=1), 50, ("HTTP 503", None))[1].count(None) > 25
    arrived, told = deliver(Chaos(copies=5), 20, ("HTTP 503",))
    assert (told, len(arrived) > 20) == (["HTTP 503"] * 20, True)


def test_an_answer_that_gets_lost_is_a_failure_to_the_one_who_sent() -> None:
    arrived, told = deliver(Chaos(fail=1.0), 10)
    assert sorted(arrived) == list(range(10))
    assert told == ["chaos: the answer was lost"] * 10


@given(st.integers(), st.integers(0, 10**6), st.integers(0, 5))
def test_a_fate_depends_on_seed_and_upload_and_not_on_the_message(seed: int, number: int, attempts: int) -> None:
    chaos = Chaos(seed=seed, copies=5, delay=1.0, fail=0.5)
    assert fate(chaos, announce(number, attempts, "1")) == fate(chaos, announce(number, attempts, "2"))


def test_the_process_is_told_as_json() -> None:
    options = Options(chaos=WILD)
    assert msgspec.json.decode(msgspec.json.encode(options), type=Options) == options
