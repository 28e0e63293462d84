# SPDX-License-Identifier: Apache-2.0
"""Two models are compared row by row, and chance is measured by whole blocks of time."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from fakes import pots, tea
from hypothesis import given, settings
from hypothesis import strategies as st

from dropfit import comparison, metrics
from dropfit.contract import Label, Probability, Quantity

SEED = 11
TARGETS = {
    "log_loss": Probability(name="drunk"),
    "brier": Probability(name="drunk"),
    "rmse": Quantity(name="joy"),
    "mae": Quantity(name="joy"),
}


def answers(metric: str, seed: int, rows: int = 60) -> tuple[Any, Any]:
    """A truth, and some model's raw output."""
    chance = np.random.default_rng(seed)
    if metric in ("rmse", "mae"):
        return np.random.default_rng(0).normal(0, 1, rows), chance.normal(0, 1, (rows, 1))
    positive = chance.uniform(0.05, 0.95, rows)
    return np.random.default_rng(0).integers(0, 2, rows), np.column_stack([1 - positive, positive])


@given(st.sampled_from(list(TARGETS)), st.integers(0, 50))
def test_the_mean_loss_of_the_rows_is_the_metric(metric: str, seed: int) -> None:
    truth, raw = answers(metric, seed)
    mean = comparison.losses(metric, truth, raw).mean()
    assert comparison.value(metric, mean) == pytest.approx(metrics.measure(TARGETS[metric], truth, raw)[metric])


def test_a_certain_and_wrong_answer_costs_what_scikit_learn_says() -> None:
    truth, raw = np.array([0, 1]), np.array([[0.0, 1.0], [0.5, 0.5]], dtype=np.float32)
    mean = comparison.losses("log_loss", truth, raw).mean()
    assert np.isfinite(mean)
    assert mean == pytest.approx(metrics.measure(Probability(name="drunk"), truth, raw)["log_loss"])


@given(st.sampled_from(list(TARGETS)), st.integers(0, 50), st.integers(2, 20))
@settings(max_examples=30)
def test_a_model_differs_from_itself_by_nothing(metric: str, seed: int, blocks: int) -> None:
    ours = comparison.losses(metric, *answers(metric, seed))
    found = comparison.compare(metric, ours, ours, np.arange(60) % blocks, SEED)
    assert found is not None
    assert (found.value, found.low, found.high) == (0.0, 0.0, 0.0)
    assert found.blocks == blocks


@given(st.sampled_from(list(TARGETS)), st.integers(0, 50), st.integers(51, 99), st.integers(2, 20))
@settings(max_examples=30)
def test_exchanging_the_models_turns_the_difference_round(metric: str, one: int, other: int, blocks: int) -> None:
    ours, theirs = (comparison.losses(metric, *answers(metric, seed)) for seed in (one, other))
    where = np.arange(60) % blocks
    there, back = (comparison.compare(metric, *pair, where, SEED) for pair in ((ours, theirs), (theirs, ours)))
    assert there is not None
    assert back is not None
    assert (there.value, there.low, there.high) == pytest.approx((-back.value, -back.high, -back.low))
    assert there.low <= there.value <= there.high


def test_days_that_stand_together_make_the_interval_wider_than_their_rows_would() -> None:
    days, each = 12, 200
    chance = np.random.default_rng(SEED)
    weather = np.repeat(chance.normal(0, 0.2, days), each)  # what a whole day shares
    ours, theirs = 1.0 + weather + chance.normal(0, 0.1, days * each), np.ones(days * each)
    by_day = comparison.compare("mae", ours, theirs, np.repeat(np.arange(days), each), SEED)
    by_row = comparison.compare("mae", ours, theirs, np.arange(days * each), SEED)
    assert by_day is not None
    assert by_row is not None
    assert by_day.value == by_row.value
    assert by_day.high - by_day.low > 5 * (by_row.high - by_row.low)


@pytest.mark.parametrize("blocks", [3, 6, 30])
def test_the_interval_holds_the_true_difference_as_often_as_it_says(blocks: int) -> None:
    chance, each, held = np.random.default_rng(SEED), 20, 0
    for _ in range(200):
        shared = np.repeat(chance.normal(0, 1, blocks), each)
        ours = 5 + shared + chance.normal(0, 1, blocks * each)
        found = comparison.compare("mae", ours, np.full(blocks * each, 5.0), np.repeat(np.arange(blocks), each), SEED)
        assert found is not None
        held += found.low <= 0 <= found.high
    assert 180 <= held <= 200


def test_one_block_says_nothing_about_chance() -> None:
    assert comparison.compare("mae", np.ones(9), np.zeros(9), np.zeros(9, dtype=int), SEED) is None


def test_a_slice_that_has_become_worse_is_found_among_those_that_have_not() -> None:
    rows = pots(4000)
    spoiled = rows["leaf"] == "sencha"
    chance = np.random.default_rng(SEED)
    theirs = chance.uniform(0.9, 1.1, 4000)
    groups = comparison.groups(tea(), ("leaf", "minutes"), rows, 100)
    found = comparison.slices("mae", groups, theirs + 0.2 * spoiled, theirs, np.arange(4000) % 8, SEED, 0.1)
    assert [(s.feature, s.value) for s in found if s.worse] == [("leaf", "sencha")]
    assert {s.feature for s in found} == {"leaf", "minutes"}
    assert sum(s.rows for s in found if s.feature == "leaf") == 4000


def test_without_a_champion_slices_are_told_and_none_is_worse() -> None:
    rows = pots()
    groups = comparison.groups(tea(), ("leaf",), rows, 10)
    found = comparison.slices("mae", groups, np.ones(300), None, np.arange(300) % 8, SEED, 0.1)
    assert [s.value for s in found] == ["assam", "earl grey", "sencha"]
    assert not any(s.worse or s.difference for s in found)


def test_numbers_are_cut_into_quarters_and_what_is_missing_stands_alone() -> None:
    rows = pots(400)
    rows["minutes"][:40] = np.nan
    found = comparison.groups(tea(), ("minutes", "cup"), rows, 1)
    by_feature = [(feature, value, int(mask.sum())) for feature, value, mask in found]
    assert [v for f, v, _ in by_feature if f == "cup"] == ["large", "small", "missing"]
    assert sum(n for f, _, n in by_feature if f == "minutes") == 400
    assert ("minutes", "missing", int(np.isnan(rows["minutes"]).sum())) in by_feature
    assert len([f for f, _, _ in by_feature if f == "minutes"]) == 5


def test_a_slice_of_few_rows_is_not_judged() -> None:
    rows = pots(300)
    rows["leaf"][:] = "assam"
    rows["leaf"][:5] = "sencha"
    assert [v for _, v, _ in comparison.groups(tea(), ("leaf",), rows, 10)] == ["assam"]


def test_versions_that_answer_different_questions_are_not_compared_and_the_reason_is_told() -> None:
    label = Label(name="verdict", values=("awful", "good"))
    mine = tea(target=label)
    assert comparison.incomparable(mine, mine, ("awful", "good"), ("good", "awful")) == ""
    assert "classes" in comparison.incomparable(mine, mine, ("awful", "good"), ("awful",))
    assert "probability drunk" in comparison.incomparable(mine, tea(), (), ())
    fewer = tea(features=tea().features[:2], derived=(), derive=None, key=("leaf", "cup"))
    assert "minutes" in comparison.incomparable(fewer, tea(), (), ())
    assert comparison.incomparable(tea(), fewer, (), ()) == ""
