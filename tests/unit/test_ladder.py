# SPDX-License-Identifier: Apache-2.0
"""Each instance is answered by the best source that can answer in time, and the answer says which and why."""

from __future__ import annotations

from typing import Any

import msgspec
import numpy as np
import pytest
from fakes import CUP, GROUPS, LEAVES, Shelf, boosting_quantity, settings, shelve
from hypothesis import given
from hypothesis import strategies as st
from ladders import GOOD, NEW_CUP, ask, open_

from dropfit import served, version
from dropfit.admission import Cost, Lane
from dropfit.contract import Columns, Label, Policy, Probability, Quantity
from dropfit.served import Served

VERDICT = Label(name="verdict", values=("awful", "fair", "good", "never given"))


def rows_of(shelf: Shelf) -> list[dict[str, Any]]:
    names = ("leaf", "cup", "minutes")
    cells = zip(*(shelf.rows[n].tolist() for n in names), strict=True)
    return [{n: v for n, v in zip(names, row, strict=True) if v is not None and v == v} for row in cells]


@pytest.fixture(scope="module")
def hybrid(shelf: Shelf) -> Served:
    return open_(shelf)


@pytest.fixture(scope="module")
def dynamic(shelf: Shelf) -> Served:
    return open_(shelf, "dynamic")


@pytest.fixture(scope="module")
def static(shelf: Shelf) -> Served:
    return open_(shelf, "static")


def test_every_key_of_the_data_is_the_same_from_the_table_and_from_the_model(
    shelf: Shelf, hybrid: Served, dynamic: Served, static: Served
) -> None:
    asked = rows_of(shelf)
    table, model, alone = ask(hybrid, *asked), ask(dynamic, *asked), ask(static, *asked)
    assert {p.source for p in table} == {p.source for p in alone} == {"table"}
    assert {p.source for p in model} == {"model"}
    assert [p.value for p in table] == [p.value for p in model] == [p.value for p in alone]
    scored = version.load(shelf.registry(), shelf.problem, "v1").scorer.score(shelf.rows)
    assert [p.value for p in model] == scored.values.tolist()


def test_hybrid_asks_the_model_for_what_the_table_does_not_hold(hybrid: Served) -> None:
    first, second, third = ask(hybrid, GOOD, NEW_CUP, GOOD)
    assert (first.source, second.source, third.source) == ("table", "model", "table")
    assert first == third
    assert second.steps == ()


@pytest.mark.parametrize(("warmth", "source"), [(60, "table"), (60.0, "table"), (60.5, "model"), (100, "model")])
def test_a_request_hits_the_table_only_with_the_other_features_of_its_row(
    hybrid: Served, dynamic: Served, warmth: float, source: str
) -> None:
    (answer,), (model,) = ask(hybrid, {**GOOD, "warmth": warmth}), ask(dynamic, {**GOOD, "warmth": warmth})
    assert answer.source == source
    assert answer.value == model.value


def test_static_answers_a_miss_by_the_nearest_group_and_says_so(static: Served, shelf: Shelf) -> None:
    (answer,) = ask(static, NEW_CUP)
    assert (answer.source, answer.group) == ("backoff", {"leaf": "assam", "cup": "small"})
    assert answer.steps == ("table: miss",)
    assert answer.value == pytest.approx(group_mean(shelf, leaf="assam", cup="small"))


def group_mean(shelf: Shelf, **group: str) -> float:
    """By hand: the mean prediction of the rows of a group, so that a key counts as often as it came."""
    columns = {**shelf.rows, "warmth": np.full(len(shelf.rows["pot"]), np.nan)}  # the pinned value is filled in
    values = version.load(shelf.registry(), shelf.problem, "v1").scorer.score(columns).values
    mask = np.all([shelf.rows[name] == value for name, value in group.items()], axis=0)
    return float(np.asarray(values)[mask].mean())


def test_a_category_that_was_never_seen_is_answered_by_the_nearest_group_that_was(
    hybrid: Served, dynamic: Served, static: Served, shelf: Shelf
) -> None:
    strange = {**GOOD, "leaf": "rooibos"}
    everything = float(np.mean([p.value for p in ask(dynamic, *rows_of(shelf))]))
    for found in (hybrid, dynamic):
        (answer,) = ask(found, strange)
        assert (answer.source, answer.group, answer.steps) == ("backoff", {}, ("model: unseen leaf",))
        assert answer.value == pytest.approx(everything)
    (answer,) = ask(static, strange)
    assert (answer.source, answer.group, answer.steps) == ("backoff", {}, ("table: miss",))


def test_among_others_only_the_instance_that_needs_it_steps_down(dynamic: Served) -> None:
    answers = ask(dynamic, GOOD, {**GOOD, "leaf": "rooibos"}, NEW_CUP)
    assert [p.source for p in answers] == ["model", "backoff", "model"]
    assert [answers[0], answers[2]] == ask(dynamic, GOOD, NEW_CUP)


def test_a_missing_category_is_the_models_business(dynamic: Served) -> None:
    (answer,) = ask(dynamic, {"leaf": "assam", "minutes": 3})
    assert (answer.source, answer.steps) == ("model", ())


def test_where_a_miss_is_an_error_nothing_else_is_tried(shelf: Shelf) -> None:
    found = open_(shelf, "static", "error")
    hit, miss = ask(found, GOOD, NEW_CUP)
    assert hit.source == "table"
    assert (miss.value, miss.source, miss.error.code, miss.error.status) == (None, "none", 404, "NOT_FOUND")


def test_without_a_group_the_policys_fallback_value_answers_and_without_one_an_error() -> None:
    plain = open_(shelve(Probability(name="drunk"), backoff=()), "static")
    (answer,) = ask(plain, NEW_CUP)
    assert (answer.value, answer.source, answer.error.status) == (None, "none", "NOT_FOUND")
    told = open_(shelve(Probability(name="drunk"), backoff=(), policy=Policy(fallback=0.25)), "static")
    (answer,) = ask(told, NEW_CUP)
    assert (answer.value, answer.source, answer.policy) == (0.25, "fallback", ("fallback",))
    assert answer.steps == ("table: miss",)
    hurried = open_(shelve(Probability(name="drunk"), backoff=()), "hybrid")
    hurried.ladder.online.cost = Cost(0.0, 1.0)
    (answer,) = ask(hurried, NEW_CUP, budget=0.01)
    assert (answer.error.code, answer.error.status) == (504, "DEADLINE_EXCEEDED")
    assert answer.steps == ("model: deadline", "table: miss")


def test_without_a_snapshot_hybrid_is_the_model_and_static_holds_nothing(shelf: Shelf) -> None:
    registry = shelf.registry()
    bare = msgspec.structs.replace(registry.pointer(), snapshot=None)
    hybrid = served.load(registry, shelf.problem, settings(mode="hybrid"), Lane(), bare)
    static = served.load(registry, shelf.problem, settings(mode="static"), Lane(), bare)
    (answer,) = ask(hybrid, GOOD)
    assert answer.source == "model"
    (answer,) = ask(static, GOOD)
    assert (answer.source, answer.error.code) == ("none", 404)


def test_a_label_has_the_same_name_and_probabilities_from_every_source() -> None:
    shelf = shelve(VERDICT, backoff=GROUPS)
    table, model = open_(shelf), open_(shelf, "dynamic")
    for ours, theirs in zip(ask(table, *rows_of(shelf)), ask(model, *rows_of(shelf)), strict=True):
        assert (ours.source, theirs.source) == ("table", "model")
        assert (ours.value, ours.probabilities) == (theirs.value, theirs.probabilities)
    (group,) = ask(table, {**GOOD, "leaf": "rooibos"})
    assert group.source == "backoff"
    assert group.value == max(group.probabilities, key=group.probabilities.get)
    assert sum(group.probabilities.values()) == pytest.approx(1)


STRICT = Policy(minimum=0.3, maximum=0.6, digits=2, confidence=0.55, beyond=0.1, fallback=0.5)


@pytest.fixture(scope="module")
def guarded() -> dict[str, Served]:
    made = shelve(Probability(name="drunk"), policy=STRICT, backoff=GROUPS)
    return {mode: open_(made, mode) for mode in ("static", "dynamic", "hybrid")}


@given(
    st.sampled_from(["static", "dynamic", "hybrid"]),
    st.booleans(),
    st.fixed_dictionaries(
        {"leaf": st.sampled_from([*LEAVES, "rooibos"])},
        optional={
            "cup": st.sampled_from([*CUP.values, None]),
            "minutes": st.one_of(st.none(), st.integers(0, 60), st.floats(0, 60)),
            "warmth": st.one_of(st.none(), st.floats(0, 100)),
        },
    ),
)
def test_whatever_the_source_nothing_leaves_that_the_policy_forbids(
    guarded: dict[str, Served], mode: str, hurried: bool, instance: dict[str, Any]
) -> None:
    found = guarded[mode]
    found.ladder.online.cost = Cost(0.0, 100.0 if hurried else 1e-6)
    (answer,) = ask(found, instance)
    if answer.value is None:
        assert answer.error is not None or answer.policy
    else:
        assert 0.3 <= answer.value <= 0.6
        assert round(answer.value, 2) == answer.value
        assert max(answer.value, 1 - answer.value) >= 0.55 or answer.source == "fallback"


def test_a_price_below_zero_is_impossible_to_serve_from_any_source() -> None:
    shelf = shelve(Quantity(name="joy"), estimator=boosting_quantity, backoff=GROUPS, policy=Policy(minimum=9.0))
    for mode in ("static", "dynamic", "hybrid"):
        answers = ask(open_(shelf, mode), *rows_of(shelf)[:50], NEW_CUP, {**GOOD, "leaf": "rooibos"})
        assert min(p.value for p in answers) >= 9.0
        assert any("minimum" in p.policy for p in answers)


def fussy(features: Columns) -> Columns:
    """Takes the minutes that rows have, and no other."""
    known = {float(minutes): minutes / 10 for minutes in range(10)}
    return {"strength": np.array([m if m != m else known[m] for m in features["minutes"].tolist()])}


def test_a_derive_that_takes_only_what_it_was_trained_on_is_served_and_stepped_down_from() -> None:
    shelf = shelve(Probability(name="drunk"), derive=fussy, backoff=GROUPS)
    found = open_(shelf, "dynamic")
    known, strange = ask(found, GOOD), ask(found, NEW_CUP)
    assert (known[0].source, known[0].steps) == ("model", ())
    assert (strange[0].source, strange[0].steps[0]) == ("backoff", "model: error")
    assert [p.source for p in ask(found, GOOD, NEW_CUP, GOOD)] == ["model", "backoff", "model"]
