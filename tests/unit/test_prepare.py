# SPDX-License-Identifier: Apache-2.0
"""What an adopter's prepare makes is held to the declaration, and what goes wrong in it is named."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from fakes import tea
from taking_in import GOOD, as_csv, taken_in

from dropfit.contract import Category, Columns
from dropfit.errors import BadFile


def broken_prepare(columns: Columns) -> Columns:
    raise KeyError("kettle")


@pytest.mark.parametrize(
    ("prepare", "says"),
    [
        (broken_prepare, "KeyError: 'kettle'"),
        (lambda columns: {"pot": columns["pot"][:1]}, "pot"),
    ],
)
def test_a_prepare_that_fails_is_named_and_the_file_waits(prepare: Any, says: str) -> None:
    with pytest.raises(BadFile, match="prepare") as refused:
        taken_in(as_csv([GOOD, {**GOOD, "pot": 2}]), tea(prepare=prepare))
    assert refused.value.code == "prepare"
    assert says in refused.value.reason


def test_a_prepare_that_forgets_a_column_is_told_which() -> None:
    problem = tea(columns=tuple(c for c in tea().columns if c.name != "pot"), prepare=lambda columns: {})
    with pytest.raises(BadFile, match=r"prepare.*pot"):
        taken_in(as_csv([GOOD]), problem)


def test_what_prepare_makes_may_be_of_any_numpy_kind_that_fits() -> None:
    problem = tea(
        prepare=lambda columns: {
            "leaf": np.array(["assam"] * len(columns["leaf"])),
            "minutes": columns["minutes"] > 1,
        }
    )
    columns = taken_in(as_csv([GOOD]), problem).columns
    assert (columns["leaf"].tolist(), columns["minutes"].tolist()) == (["assam"], [1.0])


@pytest.mark.parametrize(
    ("column", "made", "says"),
    [
        ("minutes", ["soon"], "minutes must hold numbers and holds text"),
        ("leaf", [3.0], "leaf must hold text and holds numbers"),
        ("drunk", ["yes"], "drunk must hold numbers and holds text"),
        ("brewed", ["in spring"], "brewed must hold numbers or dates and holds text"),
    ],
)
def test_each_column_that_prepare_makes_of_another_kind_is_told_with_what_it_should_hold(
    column: str, made: list[Any], says: str
) -> None:
    problem = tea(prepare=lambda columns: {column: np.array(made)})
    with pytest.raises(BadFile) as refused:
        taken_in(as_csv([GOOD]), problem)
    assert (refused.value.code, refused.value.reason) == ("prepare", f"problem.py's prepare: {says}")


def test_a_target_in_words_that_prepare_forgets_to_translate_is_not_accepted_as_it_stands() -> None:
    words = tuple(Category(name="drunk") if c.name == "drunk" else c for c in tea().columns)
    with pytest.raises(BadFile, match="drunk must hold numbers and holds text"):
        taken_in(as_csv([{**GOOD, "drunk": "yes"}]), tea(columns=words, prepare=lambda columns: {}))


def test_what_prepare_makes_is_held_to_the_declaration_of_its_feature() -> None:
    problem = tea(prepare=lambda columns: {"minutes": columns["minutes"] * 10})
    found = taken_in(as_csv([GOOD, {**GOOD, "pot": 2, "minutes": 30}]), problem)
    assert found.reasons == [(2, "minutes", "above 60")]
