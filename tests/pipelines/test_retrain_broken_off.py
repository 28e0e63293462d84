# SPDX-License-Identifier: Apache-2.0
"""A job that is killed, overtaken, or meets a fault loses nothing, and the next one finishes its work."""

from __future__ import annotations

import errno
import io
from pathlib import Path
from typing import Any

import pytest
from houses import Make, shown

from beam_pipelines import intake, retrain, steps, table
from dropfit import lease, orders
from dropfit.errors import LeaseLost, Unavailable
from dropfit.receipts import Receipts
from dropfit.warehouse import Warehouse


def test_a_job_killed_before_the_promotion_is_finished_by_the_next(
    house: Make, penguins: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    there = house()
    receipt = there.upload("a.csv", penguins[0])
    with monkeypatch.context() as patch:
        patch.setattr(table, "fill", lambda *given: (_ for _ in ()).throw(SystemExit(137)))
        with pytest.raises(SystemExit):
            there.work()
    assert there.registry.current().pointer is None
    assert there.outcome(receipt).is_open
    there.work()
    assert there.outcome(receipt).state == "promoted"
    assert len(there.registry.versions()) == 1


@pytest.mark.verify
def test_a_pointer_moved_during_training_is_left_where_it_is(
    house: Make, penguins: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    there = house()
    there.upload("a.csv", penguins[0])
    there.work()
    served = there.registry.current()
    fill = table.fill

    def meanwhile(*given: Any) -> Any:
        there.registry.promote(served.pointer.version, served.pointer.table, there.registry.current())
        return fill(*given)

    monkeypatch.setattr(table, "fill", meanwhile)
    receipt = there.upload("b.csv", penguins[1])
    there.work()
    outcome = there.outcome(receipt)
    assert outcome.state == "kept"
    assert "moved" in outcome.reason
    assert there.registry.current().pointer.version == served.pointer.version
    assert {row["model_version"] for row in shown(there)} == {served.pointer.version}


def test_a_job_that_finds_another_at_work_leaves_at_once(house: Make, penguins: list[Path]) -> None:
    there = house()
    receipt = there.upload("a.csv", penguins[0])
    with lease.Lease(there.buckets.data, "another", 60):
        there.work()
    assert there.outcome(receipt).state == "received"


def test_a_table_that_is_not_whole_is_not_served(
    house: Make, penguins: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    there = house()
    facts = Warehouse.facts
    monkeypatch.setattr(Warehouse, "facts", lambda *given: facts(*given)._replace(rows=3))
    receipt = there.upload("a.csv", penguins[0])
    there.work()
    assert there.registry.current().pointer is None
    assert there.outcome(receipt).state == "failed"
    assert "not served" in there.outcome(receipt).reason


@pytest.mark.verify
def test_one_file_that_kills_its_jobs_fails_alone(
    house: Make, penguins: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    there = house()
    killer, good = there.upload("killer.csv", penguins[0]), there.upload("good.csv", penguins[1])
    take_in = intake._take_in

    def killed(services: Any, receipt: Any) -> Any:
        if receipt.object.name == "killer.csv":
            raise MemoryError  # stands for a job that is killed: nothing of ours is raised
        return take_in(services, receipt)

    monkeypatch.setattr(intake, "_take_in", killed)
    for _ in range(there.settings.max_attempts):
        with pytest.raises(MemoryError):
            there.work()
    there.work()
    outcome = there.outcome(killer)
    assert (outcome.state, outcome.code) == ("failed", "crashed")
    assert there.outcome(good).state == "promoted"

    monkeypatch.setattr(intake, "_take_in", take_in)
    orders.ask(there.buckets.data, ())
    there.work()
    assert there.outcome(killer).state == "promoted"


def test_a_training_that_kills_its_jobs_is_given_up_and_an_order_tries_it_again(
    house: Make, penguins: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    there = house()
    receipt = there.upload("a.csv", penguins[0])
    fit = steps.fit

    def killed(*given: Any) -> Any:
        raise MemoryError

    monkeypatch.setattr(steps, "fit", killed)
    for _ in range(there.settings.max_attempts):
        with pytest.raises(MemoryError):
            there.work()
    there.work()
    assert there.outcome(receipt).state == "failed"

    orders.ask(there.buckets.data, ())
    for _ in range(there.settings.max_attempts):
        with pytest.raises(MemoryError):
            there.work()
    there.work()
    assert not orders.waiting(there.buckets.data)

    monkeypatch.setattr(steps, "fit", fit)
    orders.ask(there.buckets.data, ())
    there.work()
    assert there.outcome(receipt).state == "promoted"


def test_an_estimator_that_raises_anything_keeps_the_upload_with_the_reason(
    house: Make, penguins: list[Path]
) -> None:
    there = house()
    there.change(estimator=broken_estimator)
    receipt = there.upload("a.csv", penguins[0])
    there.work()
    outcome = there.outcome(receipt)
    assert outcome.state == "kept"
    assert "KeyError: 'bill'" in outcome.reason


def broken_estimator(inputs: Any) -> Any:
    raise KeyError("bill")


def test_a_job_that_has_lost_its_lease_writes_no_outcome(
    house: Make, penguins: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    there = house()
    receipt = there.upload("a.csv", penguins[0])
    fit = steps.fit

    def meanwhile(*given: Any) -> Any:
        other = Receipts(there.buckets.data)  # another job has taken over, and was quicker
        other.advance(other.get(receipt.id), state="promoted", version="another")
        return fit(*given)

    monkeypatch.setattr(steps, "fit", meanwhile)
    with pytest.raises(LeaseLost):
        there.work()
    assert (there.outcome(receipt).state, there.outcome(receipt).version) == ("promoted", "another")


def test_garbage_among_receipts_and_orders_stops_nothing(house: Make, penguins: list[Path]) -> None:
    there = house()
    there.buckets.data.put("receipts/garbage.json", b"\xff{")
    there.buckets.data.put("requests/garbage.json", b"{}")
    receipt = there.upload("a.csv", penguins[0])
    there.work()
    assert there.outcome(receipt).state == "promoted"


@pytest.mark.verify
def test_the_view_of_a_job_killed_after_its_promotion_is_mended_by_the_next(
    house: Make, penguins: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    there = house()
    there.upload("a.csv", penguins[0])
    there.work()
    there.upload("b.csv", penguins[1])
    with monkeypatch.context() as patch:
        calls: list[int] = []

        def killed(services: Any) -> None:
            calls.append(1)
            if len(calls) > 1:  # the first call mends what an earlier job left
                raise SystemExit(137)

        patch.setattr(steps, "repair_view", killed)
        with pytest.raises(SystemExit):
            there.work()
    served = there.registry.current().pointer.version
    assert {row["model_version"] for row in shown(there)} != {served}
    there.work()
    assert {row["model_version"] for row in shown(there)} == {served}


def test_a_problem_that_cannot_be_loaded_fails_what_waits_with_the_reason(
    house: Make, penguins: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    there = house()
    receipt = there.upload("a.csv", penguins[0])
    orders.ask(there.buckets.data, ())
    with monkeypatch.context() as patch:
        patch.setenv("DROPFIT_PROBLEM", "no.such:problem")
        assert retrain.main() == 1
    outcome = there.outcome(receipt)
    assert (outcome.state, outcome.code) == ("failed", "problem")
    assert "no.such" in outcome.reason
    assert not orders.waiting(there.buckets.data)
    orders.ask(there.buckets.data, ())
    there.work()
    assert there.outcome(receipt).state == "promoted"


def test_a_full_disk_costs_the_upload_nothing_and_is_tried_again(
    house: Make, penguins: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    there = house()
    receipt = there.upload("a.csv", penguins[0])

    class FullDisk(io.BytesIO):
        def write(self, payload: Any) -> int:
            raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(
            intake.tempfile, "TemporaryFile", lambda *given, **named: FullDisk() if not given else io.StringIO()
        )
        for _ in range(there.settings.max_attempts + 1):
            with pytest.raises(Unavailable, match="disk is full"):
                there.work()
    assert (there.outcome(receipt).state, there.outcome(receipt).attempts) == ("received", 0)
    there.work()
    assert there.outcome(receipt).state == "promoted"
