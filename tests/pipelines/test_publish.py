# SPDX-License-Identifier: Apache-2.0
"""Who decides what is served, and that a person's word holds against trainings: on the emulators."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from beam_pipelines import intake, table
from dropfit import orders, quarantine, sweep
from dropfit.operations import Desk
from dropfit.warehouse import Warehouse

House = Any
Make = Callable[..., House]


def desk(house: House) -> Desk:
    return Desk(house.registry, house.receipts, Warehouse(house.settings), "ann")


def shown(house: House) -> set[str]:
    """The versions whose rows the view shows."""
    warehouse = Warehouse(house.settings)
    sql = f"SELECT DISTINCT model_version FROM `{warehouse.name('predictions')}`"
    return {row["model_version"] for row in warehouse.query(sql, {})}


def served(house: House) -> str:
    return str(house.registry.current().pointer.version)


def twice(house: House, penguins: list[Path]) -> tuple[str, str]:
    """Two versions, the second of them served."""
    house.upload("a.csv", penguins[0])
    house.work()
    first = served(house)
    house.upload("b.csv", penguins[1])
    house.work()
    assert served(house) != first
    return first, served(house)


def test_with_publish_hold_a_version_and_its_table_wait_for_a_person(house: Make, penguins: list[Path]) -> None:
    there = house(DROPFIT_PUBLISH="hold")
    receipt = there.upload("a.csv", penguins[0])
    there.work()
    outcome = there.outcome(receipt)
    assert (outcome.state, there.registry.current().pointer) == ("held", None)
    assert "dropfit approve" in outcome.reason
    completed = there.registry.completed(outcome.version)
    warehouse = Warehouse(there.settings)
    (row,) = warehouse.query(f"SELECT COUNT(*) AS n FROM `{warehouse.name(completed.table)}`", {})
    assert row["n"] == completed.rows > 100
    assert warehouse.shown() == ""

    desk(there).approve(outcome.version)
    assert (served(there), shown(there)) == (outcome.version, {outcome.version})
    assert there.outcome(receipt).state == "promoted"


@pytest.mark.verify
def test_a_rejected_version_is_not_served_and_the_next_one_waits_again(house: Make, penguins: list[Path]) -> None:
    there = house(DROPFIT_PUBLISH="hold")
    receipt = there.upload("a.csv", penguins[0])
    there.work()
    desk(there).reject(there.outcome(receipt).version, "too early")
    assert (there.outcome(receipt).state, there.registry.current().pointer) == ("kept", None)
    second = there.upload("b.csv", penguins[1])
    there.work()
    assert there.outcome(second).state == "held"


@pytest.mark.verify
def test_a_rollback_serves_the_older_model_and_table_byte_for_byte(house: Make, penguins: list[Path]) -> None:
    there = house()
    first, second = twice(there, penguins)
    model = there.registry.manifest(first).model
    before = there.buckets.models.read(model.name)
    desk(there).rollback()
    assert (served(there), shown(there)) == (first, {first})
    assert there.buckets.models.read(there.registry.manifest(served(there)).model.name) == before
    desk(there).rollback(second)
    assert (served(there), shown(there)) == (second, {second})


def test_a_rollback_during_a_training_sticks(
    house: Make, penguins: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    there = house()
    first, _ = twice(there, penguins)
    fill = table.fill

    def meanwhile(*given: Any) -> Any:
        desk(there).rollback()
        return fill(*given)

    monkeypatch.setattr(table, "fill", meanwhile)
    receipt = there.upload("c.csv", penguins[2])
    there.work()
    assert (served(there), shown(there)) == (first, {first})
    assert (there.outcome(receipt).state, "moved" in there.outcome(receipt).reason) == ("kept", True)


@pytest.mark.verify
def test_a_training_killed_before_a_rollback_and_resumed_after_it_does_not_undo_it(
    house: Make, penguins: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    there = house()
    first, _ = twice(there, penguins)
    receipt = there.upload("c.csv", penguins[2])
    with monkeypatch.context() as patch:
        patch.setattr(table, "fill", lambda *given: (_ for _ in ()).throw(MemoryError()))
        with pytest.raises(MemoryError):  # stands for a job that is killed: nothing of ours is raised
            there.work()
    desk(there).rollback()
    there.work()
    assert (served(there), there.outcome(receipt).state) == (first, "kept")
    there.upload("d.csv", penguins[0].read_bytes() + b"\n")
    there.work()  # what comes after the rollback is judged against what is served now


@pytest.mark.verify
def test_while_a_version_is_pinned_a_better_one_waits(house: Make, penguins: list[Path]) -> None:
    there = house()
    there.upload("a.csv", penguins[0])
    there.work()
    first = served(there)
    desk(there).pin()
    receipt = there.upload("b.csv", penguins[1])
    there.work()
    assert (there.outcome(receipt).state, served(there)) == ("held", first)
    assert "pinned by ann" in there.outcome(receipt).reason
    desk(there).unpin()
    desk(there).approve(there.outcome(receipt).version)
    assert served(there) == there.outcome(receipt).version


@pytest.mark.verify
def test_a_view_left_behind_is_mended_by_the_sweep(house: Make, penguins: list[Path]) -> None:
    there = house()
    first, second = twice(there, penguins)
    warehouse = Warehouse(there.settings)
    warehouse.point_view(there.registry.completed(first).table)  # a job killed between pointer and view
    assert sweep.mend_view(there.settings, there.buckets) == there.registry.completed(second).table
    assert shown(there) == {second}
    assert sweep.mend_view(there.settings, there.buckets) == ""


@pytest.mark.verify
def test_after_the_pointer_was_lost_no_training_promotes_until_a_person_says_what_to_serve(
    house: Make, penguins: list[Path]
) -> None:
    there = house()
    _, second = twice(there, penguins)
    there.buckets.models.delete("current.json")
    receipt = there.upload("c.csv", penguins[2])
    there.work()
    outcome = there.outcome(receipt)
    assert (outcome.state, there.registry.current().pointer) == ("held", None)
    assert "the pointer is gone" in outcome.reason
    desk(there).rollback(second)
    assert (served(there), shown(there)) == (second, {second})
    desk(there).approve(outcome.version, anyway=True)
    assert served(there) == outcome.version


@pytest.mark.verify
def test_a_served_version_that_cannot_be_read_is_not_replaced_without_a_person(
    house: Make, penguins: list[Path]
) -> None:
    there = house()
    there.upload("a.csv", penguins[0])
    there.work()
    first = served(there)
    there.buckets.models.put(f"versions/{first}/manifest.json", b"{}")
    receipt = there.upload("b.csv", penguins[1])
    there.work()
    assert (there.outcome(receipt).state, served(there)) == ("held", first)
    assert "cannot be read" in there.outcome(receipt).reason


@pytest.mark.verify
def test_an_upload_taken_out_trains_no_more_and_comes_back_when_released(house: Make, penguins: list[Path]) -> None:
    there = house()
    twice(there, penguins)
    (taken,) = quarantine.put(there.buckets, "b.csv", "ann", "cents")
    orders.ask(there.buckets.data, ())
    there.work()
    assert there.outcome(taken).state == "quarantined"
    assert "cents" in there.outcome(taken).reason
    assert [r.object.name for r in intake.window(there.services).inputs] == ["a.csv"]
    quarantine.release(there.buckets, taken.id, "ann")
    there.work()
    assert [r.object.name for r in intake.window(there.services).inputs] == ["a.csv", "b.csv"]
