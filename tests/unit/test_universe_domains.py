# SPDX-License-Identifier: Apache-2.0
"""A table may hold every combination of what is declared, as far as that has an end."""

from __future__ import annotations

from typing import Any

import pytest
from counted_keys import TEA, arrow, counts_of
from fakes import settings, tea

from dropfit import domains, population
from dropfit.contract import Category, Contract, Number
from dropfit.counting import Seen
from dropfit.errors import SettingsError

CUP = Category(name="cup", values=("small", "large"), missing=True)
STEEP = Number(name="minutes", minimum=0.5, maximum=3, integer=True)
LEAF = Category(name="leaf", values=("assam", "sencha"))


def steeped(*key: Any) -> Contract:
    features = (*key, next(f for f in TEA.features if f.name == "warmth"))
    return tea(features=features, key=tuple(f.name for f in key), policy=tea().policy).contract


def test_the_domains_are_every_combination_of_what_is_declared() -> None:
    contract = steeped(LEAF, CUP, STEEP)
    counted = Seen(contract)
    counted.add(arrow([("sencha", None, 2.0), ("sencha", None, 2.0), ("assam", "large", 3.0)]))
    found = domains.domains(contract, counted.universe(), 100)
    told = counts_of(found)
    wanted = {f"{leaf}\t{cup}\t{n}" for leaf in LEAF.values for cup in ("small", "large", "\\N") for n in (1, 2, 3)}
    assert set(told) == wanted
    assert len(found) == len(wanted) == 18
    assert list(told.items())[:2] == [("sencha\t\\N\t2", 2), ("assam\tlarge\t3", 1)]
    assert sum(told.values()) == 3
    assert found.notes == ()


def test_a_category_without_declared_values_has_those_that_were_seen_and_that_is_said() -> None:
    contract = steeped(Category(name="leaf"), CUP, STEEP)
    counted = Seen(contract)
    counted.add(arrow([("mate", None, 2.0), ("assam", "large", 3.0)]))
    found = domains.domains(contract, counted.universe(), 100)
    assert {key.split("\t")[0] for key in counts_of(found)} == {"mate", "assam"}
    assert found.notes == ("leaf: no values are declared, so those seen in accepted rows are taken",)


@pytest.mark.parametrize(
    "minutes",
    [
        Number(name="minutes", minimum=0, maximum=9),
        Number(name="minutes", minimum=0, integer=True),
        Number(name="minutes", maximum=9, integer=True),
    ],
    ids=["not whole", "no maximum", "no minimum"],
)
def test_a_number_that_can_be_anything_has_no_domain_and_the_refusal_says_what_to_do(minutes: Number) -> None:
    contract = steeped(LEAF, CUP, minutes)
    counted = Seen(contract)
    counted.add(arrow([("assam", None, 2.0)]))
    with pytest.raises(
        SettingsError, match=r"minutes can have any value; declare integer=True.*DROPFIT_UNIVERSE=seen"
    ):
        domains.domains(contract, counted.universe(), 100)


def test_domains_larger_than_the_table_may_be_are_refused_with_their_number_before_they_are_made() -> None:
    contract = steeped(LEAF, CUP, Number(name="minutes", minimum=1, maximum=10**15, integer=True))
    counted = Seen(contract)
    counted.add(arrow([("assam", None, 2.0)]))
    wanted = r"2 leaf x 3 cup x 1,000,000,000,000,000 minutes are 6,000,000,000,000,000 keys.*allows 10,000,000"
    with pytest.raises(SettingsError, match=wanted):
        population.chosen(contract, counted.universe(), settings(universe="domains"))
