# SPDX-License-Identifier: Apache-2.0
"""Which keys the table holds, how often each was counted, and what is told of them."""

from __future__ import annotations

import collections
import math
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from counted_keys import NUMBERS, ROWS, TEA, arrow, columns, counts_of, seen
from fakes import pots, settings, tea, universe_of
from hypothesis import given
from hypothesis import strategies as st

from dropfit import counting, population, tables, universe
from dropfit.contract import Number
from dropfit.encoding import Encoder, learn, take
from dropfit.errors import ArtifactError
from dropfit.keys import joined
from dropfit.keyset import key_columns, texts
from dropfit.universe import Places


@given(ROWS, st.integers(1, 7), st.booleans(), st.sampled_from([1, 9, counting.PENDING]))
def test_keys_are_counted_as_their_texts_are(rows: list[Any], cuts: int, coded: bool, pending: int) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(counting, "PENDING", pending)
        found = seen(rows, cuts, coded)
    wanted = collections.Counter(joined(columns(rows), TEA.key))
    assert counts_of(found) == wanted
    assert len(found) == len(wanted)
    assert found.total == len(rows)


@given(ROWS)
def test_the_most_frequent_come_first_and_of_one_frequency_in_the_order_of_their_texts(rows: list[Any]) -> None:
    told = counts_of(seen(rows))
    assert list(told) == sorted(told, key=lambda key: (-told[key], key.split("\t")))


@given(ROWS, st.integers(1, 7), st.randoms())
def test_the_order_of_the_rows_changes_nothing(rows: list[Any], cuts: int, chance: Any) -> None:
    shuffled = rows[:]
    chance.shuffle(shuffled)
    assert counts_of(seen(shuffled, cuts)) == counts_of(seen(rows))


@given(ROWS)
def test_a_row_batch_and_an_arrow_table_are_counted_alike(rows: list[Any]) -> None:
    assert list(counts_of(counting.of_rows(TEA, columns(rows))).items()) == list(counts_of(seen(rows)).items())


@given(ROWS, st.integers(1, 5))
def test_a_key_is_read_back_out_of_its_number_however_many_there_can_be(rows: list[Any], small: int) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("dropfit.keyset.LARGEST", small)  # so that each beginning is counted anew
        patch.setattr(counting, "PENDING", 5)
        found = seen(rows, 3)
    axes, numbers = found.axes, found.numbers
    keys = axes.table(numbers)
    assert counts_of(found) == collections.Counter(joined(columns(rows), TEA.key))
    rows = [tuple(row.values()) for row in keys.to_pylist()]
    rows = [(leaf, cup, math.nan if minutes is None else minutes) for leaf, cup, minutes in rows]
    assert axes.texts(numbers) == joined(columns(rows), TEA.key)
    assert (axes.numbers(keys) == numbers).all()
    assert axes.lengths(numbers).tolist() == [len(text.encode()) for text in axes.texts(numbers)]
    for size in range(4):
        begun = axes.beginnings(numbers, size)
        assert axes.texts(begun, size) == joined(columns(rows), TEA.key[:size]) if size else not begun.any()


def test_a_key_that_the_axes_do_not_hold_has_no_number() -> None:
    axes = seen([("assam", "small", 1.0), ("sencha", None, math.nan)]).axes
    strange = [("assam", None, math.nan), ("mate", None, math.nan), ("assam", "small", 2.0), ("assam", "large", 1.0)]
    assert (axes.numbers(key_columns(TEA, arrow(strange))) >= 0).tolist() == [True, False, False, False]


@given(st.lists(NUMBERS | st.floats(-1e18, 1e18)))
def test_numbers_are_written_as_they_stand_in_a_key(numbers: list[float]) -> None:
    column = pa.array(numbers, pa.float64(), from_pandas=True)
    assert texts(column).to_pylist() == joined({"x": np.array(numbers)}, ["x"])
    whole = [None if n != n else int(n) for n in numbers if abs(n) < 2**53 or n != n]
    assert texts(pa.array(whole, pa.int64())).to_pylist() == joined({"x": np.array(whole, dtype=object)}, ["x"])


@given(ROWS, st.integers(1, 9), st.randoms())
def test_rows_of_a_table_find_their_places_whatever_their_order(rows: list[Any], cut: int, chance: Any) -> None:
    found = seen(rows)
    places = Places(TEA, found)
    order = list(range(len(found)))
    chance.shuffle(order)
    table = found.axes.table(found.numbers[order])
    told = [place for begin in range(0, len(order), cut) for place in places.of(table.slice(begin, cut)).tolist()]
    assert told == order


def test_a_key_that_was_not_to_be_predicted_is_told() -> None:
    with pytest.raises(ArtifactError, match="1 keys of the table are none that were to be predicted"):
        Places(TEA, seen([("assam", None, 1.0)])).of(arrow([("assam", None, 2.0)]))


def brewed(leaf: list[str], warmth: list[float], **changes: Any) -> dict[str, Any]:
    """A row a leaf, all else alike."""
    rows = take(pots(len(leaf)), np.arange(len(leaf)))
    alike = {"cup": np.full(len(leaf), "small", dtype=object), "minutes": np.ones(len(leaf))}
    return {**rows, **alike, "leaf": np.array(leaf, dtype=object), "warmth": np.array(warmth), **changes}


def test_a_feature_outside_the_key_has_the_pinned_value_and_not_that_of_some_row() -> None:
    accepted = brewed(["assam", "assam", "sencha"], [60.0, np.nan, 70.0], minutes=np.array([1.0, 2.0, 3.0]))
    accepted["warmth"][0] = 61.0
    problem = tea()
    pinned = Encoder(problem.contract, learn(problem, brewed(["assam"], [80.0])), problem.derive)
    _, found = universe_of(problem.contract, accepted, pinned)
    by_minutes = dict(zip(found["minutes"].tolist(), found["warmth"].tolist(), strict=True))
    assert (by_minutes[1], by_minutes[2]) == (80.0, 80.0)
    assert np.isnan(by_minutes[3]), "nothing was pinned for sencha"


@given(st.integers(0, 5))
def test_a_row_of_the_table_is_what_a_request_gets_that_leaves_such_a_feature_out(seed: int) -> None:
    problem, accepted = tea(), pots(60, seed=seed)
    encoder = Encoder(problem.contract, learn(problem, accepted), problem.derive)
    _, found = universe_of(problem.contract, accepted, encoder)
    left_out = {**found, "warmth": np.full(len(found["leaf"]), np.nan)}
    assert np.array_equal(encoder.matrix(found), encoder.matrix(left_out), equal_nan=True)


def test_a_gap_in_a_key_stays_one_although_it_could_be_filled_in() -> None:
    problem = tea(key=("leaf", "warmth", "cup", "minutes"))
    rows = brewed(["assam", "assam"], [60.0, np.nan])
    encoder = Encoder(problem.contract, learn(problem, rows), problem.derive)
    keys, found = universe_of(problem.contract, rows, encoder)
    assert keys.counts.tolist() == [1, 1]
    assert joined(found, problem.key) == keys.axes.texts(keys.numbers)


def test_the_features_are_typed_as_the_table_is() -> None:
    minutes = Number(name="minutes", integer=True, missing=True)
    problem = tea(features=tuple(minutes if f.name == "minutes" else f for f in TEA.features))
    rows = pots(50)
    encoder = Encoder(problem.contract, learn(problem, rows), problem.derive)
    keys, found = universe_of(problem.contract, rows, encoder)
    (batch,) = keys.features(problem.contract, encoder.encoding)
    assert batch.schema == tables.features_table(problem.contract, found).schema
    assert str(batch.schema.field("minutes").type) == "int64"


@given(ROWS, st.floats(0.01, 1), st.integers(1, 50))
def test_the_most_frequent_keys_reach_the_coverage_or_the_row_budget(
    rows: list[Any], coverage: float, most: int
) -> None:
    every = seen(rows)
    found = universe.frequent(every, coverage, most)
    told = counts_of(found)
    assert list(told.items()) == list(counts_of(every).items())[: len(told)]
    covered = sum(told.values())
    assert covered >= coverage * len(rows) - 1e-6 or len(told) == most
    assert len(told) <= most
    assert covered - found.counts[-1] < coverage * len(rows), "one key fewer would have done"
    assert bool(found.notes) == (universe.covering(every, coverage) > most)


def test_more_keys_than_the_table_may_hold_are_cut_to_the_most_frequent_and_that_is_said() -> None:
    found = population.chosen(
        TEA, seen([("a", None, 1.0), ("b", None, 1.0), ("b", None, 1.0)]), settings(table_rows=1)
    )
    assert counts_of(found) == {"b\t\\N\t1": 2}
    assert found.notes == ("2 keys were seen, and DROPFIT_TABLE_ROWS=1 keeps the most frequent",)
