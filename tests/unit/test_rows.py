# SPDX-License-Identifier: Apache-2.0
"""What is said of a request's few instances is what is said of the same rows as a batch, bit by bit."""

from __future__ import annotations

from typing import Any

import msgspec
import numpy as np
import pytest
from fakes import CUP, LEAVES, batch_of, derive, pots, tea
from hypothesis import given
from hypothesis import strategies as st

from dropfit.contract import Category, Columns, Contract, Number, Quantity
from dropfit.encoding import Encoder, learn
from dropfit.instances import InstanceDecoder
from dropfit.keys import joined
from dropfit.rows import Rows

PROBLEM = tea()
LEARNED = learn(PROBLEM, pots())
ENCODER = Encoder(PROBLEM.contract, LEARNED, derive)
ROWS = Rows(ENCODER)
DECODER = InstanceDecoder(PROBLEM.contract, 1000)

INSTANCE = st.fixed_dictionaries(
    {"leaf": st.sampled_from([*LEAVES, "never seen", "a\tb", "\\N", "é"])},
    optional={
        "cup": st.sampled_from([*CUP.values, None]),
        "minutes": st.one_of(st.none(), st.integers(0, 60), st.floats(0, 60)),
        "warmth": st.one_of(st.none(), st.sampled_from([60, 60.0, 70.0, 80]), st.floats(0, 100)),
    },
)


def decoded(instances: list[dict[str, Any]]) -> tuple[list[Any], Columns]:
    found = DECODER.decode(msgspec.json.encode({"instances": instances}))
    return found, batch_of(PROBLEM.contract, found)


def matrix(instances: list[Any]) -> Any:
    values = ROWS.values(instances)
    return ROWS.matrix([*ROWS.codes(values)[0], *ROWS.derived(values)])


@given(st.lists(INSTANCE, min_size=1, max_size=9))
def test_the_models_input_is_the_batchs_bit_by_bit(instances: list[dict[str, Any]]) -> None:
    found, columns = decoded(instances)
    ours, theirs = matrix(found), ENCODER.matrix(columns)
    assert ours.dtype == theirs.dtype == np.float32
    assert ours.flags.c_contiguous
    np.testing.assert_array_equal(ours, theirs)


@given(st.lists(INSTANCE, min_size=1, max_size=9))
def test_a_single_instances_input_is_the_batchs_bit_by_bit_and_so_is_what_was_never_seen(
    instances: list[dict[str, Any]],
) -> None:
    found, columns = decoded(instances)
    unseen = ROWS.codes(ROWS.values(found))[1]
    for position, (instance, theirs) in enumerate(zip(found, ENCODER.matrix(columns), strict=True)):
        values, row, strange = ROWS.one(instance)
        for _ in range(2):  # the second time derive is remembered
            ours = np.array(row + ROWS.derived_of_one(values), dtype=np.float32)
            np.testing.assert_array_equal(ours, theirs)
        assert strange == unseen.get(position, "")


@given(st.lists(INSTANCE, min_size=1, max_size=9))
def test_a_key_is_the_batchs_and_hits_where_the_other_features_are_the_tables(
    instances: list[dict[str, Any]],
) -> None:
    found, columns = decoded(instances)
    pinned = {leaf: 60.0 + 10 * place for place, leaf in enumerate(LEAVES)}
    for instance, asked, key in zip(found, instances, joined(columns, PROBLEM.key), strict=True):
        given_warmth = asked.get("warmth")
        fits = given_warmth is None or given_warmth == pinned.get(asked["leaf"])
        assert ROWS.key(instance) == key
        assert ROWS.hits(instance) == fits


@given(st.lists(INSTANCE, min_size=1, max_size=9))
def test_a_value_that_training_never_saw_is_named_and_a_missing_one_is_not(instances: list[dict[str, Any]]) -> None:
    found, _ = decoded(instances)
    _, unseen = ROWS.codes(ROWS.values(found))
    strange = {place: "leaf" for place, asked in enumerate(instances) if asked["leaf"] not in LEAVES}
    assert unseen == strange


def test_a_feature_left_out_where_nothing_is_pinned_is_a_gap() -> None:
    found, columns = decoded([{"leaf": "never seen", "minutes": 1}])
    assert np.isnan(matrix(found)[0, 3])
    assert ROWS.key(found[0]) == joined(columns, PROBLEM.key)[0]
    assert ROWS.hits(found[0])
    (with_value,), _ = decoded([{"leaf": "never seen", "minutes": 1, "warmth": 5}])
    assert not ROWS.hits(with_value)


@pytest.mark.parametrize("number", [np.float64(2.0), 2, np.array(2.0)])
def test_derive_may_give_one_number_for_all_rows(number: Any) -> None:
    contract = Contract(
        name="one",
        title="?",
        features=(Number(name="size"),),
        derived=(Number(name="two"),),
        target=Quantity(name="price"),
        key=("size",),
    )
    encoder = Encoder(contract, learn(contract, {"size": np.array([1.0])}), lambda features: {"two": number})
    rows, decoder = Rows(encoder), InstanceDecoder(contract, 10)
    values = rows.values(decoder.decode(b'{"instances": [{"size": 1}, {"size": 3.5}]}'))
    ours = rows.matrix([*rows.codes(values)[0], *rows.derived(values)])
    np.testing.assert_array_equal(ours, np.array([[1, 2], [3.5, 2]], dtype=np.float32))


def test_derive_is_given_every_feature_as_a_batch_has_it() -> None:
    seen: dict[str, Any] = {}

    def look(features: Columns) -> Columns:
        seen.update({name: features[name] for name in features})
        assert len(features) == 2
        return {"sum": features["size"] + 1}

    contract = Contract(
        name="look",
        title="?",
        features=(Category(name="kind"), Number(name="size", missing=True)),
        derived=(Number(name="sum"),),
        target=Quantity(name="price"),
        key=("kind", "size"),
    )
    learned = learn(contract, {"kind": np.array(["a"], dtype=object), "size": np.array([1.0])})
    rows, decoder = Rows(Encoder(contract, learned, look)), InstanceDecoder(contract, 10)
    values = rows.values(decoder.decode(b'{"instances": [{"kind": "a", "size": 2}, {"kind": "b"}]}'))
    derived = rows.derived(values)
    assert seen["kind"].tolist() == ["a", "b"]
    assert seen["kind"].dtype == object
    np.testing.assert_array_equal(seen["size"], [2.0, np.nan])
    np.testing.assert_array_equal(derived, [[3.0, np.nan]])
    assert rows.named(values, derived)[0] == {"kind": "a", "size": 2, "sum": 3.0}


def test_what_derive_made_of_zero_is_not_given_for_the_zero_below_it() -> None:
    contract = Contract(
        name="zero",
        title="?",
        features=(Number(name="size"),),
        derived=(Number(name="one_by"),),
        target=Quantity(name="price"),
        key=("size",),
    )

    def inverse(features: Columns) -> Columns:
        with np.errstate(divide="ignore"):
            return {"one_by": 1 / features["size"]}

    rows = Rows(Encoder(contract, learn(contract, {"size": np.array([1.0])}), inverse))
    made = [rows.derived_of_one([size]) for size in (0.0, -0.0, 0.0, -0.0, 2.0)]
    assert made == [[np.inf], [-np.inf], [np.inf], [-np.inf], [0.5]]


def test_a_derive_that_looks_at_different_features_is_remembered_by_those_it_looked_at() -> None:
    contract = Contract(
        name="fork",
        title="?",
        features=(Number(name="a"), Number(name="b"), Number(name="c")),
        derived=(Number(name="made"),),
        target=Quantity(name="price"),
        key=("a", "b", "c"),
    )
    calls = []

    def fork(features: Columns) -> Columns:
        calls.append(1)
        return {"made": features["b"] * 10 if features["a"][0] > 0 else features["c"] * 100}

    some = {name: np.array([1.0]) for name in "abc"}
    rows = Rows(Encoder(contract, learn(contract, some), fork))
    for a in (0.0, 1.0):
        for b in (1.0, 2.0):
            for c in (3.0, 4.0):
                for _ in range(3):
                    assert rows.derived_of_one([a, b, c]) == [b * 10 if a > 0 else c * 100]
    assert len(calls) == 4
