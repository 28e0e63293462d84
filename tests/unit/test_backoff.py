# SPDX-License-Identifier: Apache-2.0
"""The mean prediction of coarser groups: what answers for keys and categories that were never seen."""

from __future__ import annotations

import collections
import math
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pytest
from fakes import tea
from hypothesis import given
from hypothesis import strategies as st

from dropfit import backoff
from dropfit.contract import Label
from dropfit.counting import Seen
from dropfit.keys import joined
from dropfit.keyset import key_columns
from dropfit.records import Row

LEVELS = (("leaf", "cup"), ("leaf",), ())
CLASSES = ("awful", "fair", "good")
VERDICT = Label(name="verdict", values=CLASSES)


class Given(NamedTuple):
    """A key, its prediction and how often it came."""

    leaf: str
    cup: str | None
    minutes: float
    value: float
    count: int


ROWS = st.lists(
    st.builds(
        Given,
        st.sampled_from(["assam", "earl\tgrey", "sencha"]),
        st.sampled_from(["small", "large", None]),
        st.sampled_from([1.0, 2.5, math.nan]),
        st.floats(-1e6, 1e6) | st.just(math.nan),
        st.integers(1, 1000),
    ),
    min_size=1,
    max_size=40,
)


def columns(rows: list[Given]) -> dict[str, Any]:
    return {
        "leaf": np.array([r.leaf for r in rows], dtype=object),
        "cup": np.array([r.cup for r in rows], dtype=object),
        "minutes": np.array([r.minutes for r in rows]),
    }


def grouped(
    contract: Any, keys: dict[str, Any], values: Any, weights: Any, classes: tuple[str, ...] = (), shares: Any = None
) -> list[tuple[str, Row]]:
    """The groups of keys with such predictions."""
    kinds = {n: pa.string() if keys[n].dtype == object else pa.float64() for n in contract.key}
    table = pa.table({n: pa.array(keys[n], kind, from_pandas=True) for n, kind in kinds.items()})
    seen = Seen(contract)
    seen.add(table)
    axes = seen.universe().axes
    numbers = axes.numbers(key_columns(contract, table))
    there = [value is not None and value == value for value in values.tolist()]
    counting = np.array(there) if shares is None else there & shares.any(axis=1)
    groups = backoff.Groups(contract, axes, numbers, np.where(counting, weights, 0), classes)
    for place, column in enumerate([values] if shares is None else shares.T):
        groups.add(column, place)
    return list(groups)


def means(rows: list[Given], **changes: Any) -> list[tuple[str, Row]]:
    contract = tea(backoff=LEVELS, **changes).contract
    counts = np.array([r.count for r in rows])
    return grouped(contract, columns(rows), np.array([r.value for r in rows]), counts)


@given(ROWS)
def test_every_group_has_the_mean_of_its_keys_weighted_by_how_often_they_came(rows: list[Given]) -> None:
    wanted: dict[str, float] = {}
    for level in LEVELS:
        for text in {backoff.group_key([getattr(r, name) for name in level]) for r in rows}:
            inside = [r for r in rows if backoff.group_key([getattr(r, name) for name in level]) == text]
            counted = [r for r in inside if not math.isnan(r.value)]
            if counted:
                wanted[text] = math.fsum(r.value * r.count for r in counted) / sum(r.count for r in counted)
    found = {key: row.value for key, row in means(rows)}
    assert found == pytest.approx(wanted, rel=1e-9, abs=1e-6)


@given(ROWS)
def test_the_coarsest_groups_come_first_and_of_a_level_the_most_frequent(rows: list[Given]) -> None:
    found = [key for key, _ in means(rows)]
    sizes = [int(key.partition("\t")[0]) for key in found]
    assert sizes == sorted(sizes)
    came = collections.Counter({r.leaf: 0 for r in rows})
    for row in rows:
        came[row.leaf] += 0 if math.isnan(row.value) else row.count
    counts = {backoff.group_key([leaf]): count for leaf, count in came.items()}
    ours = [counts[key] for key in found if key.startswith("1\t")]
    assert ours == sorted((count for count in counts.values() if count), reverse=True)


def test_a_label_has_the_mean_probabilities_and_the_most_probable_label() -> None:
    rows = [Given("assam", "small", 1, 0, 1), Given("assam", "large", 1, 0, 3), Given("sencha", None, 1, 0, 1)]
    shares = np.array([[0.9, 0.1, 0.0], [0.0, 0.4, 0.6], [0.2, 0.3, 0.5]])
    contract = tea(target=VERDICT, backoff=LEVELS).contract
    labels = np.array(["awful", "good", None], dtype=object)
    counts = np.array([r.count for r in rows])
    found = dict(grouped(contract, columns(rows), labels, counts, CLASSES, shares))
    assert found["1\tassam"].value == "good"
    assert found["1\tassam"].probabilities == pytest.approx((0.225, 0.325, 0.45))
    assert found["0\t"] == found["1\tassam"], "the policy left sencha without a prediction: it does not count"
    assert "1\tsencha" not in found


def test_a_groups_text_tells_its_columns_apart_and_takes_a_value_as_a_key_does() -> None:
    assert backoff.group_key(()) == "0\t"
    assert backoff.group_key(("a\tb",)) != backoff.group_key(("a", "b"))
    keys = {"leaf": np.array(["a\tb"], dtype=object), "minutes": np.array([5.0])}
    assert backoff.group_key(("a\tb", 5)) == f"2\t{joined(keys, ('leaf', 'minutes'))[0]}"
    assert backoff.group_key((None,)) == backoff.group_key((math.nan,))


def test_without_declared_groups_there_are_none() -> None:
    rows = [Given("assam", "small", 1, 0.5, 1)]
    contract = tea().contract
    assert grouped(contract, columns(rows), np.array([0.5]), np.array([1])) == []
