# SPDX-License-Identifier: Apache-2.0
"""`dropfit batch refresh`: the served version's table holds what has come since, and is never of another version."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from typing import Any

import msgspec
import numpy as np
import pytest
from doors import Door
from fakes import Shelf, eventually, pots
from mill import Mill

from dropfit import refreshes, runs, view
from dropfit.errors import Unavailable


@pytest.fixture
def mill(shelf: Shelf, monkeypatch: pytest.MonkeyPatch) -> Mill:
    return Mill(shelf, monkeypatch)


def more(mill: Mill) -> None:
    """An upload with keys that were never seen."""
    mill.accept("new.csv", {**pots(40, seed=7), "minutes": np.arange(40) + 0.5, "pot": np.arange(40) + 1000.0})


def outcome(mill: Mill) -> tuple[str, str]:
    run = runs.latest(mill.data, 1)[0]  # type: ignore[arg-type]
    return run.outcome, run.reason


def test_keys_that_came_since_are_in_the_table_by_the_same_version(mill: Mill) -> None:
    before, keys = mill.pointer, mill.keys()
    more(mill)
    mill.order()
    mill.work()
    after = mill.pointer
    assert outcome(mill)[0] == "refreshed"
    assert (after.version, after.previous, after.epoch, after.trail) == ("v1", "v2", before.epoch, before.trail)
    assert (after.promoted_at, after.by, after.pinned) == (before.promoted_at, before.by, False)
    assert after.table != before.table
    assert after.snapshot != before.snapshot
    assert mill.dataset.view == after.table
    assert len(mill.keys() - keys) == 40
    assert keys < mill.keys()
    assert mill.registry.completed("v1").table == after.table
    assert not refreshes.waiting(mill.data)  # type: ignore[arg-type]


def test_predict_answers_from_the_new_table_although_the_version_is_the_one_that_it_has(
    mill: Mill, opened: Callable[..., Door]
) -> None:
    door, keys = opened(mill.models, mill.problem, mode="static", miss="error"), mill.keys()
    more(mill)
    mill.order()
    known = next(k for k in keys if None not in k)
    assert door.ask({"instances": [dict(zip(mill.problem.key, known, strict=True))]})[0] == 200
    mill.work()
    key = next(k for k in mill.keys() - keys if k[1] is not None)
    instance = dict(zip(mill.problem.key, key, strict=True))
    (row,) = [r for r in mill.rows if all(r[name] == value for name, value in instance.items())]
    _, document, _ = eventually(lambda: (told := door.ask({"instances": [instance]}))[0] == 200 and told)
    (told,) = document["predictions"]
    assert (told["source"], told["value"]) == ("table", row["prediction"])
    assert document["model_version"] == "v1"


def test_without_a_new_key_nothing_is_filled_unless_somebody_insists(mill: Mill) -> None:
    before = mill.pointer
    mill.accept("again.csv", {**pots(60), "pot": np.arange(60) + 500.0})  # other pots, the same keys
    mill.order()
    mill.work()
    assert outcome(mill)[0] == "nothing"
    assert "no key has come or gone" in outcome(mill)[1]
    assert mill.pointer == before
    mill.order(force=True)
    mill.work()
    assert outcome(mill)[0] == "refreshed"
    assert mill.pointer.table != before.table
    mill.order(force=True)
    mill.work()
    assert len({before.table, mill.pointer.table, *mill.dataset.held}) == 4, "each filling has a table of its own"


def test_where_nothing_is_served_there_is_nothing_to_refresh(mill: Mill) -> None:
    mill.models.delete("current.json")
    mill.order()
    mill.work()
    assert outcome(mill)[0] == "nothing"


def moved(mill: Mill, what: str) -> None:
    """What a person, or a training, does to the pointer meanwhile."""
    registry = mill.registry
    since = registry.current()
    if what == "promotion":
        done = registry.completed("v2")
        registry.promote("v2", done.table, since, "job", registry.seal("v2"), done.snapshot)
    elif what == "rollback":
        target = next(s for s in since.pointer.trail if s.version == "v2")  # type: ignore[union-attr]
        registry.move(target, since, "ann")
    else:
        registry.move(since.pointer.as_served(), since, "ann", pinned=True)  # type: ignore[union-attr]
    view.repair(registry, mill.dataset)  # type: ignore[arg-type]


def calls(mill: Mill) -> list[str]:
    """The calls that a refresh makes to the outside."""
    made: list[str] = []
    more(mill)
    mill.order()
    mill.work(made.append)
    return made


def points(made: list[str]) -> list[int]:
    """Some calls of a refresh, and each from the comparison of the tables to its end: the swap is among them."""
    compared = made.index("spread")
    return [*range(0, compared, 9), *range(compared, made.index("delete", compared) + 1)]


@pytest.mark.parametrize("what", ["promotion", "rollback", "pin"])
def test_whoever_moves_the_pointer_meanwhile_a_table_is_served_by_its_own_version_alone(
    shelf: Shelf, what: str
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        made = calls(Mill(shelf, patch))
    ended = set()
    for at in points(made):
        with pytest.MonkeyPatch.context() as patch:
            mill, passed = Mill(shelf, patch), [0]
            more(mill)
            mill.order()

            def meanwhile(method: str, mill: Mill = mill, at: int = at, passed: list[int] = passed) -> None:
                if passed[0] == at:
                    mill.hook = lambda method: None
                    moved(mill, what)
                passed[0] += 1
                mill.keys()

            mill.work(meanwhile)
            ended.add(outcome(mill)[0])
            mill.keys()
            assert mill.dataset.view == mill.pointer.table
            served = {s.version: s.table for s in mill.pointer.trail}
            for version, table in served.items():
                assert {row["model_version"] for row in mill.dataset.held[table]} == {version}
            assert mill.pointer.version == ("v1" if what == "pin" else "v2")
            assert mill.pointer.pinned is (what == "pin")
    assert "refreshed" in ended
    assert ("kept" in ended) is (what != "pin")


@pytest.mark.parametrize(
    "after", [SystemExit(143), MemoryError(), Unavailable("503")], ids=["term", "killed", "down"]
)
def test_a_refresh_that_is_killed_anywhere_leaves_the_old_world_and_is_done_by_the_next_job(
    shelf: Shelf, after: BaseException
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        made = calls(Mill(shelf, patch))
    for at in points(made):
        with pytest.MonkeyPatch.context() as patch:
            mill, passed = Mill(shelf, patch), [0]
            before = mill.pointer.table
            more(mill)
            mill.order()

            def die(method: str, mill: Mill = mill, at: int = at, passed: list[int] = passed) -> None:
                if passed[0] == at:
                    mill.hook = lambda method: None
                    raise after
                passed[0] += 1

            with contextlib.suppress(type(after)):  # what a run tells of itself may fail
                mill.work(die)
            mill.keys()
            assert mill.pointer.table in (before, mill.registry.completed("v1").table, *mill.dataset.held)
            mill.data.delete("leases/retrain.json")
            filled = mill.predictions
            mill.work()
            assert len(mill.keys()) == len(mill.rows)
            assert mill.pointer.table != before
            assert mill.registry.completed("v1").table == mill.dataset.view == mill.pointer.table
            assert not refreshes.waiting(mill.data)  # type: ignore[arg-type]
            assert mill.predictions - filled <= 1


def test_a_job_that_was_killed_before_the_swap_has_its_table_found(
    mill: Mill, monkeypatch: pytest.MonkeyPatch
) -> None:
    more(mill)
    mill.order()
    with monkeypatch.context() as patch:
        patch.setattr(type(mill.registry), "refill", lambda *given: (_ for _ in ()).throw(MemoryError()))
        with pytest.raises(MemoryError):
            mill.work()
    filled = mill.predictions
    mill.work()
    assert outcome(mill)[0] == "refreshed"
    assert mill.predictions == filled


@pytest.mark.parametrize(
    "spoil",
    [
        lambda rows: rows[1:],
        lambda rows: [*rows, rows[0]],
        lambda rows: [{**rows[0], "model_version": "v2"}, *rows[1:]],
        lambda rows: [{**rows[0], "prediction": None}, *rows[1:]],
        lambda rows: [{**row, "prediction": 0.5} for row in rows],
        lambda rows: [
            {**row, "prediction": r["prediction"]} for row, r in zip(rows, rows[1:] + rows[:1], strict=True)
        ],
        lambda rows: [{**rows[0], "policy": "minimum"}, *rows[1:]],
    ],
    ids=["a row lost", "a row twice", "a stranger", "a gap", "all equal", "all scrambled", "another rule"],
)
def test_a_table_that_is_not_what_was_predicted_is_not_served(mill: Mill, spoil: Any) -> None:
    before = mill.pointer
    more(mill)
    mill.order(force=True)
    mill.dataset.spoil = spoil
    mill.work()
    assert outcome(mill)[0] == "failed"
    assert "it is not served" in outcome(mill)[1]
    assert mill.pointer == before
    mill.keys()
    mill.dataset.spoil = lambda rows: rows
    mill.order()
    mill.work()
    assert outcome(mill)[0] == "refreshed"


def test_a_load_that_breaks_off_leaves_the_served_table_alone(mill: Mill) -> None:
    before, rows = mill.pointer, list(mill.rows)
    more(mill)
    mill.order()

    def torn(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
        raise Unavailable("BigQuery: backendError")

    mill.dataset.spoil = torn
    with pytest.raises(Unavailable):
        mill.work()
    assert (mill.pointer, mill.rows, mill.dataset.view) == (before, rows, before.table)
    mill.dataset.spoil = lambda rows: rows
    mill.work()
    assert outcome(mill)[0] == "refreshed"


def test_predictions_that_lie_too_far_from_the_served_ones_wait_for_a_person(
    shelf: Shelf, monkeypatch: pytest.MonkeyPatch
) -> None:
    mill = Mill(shelf, monkeypatch)
    mill.accept("far.csv", {**pots(900, seed=3), "minutes": np.arange(900) / 30 + 30, "pot": np.arange(900) + 1e4})
    mill.order()
    mill.work()
    assert outcome(mill)[0] == "held"
    assert "max_shift is 0.4" in outcome(mill)[1]
    assert "--force" in outcome(mill)[1]
    filled, before = mill.predictions, mill.pointer.table
    mill.order(force=True)
    mill.work()
    assert (outcome(mill)[0], mill.predictions) == ("refreshed", filled)
    assert mill.pointer.table != before


def test_an_order_that_kills_its_jobs_is_given_up_with_a_reason(mill: Mill) -> None:
    more(mill)
    mill.order()

    def die(rows: Any) -> Any:
        raise MemoryError

    mill.dataset.spoil = die
    for _ in range(mill.settings.max_attempts):
        with pytest.raises(MemoryError):
            mill.work()
    mill.work()
    assert outcome(mill)[0] == "failed"
    assert "jobs ended without an outcome" in outcome(mill)[1]
    assert not refreshes.waiting(mill.data)  # type: ignore[arg-type]


def test_a_key_that_problem_py_describes_otherwise_is_no_reason_to_touch_the_table(mill: Mill) -> None:
    before = mill.pointer
    wider = tuple(msgspec.structs.replace(f, max_length=99) if f.name == "leaf" else f for f in mill.problem.features)
    mill.problem = msgspec.structs.replace(mill.problem, features=wider)
    mill.order()
    mill.work()
    assert outcome(mill)[0] == "failed"
    assert "dropfit train" in outcome(mill)[1]
    assert mill.pointer == before
