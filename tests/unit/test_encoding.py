# SPDX-License-Identifier: Apache-2.0
"""Rows become the model's matrix, alike for one row and for a million."""

from __future__ import annotations

from typing import Any

import msgspec
import numpy as np
import pytest
from fakes import LEAVES, pots, tea
from hypothesis import given
from hypothesis import strategies as st

from dropfit import encoding
from dropfit.contract import Columns
from dropfit.encoding import Encoder, Encoding, learn, take
from dropfit.errors import ArtifactError
from dropfit.keys import joined

PROBLEM = tea()
ROWS = pots(200)
LEARNED = learn(PROBLEM, ROWS)


def encoder() -> Encoder:
    return Encoder(PROBLEM.contract, LEARNED, PROBLEM.derive)


def batch(**columns: list[Any]) -> Columns:
    kinds = {"leaf": object, "cup": object}
    return {name: np.array(values, dtype=kinds.get(name, np.float64)) for name, values in columns.items()}


ROW = st.fixed_dictionaries(
    {
        "leaf": st.sampled_from([*LEAVES, "never seen"]),
        "cup": st.sampled_from(["small", "large", None]),
        "minutes": st.one_of(st.just(np.nan), st.floats(0, 60)),
        "warmth": st.one_of(st.just(np.nan), st.floats(0, 100)),
    }
)


@given(st.lists(ROW, min_size=1, max_size=20))
def test_the_matrix_of_one_row_is_that_rows_line_of_the_batchs_matrix(rows: list[dict[str, Any]]) -> None:
    columns = batch(**{name: [row[name] for row in rows] for name in rows[0]})
    whole = encoder().matrix(columns)
    assert whole.shape == (len(rows), 5)
    assert whole.dtype == np.float32
    assert whole.flags.c_contiguous
    for number in range(len(rows)):
        np.testing.assert_array_equal(encoder().matrix(take(columns, np.array([number])))[0], whole[number])


def test_a_categorys_code_is_its_place_in_the_sorted_vocabulary() -> None:
    matrix = encoder().matrix(
        batch(leaf=list(LEAVES), cup=["large", "small", "small"], minutes=[1] * 3, warmth=[1] * 3)
    )
    assert matrix[:, 0].tolist() == [0, 1, 2]
    assert matrix[:, 1].tolist() == [0, 1, 1]


def test_unseen_and_missing_are_nan_and_nothing_else_is() -> None:
    matrix = encoder().matrix(
        batch(
            leaf=["never seen", "assam", "assam"],
            cup=["small", None, "small"],
            minutes=[1, 2, np.nan],
            warmth=[50] * 3,
        )
    )
    assert np.isnan(matrix).tolist() == [
        [True, False, False, False, False],
        [False, True, False, False, False],
        [False, False, True, False, True],
    ]


def test_a_feature_that_others_determine_is_filled_in_when_it_is_missing_and_only_then() -> None:
    filled = encoder().complete(batch(leaf=["assam", "assam", "never seen"], warmth=[np.nan, 1, np.nan]))["warmth"]
    np.testing.assert_array_equal(filled, [60, 1, np.nan])


def test_completing_leaves_the_callers_columns_alone() -> None:
    given_columns = batch(leaf=["assam"], warmth=[np.nan])
    encoder().complete(given_columns)
    assert np.isnan(given_columns["warmth"][0])


def test_the_newest_value_is_the_one_that_is_pinned() -> None:
    rows = {**pots(3), "leaf": np.array(["assam"] * 3, dtype=object), "warmth": np.array([50, 60, np.nan])}
    assert learn(PROBLEM, rows).pinned["warmth"].values == {"assam": 60.0}


def test_derived_features_see_what_was_filled_in() -> None:
    matrix = encoder().matrix(batch(leaf=["assam"], cup=["small"], minutes=[2], warmth=[np.nan]))
    assert matrix[0, 4] == 120


def test_what_was_learned_survives_the_journey_through_its_file() -> None:
    assert encoding.loads(msgspec.json.encode(LEARNED)) == LEARNED


@pytest.mark.parametrize("payload", [b"", b"{}", b'{"vocabularies": []}', b"\x80\x04pickle"])
def test_a_file_that_is_no_encoding_is_refused(payload: bytes) -> None:
    with pytest.raises(ArtifactError):
        encoding.loads(payload)


def test_a_contract_with_derived_features_cannot_be_served_without_their_function() -> None:
    with pytest.raises(ArtifactError, match="derive"):
        Encoder(PROBLEM.contract, LEARNED)


@given(st.lists(st.integers(-(10**6), 10**6), min_size=1, max_size=5))
def test_whole_numbers_make_the_same_key_whatever_their_type(values: list[int]) -> None:
    as_floats = joined({"n": np.array(values, dtype=np.float64)}, ("n",))
    assert as_floats == joined({"n": np.array(values)}, ("n",))
    assert as_floats == [str(v) for v in values]


@given(
    st.lists(st.tuples(st.floats(allow_nan=False, allow_infinity=False), st.text("abc ", max_size=3)), max_size=10)
)
def test_two_rows_have_one_key_only_when_their_values_are_equal(rows: list[tuple[float, str]]) -> None:
    columns = {"n": np.array([n for n, _ in rows]), "t": np.array([t for _, t in rows], dtype=object)}
    assert len(set(joined(columns, ("n", "t")))) == len(set(rows))


def test_values_that_hold_the_separator_do_not_make_one_key_of_two() -> None:
    columns = batch(leaf=["a\tb", "a"], cup=["c", "b\tc"])
    assert len(set(joined(columns, ("leaf", "cup")))) == 2


def test_an_empty_batch_makes_an_empty_matrix() -> None:
    nothing = batch(leaf=[], cup=[], minutes=[], warmth=[])
    assert encoder().matrix(nothing).shape == (0, 5)
    assert encoding.length(nothing) == 0
    assert encoding.length({}) == 0


def test_a_contract_without_categories_or_pins_learns_ranges_alone() -> None:
    plain = tea(features=(tea().feature("minutes"),), key=("minutes",), derived=(), derive=None)
    assert learn(plain, ROWS) == Encoding({}, {}, {"minutes": (0.0, 9.0)})


def test_the_range_of_every_number_is_learned_the_derived_ones_included() -> None:
    rows = {
        **take(ROWS, np.arange(3)),
        "minutes": np.array([np.nan, 2.0, 5.0]),
        "warmth": np.array([60.0, 80.0, 70.0]),
    }
    strength = PROBLEM.derive(rows)["strength"]
    ranges = learn(PROBLEM, rows, PROBLEM.derive).ranges
    assert ranges["minutes"] == (2.0, 5.0)
    assert ranges["warmth"] == (60.0, 80.0)
    assert ranges["strength"] == (np.nanmin(strength), np.nanmax(strength))
    assert set(ranges) == {"minutes", "warmth", "strength"}


def test_a_number_that_no_row_gives_has_no_range() -> None:
    rows = {**ROWS, "minutes": np.full(200, np.nan)}
    assert "minutes" not in learn(PROBLEM, rows).ranges


def test_what_older_versions_learned_has_no_ranges() -> None:
    assert encoding.loads(b'{"vocabularies": {"leaf": ["assam"]}, "pinned": {}}').ranges == {}


@given(st.lists(ROW, min_size=1, max_size=20))
def test_a_row_among_many_has_the_key_that_it_has_alone(rows: list[dict[str, object]]) -> None:
    few = {name: np.array([row[name] for row in rows], dtype=object) for name in rows[0]}
    many = {name: np.tile(values, 100) for name, values in few.items()}
    assert joined(many, list(many)) == joined({n: v[:20] for n, v in few.items()}, list(few)) * 100
