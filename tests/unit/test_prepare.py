# SPDX-License-Identifier: Apache-2.0
"""What an adopter's prepare makes is held to the declaration, and what goes wrong in it is named."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from fakes import tea
from taking_in import GOOD, as_csv, taken_in

from dropfit.contract import Columns
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


def test_what_prepare_makes_of_another_kind_is_named() -> None:
    problem = tea(prepare=lambda columns: {"minutes": np.array(["soon"] * len(columns["minutes"]))})
    with pytest.raises(BadFile, match=r"prepare.*minutes"):
        taken_in(as_csv([GOOD]), problem)


def test_what_prepare_makes_is_held_to_the_declaration_of_its_feature() -> None:
    problem = tea(prepare=lambda columns: {"minutes": columns["minutes"] * 10})
    found = taken_in(as_csv([GOOD, {**GOOD, "pot": 2, "minutes": 30}]), problem)
    assert found.reasons == [(2, "minutes", "above 60")]
