# SPDX-License-Identifier: Apache-2.0
"""The model runs when it can answer in time, and where it delays nobody."""

from __future__ import annotations

import asyncio
import threading
import time
import types

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dropfit import admission
from dropfit.admission import SLOWEST, Cost, Lane, measure


class Model:
    """A model whose runs take as long as told, by a clock of its own."""

    def __init__(self, fixed: float, per_row: float, monkeypatch: pytest.MonkeyPatch) -> None:
        self.fixed, self.per_row, self.now = fixed, per_row, 0.0
        self.asked: list[int] = []
        monkeypatch.setattr(admission, "time", types.SimpleNamespace(perf_counter=lambda: self.now))

    def __call__(self, rows: int) -> None:
        self.asked.append(rows)
        self.now += self.fixed + rows * self.per_row


def test_the_cost_of_a_model_is_found_by_asking_it(monkeypatch: pytest.MonkeyPatch) -> None:
    model = Model(0.002, 0.001, monkeypatch)
    cost = measure(model)
    assert (cost.fixed, cost.per_row) == pytest.approx((0.002, 0.001))
    assert cost.estimate(40) == pytest.approx(0.042)


def test_a_quick_model_is_asked_for_many_rows_and_a_very_slow_one_for_two(monkeypatch: pytest.MonkeyPatch) -> None:
    quick = Model(1e-5, 1e-6, monkeypatch)
    measure(quick)
    assert max(quick.asked) == 64
    slow = Model(0.0, 0.05, monkeypatch)
    assert measure(slow).per_row == pytest.approx(0.05)
    assert max(slow.asked) == 2


@given(st.lists(st.floats(0, 1e6), min_size=1, max_size=50))
def test_whatever_runs_are_observed_an_estimate_stays_positive_and_bounded(seconds: list[float]) -> None:
    cost = Cost(0.001, 0.001)
    for taken in seconds:
        cost.observe(1, taken)
    assert 0 <= cost.estimate(1) <= SLOWEST * 0.002 * (1 + 1e-6)


def test_an_estimate_follows_a_model_that_becomes_slower_and_recovers() -> None:
    cost = Cost(0.001, 0.0)
    for _ in range(40):
        cost.observe(1, 0.004)
    assert cost.estimate(1) == pytest.approx(0.004, rel=0.05)
    for _ in range(40):
        cost.observe(1, 0.001)
    assert cost.estimate(1) == pytest.approx(0.001, rel=0.05)


def test_a_run_is_admitted_only_if_it_is_expected_to_end_in_time() -> None:
    lane, cost, now = Lane(), Cost(0.0, 20.0), time.monotonic()
    assert lane.admits(cost, 4, now + 100)
    assert not lane.admits(cost, 64, now + 100)


def test_what_waits_in_the_thread_counts() -> None:
    async def story() -> list[bool]:
        lane, cost, go = Lane(), Cost(0.0, 200.0), threading.Event()
        running = asyncio.create_task(lane.run(go.wait, cost, 1, time.monotonic() + 600))
        await asyncio.sleep(0)
        alone, behind = lane.admits(cost, 1, time.monotonic() + 250), lane.admits(cost, 1, time.monotonic() + 500)
        go.set()
        await running
        return [alone, behind, lane.idle, lane.backlog(time.monotonic()) == 0]

    assert asyncio.run(story()) == [False, True, True, True]


def test_a_model_that_was_too_slow_of_late_is_tried_again_after_a_pause(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(admission, "PROBE", 60.0)  # longer than a busy machine holds this test up
    lane, cost = Lane(), Cost(0.0, 20.0)
    cost.scale = 10.0
    admitted = [lane.admits(cost, 1, time.monotonic() + 100) for _ in range(5)]
    assert admitted == [True, False, False, False, False]
    lane._probed -= 60.0
    assert lane.admits(cost, 1, time.monotonic() + 100)


def test_a_model_that_never_was_quick_enough_is_not_tried() -> None:
    lane, cost = Lane(), Cost(0.0, 0.02)
    assert not any(lane.admits(cost, 64, time.monotonic() + 0.1) for _ in range(3))


def test_a_slow_run_holds_up_neither_the_event_loop_nor_its_own_request_beyond_the_deadline() -> None:
    async def story() -> tuple[object, float, int]:
        lane, go, turns = Lane(), threading.Event(), 0
        begun = time.monotonic()
        run = asyncio.create_task(lane.run(lambda: go.wait(60), Cost(0.01, 0.0), 1, begun + 1))
        while not run.done():
            turns += 1
            await asyncio.sleep(0.001)
        took = time.monotonic() - begun
        go.set()
        return run.result(), took, turns

    result, took, turns = asyncio.run(story())
    assert result is None
    assert took < 30
    assert turns > 10


def test_a_run_whose_deadline_passed_while_it_waited_is_not_begun() -> None:
    async def story() -> int:
        lane, cost, go, begun = Lane(), Cost(0.0, 0.001), threading.Event(), []
        first = asyncio.create_task(lane.run(go.wait, cost, 1, time.monotonic() + 60))
        await asyncio.sleep(0)
        assert await lane.run(lambda: begun.append(1), cost, 1, time.monotonic() + 0.02) is None
        go.set()
        await first
        await lane.run(lambda: None, cost, 1, time.monotonic() + 60)  # after it, the thread has seen both
        return len(begun)

    assert asyncio.run(story()) == 0


def test_what_the_work_raises_reaches_the_request_and_the_lane_goes_on() -> None:
    async def story() -> object:
        lane, cost = Lane(), Cost(0.0, 0.001)

        def broken() -> None:
            raise RuntimeError("no model")

        with pytest.raises(RuntimeError, match="no model"):
            await lane.run(broken, cost, 1, time.monotonic() + 60)
        return await lane.run(lambda: "well", cost, 1, time.monotonic() + 60)

    assert asyncio.run(story()) == "well"
