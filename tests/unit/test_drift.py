# SPDX-License-Identifier: Apache-2.0
"""Which files are probably another thing, and which only come from another day."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec
import numpy as np
import pytest
from fakes import tea
from hypothesis import given
from hypothesis import strategies as st

from dropfit import drift
from dropfit.contract import Category, Number, Problem, Quantity
from dropfit.profile import MOST_VALUES, Profile, pooled, profile, shape

Columns = dict[str, Any]
SHOPS = [f"{a}{b}{c}" for a in "ABCDE" for b in "XYZ" for c in "KL"]
GOODS = [f"{word}-{n}" for word in ("tea", "cup", "pot") for n in range(10)]


def shop() -> Problem:
    features = (Category(name="shop"), Category(name="goods"), Number(name="price"), Number(name="metres"))
    at = Number(name="metres", given_by=("shop",))
    usual = tea()
    return tea(
        columns=(*features, *(c for c in usual.columns if c.name in ("brewed", "pot")), Number(name="sold")),
        features=(*features[:3], at),
        target=Quantity(name="sold"),
        key=("shop", "goods", "price"),
        derived=(),
        derive=None,
        policy=usual.policy.__class__(),
    )


SHOP = shop()


def day(seed: int, rows: int = 6000, shops: list[str] = SHOPS) -> Columns:
    chance = np.random.default_rng(seed)
    at = chance.integers(0, len(shops), rows)
    return {
        "shop": np.array(shops, dtype=object)[at],
        "goods": np.array(GOODS, dtype=object)[chance.integers(0, len(GOODS), rows)],
        "price": chance.lognormal(2, 0.3, rows),
        "metres": np.array([100.0 + 7 * (hash_of(s) % 50) for s in shops])[at],
        "sold": chance.poisson(5, rows).astype(float),
    }


def hash_of(name: str) -> int:
    return sum(ord(c) * 31**i for i, c in enumerate(name))


def looks(columns: Columns) -> Profile:
    return profile(SHOP, columns)


def strange(columns: Columns, *references: Columns, share: float = 0.5) -> list[str]:
    return [f.column for f in drift.judge([looks(r) for r in references or (day(1),)], looks(columns), share)]


def mapped(name: str, change: Callable[[Any], Any]) -> Callable[[Columns], Columns]:
    def of(columns: Columns) -> Columns:
        values = columns[name]
        made = np.array([change(v) for v in values], dtype=object) if values.dtype == object else change(values)
        return {**columns, name: made}

    return of


HONEST: dict[str, Callable[[Columns], Columns]] = {
    "the next day": lambda c: c,
    "sales double": mapped("sold", lambda v: v * 2),
    "prices rise by a third": mapped("price", lambda v: v * 1.33),
    "prices double": mapped("price", lambda v: v * 2),
    "some shops are new": mapped("shop", lambda v: "FXK" if v[0] in "AB" else v),
    "a new shop alone": mapped("shop", lambda v: "FXK"),
    "one kind of goods alone": mapped("goods", lambda v: "tea-1"),
    "shops have moved a little": mapped("metres", lambda v: v * 1.1),
    "a third of the prices is missing": mapped("price", lambda v: np.where(np.arange(len(v)) % 3, v, np.nan)),
}
MISTAKEN: dict[str, tuple[str, Callable[[Columns], Columns]]] = {
    "price in cents": ("price", mapped("price", lambda v: v * 100)),
    "pounds for kilograms": ("price", mapped("price", lambda v: v * 2.204623)),
    "the sign is turned": ("price", mapped("price", lambda v: -v)),
    "prices far from all": ("price", mapped("price", lambda v: v + 5000)),
    "nearly all prices missing": ("price", mapped("price", lambda v: np.where(np.arange(len(v)) % 9, np.nan, v))),
    "feet for metres": ("metres", mapped("metres", lambda v: v * 3.280840)),
    "metres of other shops": ("metres", mapped("metres", lambda v: 30 * np.roll(v, 1))),
    "lower case": ("shop", mapped("shop", str.lower)),
    "codes for names": ("shop", mapped("shop", lambda v: str(SHOPS.index(v)))),
    "another punctuation": ("goods", mapped("goods", lambda v: v.replace("-", "_"))),
    "shifted columns": ("shop", lambda c: {**c, "shop": c["goods"], "goods": c["shop"]}),
    "nearly all goods missing": ("goods", mapped("goods", lambda v: None if v != "tea-1" else v)),
}


@pytest.mark.parametrize("name", HONEST)
def test_honest_change_passes(name: str) -> None:
    assert strange(HONEST[name](day(2))) == []
    assert strange(HONEST[name](day(2)), *(day(n) for n in range(3, 8))) == []


@pytest.mark.parametrize("name", MISTAKEN)
def test_a_mistake_is_found_beside_one_file_and_beside_many(name: str) -> None:
    column, change = MISTAKEN[name]
    assert column in strange(change(day(2)))
    assert column in strange(change(day(2)), *(day(n) for n in range(3, 8)))


@pytest.mark.parametrize("name", MISTAKEN)
def test_what_was_accepted_once_is_no_longer_strange(name: str) -> None:
    change = MISTAKEN[name][1]
    assert strange(change(day(2)), day(3), change(day(4)), day(5)) == []


def test_the_reason_says_what_was_seen_and_what_is_usual() -> None:
    (found,) = drift.judge([looks(day(1))], looks(MISTAKEN["feet for metres"][1](day(2))))
    assert found.column == "metres"
    assert "3.28 times as large (as feet are to metres)" in found.reason
    (found,) = drift.judge([looks(day(1))], looks(MISTAKEN["lower case"][1](day(2))))
    assert "known names written otherwise in 100% of the rows" in found.reason


@given(
    st.integers(0, 1000), st.sampled_from([30, 100, 1000]), st.lists(st.sampled_from(SHOPS), min_size=1, unique=True)
)
def test_a_small_file_of_some_shops_passes(seed: int, rows: int, shops: list[str]) -> None:
    assert strange(day(seed + 10, rows, shops)) == []
    assert strange(day(5), day(seed + 10, rows, shops)) == []


def test_a_column_whose_names_are_new_in_each_file_is_never_strange_for_it() -> None:
    def visitors(seed: int) -> Columns:
        return mapped("goods", lambda v: f"{v}-{seed}")(day(seed))

    assert strange(visitors(9), *(visitors(n) for n in range(4))) == []
    assert strange(mapped("goods", lambda v: f"{v}9")(day(9)), *(day(n) for n in range(4))) == ["goods"]


def test_too_few_rows_say_nothing_and_a_share_of_one_switches_it_off() -> None:
    cents = MISTAKEN["price in cents"][1]
    assert strange(cents(day(2, rows=29))) == []
    assert strange(cents(day(2)), day(1, rows=29)) == []
    assert strange(cents(day(2)), share=1.0) == []
    assert drift.judge([], looks(day(1))) == []


def test_an_empty_column_and_a_constant_one_are_looked_at_without_harm() -> None:
    empty = mapped("price", lambda v: np.full(len(v), np.nan))
    nameless = mapped("goods", lambda v: None)
    assert strange(empty(nameless(day(2))), empty(nameless(day(1)))) == []
    assert strange(day(2), empty(nameless(day(1)))) == []
    assert strange(mapped("price", lambda v: v * 0 + 5)(day(2))) == []


def test_a_profile_is_small_survives_storage_and_pools_to_itself() -> None:
    rows = mapped("goods", lambda v: v)(day(1, 100_000))
    rows["goods"] = np.array([f"customer {n % 50_000}" for n in range(100_000)], dtype=object)
    found = looks(rows)
    payload = msgspec.json.encode(found)
    assert len(payload) < 200_000
    assert msgspec.json.decode(payload, type=Profile) == found
    goods = found.categories["goods"]
    assert len(goods.counts) == MOST_VALUES
    assert sum(goods.counts.values()) + goods.others == 100_000
    alone = pooled([looks(day(1))])
    assert alone.categories == looks(day(1)).categories
    assert np.allclose(alone.numbers["price"].quantiles, looks(day(1)).numbers["price"].quantiles)


@pytest.mark.parametrize(
    ("value", "form"), [("UA", "AA"), ("9e", "9a"), ("Earl Grey", "Aaaa Aaaa"), ("1234567", "99999"), ("é-ß", "a-a")]
)
def test_the_form_of_a_name(value: str, form: str) -> None:
    assert shape(value) == form
