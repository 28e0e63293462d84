# SPDX-License-Identifier: Apache-2.0
"""A model that is slow, late or failing is stepped down from, and delays nobody else."""

from __future__ import annotations

import asyncio
import threading
import time
import types
from collections.abc import Callable
from typing import Any

import msgspec
import numpy as np
import pytest
from fakes import Shelf
from ladders import GOOD, NEW_CUP, answered, ask, open_

from dropfit import admission
from dropfit.admission import Cost, Lane
from dropfit.ladder import Ladder
from dropfit.served import Served


@pytest.mark.parametrize(("mode", "first"), [("dynamic", "table"), ("hybrid", "backoff")])
def test_what_the_model_cannot_do_in_time_comes_from_the_rungs_below(shelf: Shelf, mode: str, first: str) -> None:
    found = open_(shelf, mode)
    found.ladder.online.cost = Cost(0.0, 0.02)
    instances = [GOOD, NEW_CUP] if mode == "dynamic" else [NEW_CUP, {**NEW_CUP, "leaf": "sencha"}]
    answers = ask(found, *instances, budget=0.01)
    assert [p.source for p in answers] == [first, "backoff"]
    assert {p.steps[0] for p in answers} == {"model: deadline"}
    assert answers[1].steps == ("model: deadline", "table: miss")


def test_a_model_of_half_a_second_a_row_is_asked_for_as_many_rows_as_fit(
    shelf: Shelf, monkeypatch: pytest.MonkeyPatch
) -> None:
    found, now = open_(shelf, "dynamic"), [0.0]

    def spend(seconds: float) -> None:
        now[0] += seconds

    # A run costs what it says, by a clock of its own: what else the machine does is not measured.
    clock = types.SimpleNamespace(perf_counter=lambda: now[0], monotonic=time.monotonic)
    monkeypatch.setattr(admission, "time", clock)
    exchange(found, slowed(found, 0.5, spend))
    found.ladder.online.warm(msgspec.convert(GOOD, found.decoder.kind))
    assert found.ladder.online.cost.per_row == pytest.approx(0.5)
    assert {p.source for p in ask(found, NEW_CUP, budget=20)} == {"model"}
    assert {p.source for p in ask(found, *[NEW_CUP] * 64, budget=20)} == {"backoff"}


def exchange(found: Served, scorer: Any) -> None:
    """Let another model answer."""
    found.ladder.online.use(scorer.model)


def slowed(found: Served, seconds: float, spend: Callable[[float], object] = time.sleep) -> Any:
    """The version's scorer with a model that takes so long a row."""
    scorer, model = found.version.scorer, found.version.scorer.model

    class Slow:
        guard, encoder = scorer.guard, scorer.encoder

        @staticmethod
        def model(matrix: Any) -> Any:
            spend(seconds * len(matrix))
            return model(matrix)

    return Slow()


def test_slow_requests_do_not_delay_quick_ones(shelf: Shelf) -> None:
    found = open_(shelf, "hybrid")
    exchange(found, slowed(found, 0.5))
    found.ladder.online.cost = Cost(0.0, 0.5)
    slow = found.decoder.decode(msgspec.json.encode({"instances": [NEW_CUP] * 4}))
    quick = found.decoder.decode(msgspec.json.encode({"instances": [GOOD]}))

    async def story() -> tuple[list[float], str]:
        running = asyncio.create_task(answered(found.ladder, slow, time.monotonic() + 60))
        took = []
        while not running.done():
            begun = time.monotonic()
            (answer,) = await answered(found.ladder, quick, begun + 1)
            took.append(time.monotonic() - begun)
            assert answer.source == "table"
            await asyncio.sleep(0.001)
        return sorted(took), running.result()[0].source

    took, source = asyncio.run(story())
    assert source == "model"
    assert len(took) > 20
    assert took[len(took) // 2] < 0.2  # a tenth of the slow one


def test_a_run_that_is_later_than_expected_is_not_waited_for(shelf: Shelf) -> None:
    found, answered_first = open_(shelf, "dynamic"), threading.Event()
    exchange(found, slowed(found, 60.0, answered_first.wait))
    found.ladder.online.cost = Cost(0.003, 0.0)
    begun = time.monotonic()
    (answer,) = ask(found, NEW_CUP, budget=0.1)
    took = time.monotonic() - begun
    answered_first.set()
    assert (answer.source, answer.steps[0]) == ("backoff", "model: deadline")
    assert took < 30


@pytest.mark.parametrize("fault", [RuntimeError("a runtime's own"), ZeroDivisionError()])
def test_a_model_that_fails_is_stepped_down_from_and_never_a_stack_trace(shelf: Shelf, fault: Exception) -> None:
    found = open_(shelf, "dynamic")
    scorer = slowed(found, 0)

    def broken(matrix: Any) -> Any:
        raise fault

    scorer.model = broken
    exchange(found, scorer)
    first, second = ask(found, GOOD, NEW_CUP)
    assert (first.source, second.source) == ("table", "backoff")
    assert first.steps == ("model: error",)


def test_only_the_rows_for_which_the_model_gives_no_number_step_down(shelf: Shelf) -> None:
    found = open_(shelf, "dynamic")
    scorer, model = slowed(found, 0), found.version.scorer.model

    def partly(matrix: Any) -> Any:
        raw = model(matrix).copy()
        raw[1] = np.nan
        return raw

    scorer.model = partly
    exchange(found, scorer)
    answers = ask(found, NEW_CUP, NEW_CUP, NEW_CUP)
    assert [p.source for p in answers] == ["model", "backoff", "model"]
    assert answers[1].steps[0] == "model: no number"


def test_a_ladder_without_its_model_measured_yet_answers_at_once(shelf: Shelf) -> None:
    found = open_(shelf, "dynamic")
    fresh = Ladder(found.version, found.snapshot, "dynamic", "fallback", Lane())
    decoded = found.decoder.decode(msgspec.json.encode({"instances": [GOOD]}))
    (answer,) = asyncio.run(answered(fresh, decoded, time.monotonic() + 60))
    assert answer.source == "model"
