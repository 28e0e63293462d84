# SPDX-License-Identifier: Apache-2.0
"""Tables on the emulators: filled, proved, held, refreshed; and what is served while that goes wrong."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from beam_pipelines import intake, table
from dropfit import orders, refreshes, runs, view
from dropfit.collect import Collector
from dropfit.manifest import table_name
from dropfit.operations import Desk
from dropfit.shift import Count, kolmogorov, total_variation
from dropfit.tables import TableColumn
from dropfit.warehouse import Warehouse

House = Any
Make = Callable[..., House]


def shown(house: House) -> list[dict[str, Any]]:
    """The rows that the view shows, sorted."""
    warehouse = Warehouse(house.settings)
    rows = warehouse.query(f"SELECT * FROM `{warehouse.name('predictions')}`", {})
    return sorted((dict(row.items()) for row in rows), key=repr)


def served(house: House) -> Any:
    """The pointer, after what it serves was looked at: each key once, all of the pointer's version."""
    pointer = house.registry.current().pointer
    rows = shown(house)
    assert {row["model_version"] for row in rows} == {pointer.version}
    key = house.registry.manifest(pointer.version).contract.key
    assert len({tuple(row[name] for name in key) for row in rows}) == len(rows)
    assert Warehouse(house.settings).shown() == pointer.table
    return pointer


def refresh(house: House, force: bool = False) -> runs.Run:
    refreshes.ask(house.buckets.data, "ann", force)
    house.work()
    return runs.latest(house.buckets.data, 1)[0]


@pytest.fixture
def recorded(house: Make, penguins: list[Path]) -> House:
    """A version of one upload that is served, and another upload that nobody has trained on."""
    there = house(DROPFIT_TRAINING="static", DROPFIT_GC_GRACE_SECONDS="0")
    there.upload("a.csv", penguins[0])
    there.work()
    orders.ask(there.buckets.data, ())
    there.work()
    there.upload("b.csv", penguins[1])
    there.work()
    return there


def test_a_refresh_serves_the_keys_that_came_by_the_version_that_was_served(recorded: House) -> None:
    before, rows = served(recorded), shown(recorded)
    run = refresh(recorded)
    after = served(recorded)
    assert (run.outcome, run.version) == ("refreshed", before.version)
    assert [step.name for step in run.steps] == ["universe", "table", "swap"]
    told = {step.name: step.detail for step in run.steps}
    assert told["table"]["facts"] == {"keys": len(shown(recorded)), "nulls": 0, "strangers": 0}
    assert told["table"]["sample"] == {"rows": len(shown(recorded)), "differing": 0, "largest": 0.0}
    assert told["table"]["shift"]["against"] == before.table
    assert (after.version, after.promoted_at, after.epoch) == (before.version, before.promoted_at, before.epoch)
    assert after.table.startswith(f"{table_name(before.version)}__r")

    def answers(found: list[dict[str, Any]]) -> set[str]:
        return {repr({k: v for k, v in row.items() if k != "predicted_at"}) for row in found}

    assert answers(rows) < answers(shown(recorded)), "old keys have the same answers, and there are new ones"
    warehouse = Warehouse(recorded.settings)
    labels = warehouse._client.get_table(warehouse.name(after.table)).labels
    assert labels["dropfit_version"] == before.version.lower()
    assert labels["dropfit_problem"] == "penguins"
    assert refresh(recorded).outcome == "nothing"
    collector = Collector(recorded.settings, recorded.buckets, warehouse)
    assert before.table in [o.table for o in collector.find() if collector.remove(o)]
    assert served(recorded) == after


@pytest.mark.verify
@pytest.mark.parametrize("what", ["rollback", "promotion"])
def test_a_refresh_that_races_a_decision_is_dropped(
    recorded: House, monkeypatch: pytest.MonkeyPatch, what: str
) -> None:
    registry = recorded.registry
    desk = Desk(registry, recorded.receipts, Warehouse(recorded.settings), "ann")
    orders.ask(recorded.buckets.data, ())
    recorded.work()
    second = served(recorded)
    first = second.previous
    assert first
    if what == "promotion":
        desk.rollback()
    real = table.made

    def meanwhile(*given: Any) -> Any:
        if what == "rollback":
            desk.rollback()
        else:
            seal = registry.seal(second.version)
            registry.promote(second.version, second.table, registry.current(), "job", seal, second.snapshot)
        return real(*given)

    monkeypatch.setattr(table, "made", meanwhile)
    run = refresh(recorded, force=True)
    assert run.outcome == "kept"
    assert "dropped" in run.reason
    view.repair(registry, Warehouse(recorded.settings))
    assert served(recorded).version == (first if what == "rollback" else second.version)


@pytest.mark.verify
def test_a_load_that_fails_midway_leaves_the_served_table_as_it_was(
    recorded: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    before, rows = served(recorded), shown(recorded)
    load = Warehouse.load

    def broken(self: Any, name: str, columns: Any, uris: Any, cluster: Any, labels: Any) -> None:
        load(self, name, columns, [*uris, uris[0] + "-not-there"], cluster, labels)

    with monkeypatch.context() as patch:
        patch.setattr(Warehouse, "load", broken)
        run = refresh(recorded)
        assert run.outcome == "failed"
        orders.ask(recorded.buckets.data, ())
        recorded.work()
        assert runs.latest(recorded.buckets.data, 1)[0].outcome == "failed"
    assert (served(recorded), shown(recorded)) == (before, rows)
    assert refresh(recorded).outcome == "refreshed"


@pytest.mark.verify
def test_filled_twice_and_over_the_leavings_of_a_dead_bundle_a_table_is_the_same(recorded: House) -> None:
    pointer, rows = served(recorded), shown(recorded)
    manifest = recorded.registry.manifest(pointer.version)
    columns = pa.Table.from_pylist([{**row, "model_version": "dead"} for row in rows])
    sink = io.BytesIO()
    pq.write_table(columns, sink)
    recorded.buckets.data.put(f"tables/{pointer.version}/shards/dead.parquet", sink.getvalue())
    inputs = [r for r in recorded.receipts.all() if r.object.name == "a.csv"]
    accepted, _ = intake.accepted_rows(recorded.services, inputs)
    keys = table.wanted(recorded.services, manifest, accepted)
    for filling in ("one", "two"):
        done = table.made(recorded.services, manifest, keys, table_name(pointer.version, filling), filling)
        assert done.rows == len(rows)
        assert done.snapshot == pointer.snapshot, "the same rows give the same snapshot"
        warehouse = Warehouse(recorded.settings)
        found = warehouse.query(f"SELECT * EXCEPT (predicted_at) FROM `{warehouse.name(done.table)}`", {})
        wanted = [{k: v for k, v in row.items() if k != "predicted_at"} for row in rows]
        assert sorted(map(repr, (dict(r.items()) for r in found))) == sorted(map(repr, wanted))


@pytest.mark.verify
def test_a_version_whose_predictions_moved_too_far_waits_and_a_person_may_serve_it(
    house: Make, penguins: list[Path]
) -> None:
    there = house()
    there.upload("a.csv", penguins[0])
    there.work()
    before = served(there)
    there.change(policy=msgspec.structs.replace(there.services.problem.policy, max_shift=1e-6))
    receipt = there.upload("b.csv", penguins[1])
    there.work()
    outcome = there.outcome(receipt)
    assert (outcome.state, served(there)) == ("held", before)
    assert "total variation of 0." in outcome.reason
    assert "dropfit approve" in outcome.reason
    assert there.registry.completed(outcome.version).shift.breaks
    Desk(there.registry, there.receipts, Warehouse(there.settings), "ann").approve(outcome.version)
    assert served(there).version == outcome.version
    assert there.outcome(receipt).state == "promoted"


@pytest.mark.verify
def test_a_table_with_a_row_that_the_model_does_not_say_fails_its_training(
    house: Make, penguins: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    there = house()
    there.upload("a.csv", penguins[0])
    sample = Warehouse.sample
    spoiled = {"prediction": "Gentoo", "probabilities": [{"label": "Gentoo", "probability": 1.0}]}
    monkeypatch.setattr(Warehouse, "sample", lambda *given: [{**row, **spoiled} for row in sample(*given)])
    there.work()
    run = runs.latest(there.buckets.data, 1)[0]
    assert (run.outcome, there.registry.current().pointer) == ("failed", None)
    assert "are not what the model says" in run.reason


COLUMNS = (
    TableColumn("pot", "FLOAT64"),
    TableColumn("lid", "STRING"),
    TableColumn("prediction", "FLOAT64"),
)


def loaded(house: House, name: str, columns: tuple[TableColumn, ...], rows: dict[str, Any]) -> Warehouse:
    sink = io.BytesIO()
    pq.write_table(pa.table(rows), sink)
    house.buckets.data.put(f"{name}.parquet", sink.getvalue())
    warehouse = Warehouse(house.settings)
    warehouse.load(name, columns, [house.buckets.data.uri(f"{name}.parquet")], (), {})
    return warehouse


def test_bigquery_counts_predictions_and_chooses_a_sample_as_it_is_told(house: Make) -> None:
    there = house()
    keys = {"pot": [n / 2 for n in range(200)], "lid": [None if n % 3 else "blue" for n in range(200)]}
    first = [None if n % 20 == 0 else (n % 50) / 100 for n in range(200)]
    second = [None if n % 10 == 0 else 0.25 if n < 100 else 7.0 for n in range(200)]
    loaded(there, "before", COLUMNS, {**keys, "prediction": first})
    warehouse = loaded(there, "after", COLUMNS, {**keys, "prediction": second})
    exact = [Count(-1 if v is None else int(v * 100), first.count(v), second.count(v)) for v in {*first, *second}]
    found = warehouse.spread("before", "after", True)
    assert kolmogorov(found) == pytest.approx(kolmogorov(exact))
    assert sum(c.before for c in found) == sum(c.after for c in found) == 200
    assert {(c.before, c.after) for c in found if c.place == -1} == {(10, 20)}
    sample = warehouse.sample("after", ("pot", "lid"), 30)
    assert sample == warehouse.sample("after", ("pot", "lid"), 30)
    assert len({(row["pot"], row["lid"]) for row in sample}) == 30
    assert len(warehouse.sample("after", ("pot", "lid"), 900)) == 200

    labels = (COLUMNS[0], TableColumn("prediction", "STRING"))
    loaded(there, "good", labels, {"pot": [1.0, 2.0, 3.0, 4.0], "prediction": ["a", "a", "b", None]})
    loaded(there, "bad", labels, {"pot": [1.0, 2.0], "prediction": ["c", None]})
    assert total_variation(warehouse.spread("good", "bad", False)) == pytest.approx(0.75)
    equal = loaded(there, "equal", COLUMNS, {**keys, "prediction": [0.5] * 200})
    higher = loaded(there, "higher", COLUMNS, {**keys, "prediction": [0.6] * 200})
    assert kolmogorov(equal.spread("equal", "higher", True)) == 1
    assert kolmogorov(higher.spread("higher", "higher", True)) == 0
