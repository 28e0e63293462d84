# SPDX-License-Identifier: Apache-2.0
"""The rows that judge are the newest that neither version has learned from."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from fakes import pots, tea
from hypothesis import given
from hypothesis import strategies as st

from dropfit import holdout
from dropfit.contract import Gate
from dropfit.encoding import take
from dropfit.errors import ArtifactError
from dropfit.holdout import Seen, plan


def rows_of(days: list[int]) -> dict[str, Any]:
    made = pots(len(days))
    made["brewed"] = np.datetime64("2013-01-01", "us") + np.array(days).astype("timedelta64[D]")
    return made


def month(first: int, days: int, each: int = 10) -> list[int]:
    return [first + day for day in range(days) for _ in range(each)]


def known(rows: dict[str, Any], count: int, trial: int | None = None) -> Seen:
    """A version fitted on the first rows, its trial on fewer."""
    place = np.arange(len(rows["pot"]))
    return Seen(place < count, None if trial is None else place < trial)


def days_of(rows: dict[str, Any], mask: Any) -> set[str]:
    return {str(day)[:10] for day in rows["brewed"][mask]}


def test_against_a_served_version_the_newest_fifth_of_the_days_new_to_it_is_held_out() -> None:
    rows = rows_of(month(0, 31) + month(31, 28))
    held = plan(tea(), rows, known(rows, 310, 250))
    assert (held.first, held.last, held.method) == ("2013-02-23", "2013-02-28", "newest")
    where = holdout.blocks(tea(), rows)
    assert holdout.opponent(tea(), where, held.mask, known(rows, 310, 250))[0] == "final"


def test_rows_that_the_served_version_was_fitted_on_never_judge_its_model_even_if_they_are_newer() -> None:
    rows = rows_of(month(0, 31) + month(60, 31) + month(31, 28))  # February comes last
    seen = known(rows, 620, 500)
    held = plan(tea(), rows, seen)
    assert not (held.mask & seen.fitted).any()
    assert (held.first, held.last) == ("2013-02-23", "2013-02-28")


def test_one_new_day_is_too_few_and_its_trial_stands_for_the_served_version() -> None:
    rows = rows_of([*month(0, 31), *month(31, 1)])
    seen = known(rows, 310, 250)
    held = plan(tea(), rows, seen)
    represented, scored = holdout.opponent(tea(), holdout.blocks(tea(), rows), held.mask, seen)
    assert represented == "trial"
    assert days_of(rows, scored) == {f"2013-01-{day}" for day in range(27, 32)} | {"2013-02-01"}
    assert not (scored & seen.learned).any()


def test_the_same_rows_again_are_judged_where_the_served_versions_trial_was() -> None:
    rows = rows_of(month(0, 31))
    seen = known(rows, 310, 250)
    held = plan(tea(), rows, seen)
    np.testing.assert_array_equal(held.mask, np.arange(310) >= 250)
    assert holdout.opponent(tea(), holdout.blocks(tea(), rows), held.mask, seen)[0] == "trial"


def test_without_a_trial_and_without_new_days_nothing_can_be_compared_and_it_is_said_what_to_upload() -> None:
    rows = rows_of(month(0, 10))
    seen = known(rows, 100)
    held = plan(tea(), rows, seen)
    assert holdout.opponent(tea(), holdout.blocks(tea(), rows), held.mask, seen)[0] == "none"
    told = holdout.why(tea(), rows, "none", seen)
    assert "0 rows of 0 days are new" in told
    assert "Upload days that are not in yet" in told


def test_of_more_than_a_years_days_blocks_are_counted_and_not_called_days() -> None:
    rows = rows_of(month(0, 500, 2))
    assert "100 rows of 10 blocks are new" in holdout.why(tea(), rows, "final", known(rows, 900))
    rows = rows_of(month(0, 400, 2))
    assert "100 rows of 50 days are new" in holdout.why(tea(), rows, "final", known(rows, 700))


def test_a_few_new_days_are_not_all_held_out_for_then_nothing_new_would_be_judged() -> None:
    rows = rows_of(month(0, 20) + month(20, 7))
    seen = known(rows, 200, 160)
    held = plan(tea(), rows, seen)
    assert days_of(rows, held.mask) == {"2013-01-26", "2013-01-27"}


@given(
    st.lists(st.integers(0, 40), min_size=30, max_size=120),
    st.floats(0, 1),
    st.floats(0, 1),
    st.floats(0.05, 0.9),
    st.booleans(),
)
def test_nobody_is_judged_by_what_he_has_learned(
    days: list[int], part: float, trial: float, share: float, has_trial: bool
) -> None:
    problem = tea(gate=Gate(minimum_rows=10, holdout_share=share))
    rows = rows_of(days)
    count = int(part * len(days))
    seen = known(rows, count, int(trial * count) if has_trial else None)
    held = plan(problem, rows, seen)
    where = holdout.blocks(problem, rows)
    represented, scored = holdout.opponent(problem, where, held.mask, seen)
    assert not (scored & ~held.mask).any()  # the challenger's trial learned from all the others
    if represented != "none":
        assert not (scored & (seen.fitted if represented == "final" else seen.learned)).any()
        assert len(np.unique(where[scored])) >= 2
    else:
        assert not held.mask.all()


def test_a_running_number_is_cut_into_a_hundred_chunks_in_its_order() -> None:
    problem, rows = tea(time="pot"), pots(5000)
    where = holdout.blocks(problem, rows)
    assert where.max() == 99
    assert (np.diff(where) >= 0).all()
    assert len(np.unique(where[plan(problem, rows).mask])) == 20


def test_hours_of_one_day_are_one_block() -> None:
    rows = pots(48)
    rows["brewed"] = np.datetime64("2013-01-01", "us") + np.arange(48).astype("timedelta64[h]")
    assert holdout.blocks(tea(), rows).tolist() == [0] * 24 + [1] * 24


def test_a_version_knows_the_events_it_was_fitted_on_whatever_file_they_come_in() -> None:
    rows = pots(10)
    theirs = take(rows, np.array([7, 2, 4]))
    seen = holdout.seen(tea(), rows, theirs, np.array([False, True, False]))
    assert np.flatnonzero(seen.fitted).tolist() == [2, 4, 7]
    assert np.flatnonzero(seen.learned).tolist() == [4, 7]
    assert holdout.seen(tea(), rows, theirs, None).learned is None


def test_without_an_identity_a_row_is_known_by_all_it_says() -> None:
    problem, rows = tea(identity=()), pots(10)
    seen = holdout.seen(problem, rows, take(rows, np.array([3])), None)
    assert np.flatnonzero(seen.fitted).tolist() == [3]


@given(st.lists(st.booleans(), min_size=1, max_size=200))
def test_a_mask_comes_back_as_it_was_stored(bits: list[bool]) -> None:
    assert holdout.unpacked(holdout.packed(np.array(bits)), len(bits)).tolist() == bits


@pytest.mark.parametrize("payload", [b"", b"no mask", holdout.packed(np.ones(8, dtype=bool))])
def test_what_is_no_mask_of_so_many_rows_is_refused(payload: bytes) -> None:
    with pytest.raises(ArtifactError):
        holdout.unpacked(payload, 900)
