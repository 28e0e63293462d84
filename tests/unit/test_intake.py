# SPDX-License-Identifier: Apache-2.0
"""An upload beside those before it: repeats, drift, and what is kept of a file that is refused."""

from __future__ import annotations

import csv
import io
from typing import Any

import numpy as np
import pytest
from fake_bucket import FakeBucket
from fakes import csv_of, pots, settings, tea

from beam_pipelines import intake
from beam_pipelines.intake import Services
from dropfit.contract import Columns, Number, Problem
from dropfit.receipts import Override, Receipt, Receipts, UploadedObject
from dropfit.registry import Registry
from dropfit.storage import Buckets

MASS = Number(name="mass")


class Desk:
    """Intake over buckets in memory."""

    def __init__(self, problem: Problem | None = None, **changes: Any) -> None:
        self.problem = problem or tea()
        self.buckets = Buckets(*(FakeBucket(n) for n in ("landing", "data", "models")))  # type: ignore[arg-type]
        self.settings = settings(**changes)
        self.job()

    def job(self) -> None:
        """A new job, which remembers nothing."""
        receipts, registry = Receipts(self.buckets.data), Registry(self.buckets.models)
        self.services = Services(self.settings, self.problem, self.buckets, receipts, registry)

    def upload(self, name: str, rows: Columns | bytes) -> Receipt:
        payload = rows if isinstance(rows, bytes) else csv_of(self.problem, rows)
        stored = self.buckets.landing.put(name, payload)
        return self.services.receipts.register(UploadedObject("landing", name, stored.generation))[0]

    def take_in(self, name: str, rows: Columns | bytes) -> Receipt:
        return intake.ingest(self.services, self.upload(name, rows))

    def rows_csv(self, receipt: Receipt) -> list[dict[str, str]]:
        text = self.buckets.data.read(f"quarantine/{receipt.id}/rows.csv").decode()
        return list(csv.DictReader(io.StringIO(text, newline="")))


def later(rows: Columns, by: int = 1000) -> dict[str, Any]:
    """The same cups in other pots."""
    return {**rows, "pot": rows["pot"] + by}


@pytest.mark.parametrize("new_job", [False, True])
def test_a_file_uploaded_twice_brings_nothing_and_says_whose_rows_it_holds(new_job: bool) -> None:
    desk = Desk()
    first = desk.take_in("one.csv", pots(40))
    if new_job:
        desk.job()
    second = desk.take_in("two.csv", pots(40)).accepted
    assert (first.accepted.fresh, first.accepted.repeats) == (40, {})
    assert (second.fresh, second.changed, second.repeats) == (0, 0, {first.id: 40})
    assert second.notes == ["40 of 40 rows were accepted before with one.csv"]
    found = intake.window(desk.services)
    assert [r.object.name for r in found.inputs] == ["one.csv"]
    assert "one.csv" in found.idle["two.csv"]


def test_the_copy_can_still_be_trained_on_when_it_is_named() -> None:
    desk = Desk()
    desk.take_in("one.csv", pots(40))
    desk.take_in("two.csv", pots(40))
    found = intake.window(desk.services, ["two.csv"])
    assert ([r.object.name for r in found.inputs], found.idle) == (["two.csv"], {})


def test_a_correction_counts_and_says_how_many_rows_it_changes() -> None:
    desk, rows = Desk(), pots(40)
    desk.take_in("one.csv", rows)
    mended = {**rows, "drunk": np.where(np.arange(40) < 3, 1 - rows["drunk"], rows["drunk"])}
    second = desk.take_in("two.csv", mended).accepted
    assert (second.fresh, second.changed) == (0, 3)
    assert "3 of them with other values" in second.notes[0]
    assert [r.object.name for r in intake.window(desk.services).inputs] == ["one.csv", "two.csv"]


def test_a_new_generation_replaces_its_own_rows_and_a_copy_counts_once_the_first_is_overwritten() -> None:
    desk, rows = Desk(), pots(40)
    desk.take_in("one.csv", rows)
    desk.take_in("copy.csv", rows)
    again = desk.take_in("one.csv", later(rows)).accepted
    assert (again.fresh, again.repeats) == (40, {})
    found = intake.window(desk.services)
    assert ([r.object.name for r in found.inputs], found.idle) == (["copy.csv", "one.csv"], {})


def test_a_copy_is_not_mistaken_for_its_own_earlier_generation() -> None:
    desk = Desk()
    desk.take_in("one.csv", pots(40))
    assert desk.take_in("one.csv", pots(40)).accepted.fresh == 40


def test_an_upload_taken_in_from_the_start_again_is_not_its_own_copy() -> None:
    desk = Desk()
    first, copy = desk.take_in("one.csv", pots(40)), desk.take_in("two.csv", pots(40))
    fresh = desk.services.receipts.advance(first, state="received", accepted=None)
    desk.services.known.expire()  # the next round of the same job
    first = intake.ingest(desk.services, fresh)
    assert first.accepted.repeats == {copy.id: 40}
    found = intake.window(desk.services)
    assert ([r.id for r in found.inputs], list(found.idle)) == ([first.id], ["two.csv"])
    third = desk.take_in("three.csv", pots(40)).accepted
    assert third.fresh == 0


def test_rows_of_one_identity_in_one_file_are_told() -> None:
    rows = pots(40)
    rows["pot"][:5] = 7
    assert "5 of 40 rows are overwritten by a later row" in Desk().take_in("one.csv", rows).accepted.notes[0]


def weighed(rows: int, seed: int) -> dict[str, Any]:
    return {**pots(rows, seed=seed), "mass": np.random.default_rng(seed).lognormal(5, 0.3, rows)}


def scales() -> Problem:
    usual = tea()
    return tea(
        columns=(*usual.columns, MASS), features=(*usual.features, MASS), key=("leaf", "cup", "minutes", "mass")
    )


def test_other_units_are_quarantined_until_a_person_says_that_they_are_meant() -> None:
    desk = Desk(scales())
    desk.take_in("grams.csv", weighed(500, 1))
    milligrams = {**weighed(500, 2), "mass": weighed(500, 2)["mass"] * 1000}
    refused = desk.take_in("milligrams.csv", later(milligrams))
    assert (refused.state, refused.code) == ("quarantined", "drifted")
    assert "mass" in refused.reason
    assert f"dropfit quarantine release {refused.id[:12]}" in refused.reason
    override = Override(codes=("drifted",), by="ann", at=refused.updated_at)
    again = desk.services.receipts.advance(refused, state="received", override=override)
    assert intake.ingest(desk.services, again).state == "accepted"
    assert desk.take_in("more-milligrams.csv", later(milligrams, 2000)).state == "accepted"  # no longer strange


def test_the_drift_check_can_be_switched_off() -> None:
    desk = Desk(scales(), max_drift_share=1.0)
    desk.take_in("grams.csv", weighed(500, 1))
    milligrams = {**weighed(500, 2), "mass": weighed(500, 2)["mass"] * 1000}
    assert desk.take_in("milligrams.csv", later(milligrams)).state == "accepted"


def test_a_file_refused_for_its_rows_keeps_them_for_the_person_who_mends_it() -> None:
    rows = pots(40)
    rows["leaf"][:30] = "much too long a name"
    desk = Desk()
    refused = desk.take_in("one.csv", rows)
    assert (refused.state, refused.code) == ("quarantined", "too-many-bad-rows")
    assert [r["dropfit_row"] for r in desk.rows_csv(refused)] == [str(n) for n in range(1, 31)]
    assert desk.buckets.data.stat(f"quarantine/{refused.id}/reason.json")


def test_a_file_of_the_wrong_form_leaves_no_empty_sheet() -> None:
    desk = Desk()
    refused = desk.take_in("one.csv", b"a,b\n1,2\n")
    assert refused.state == "quarantined"
    assert [s.name for s in desk.buckets.data.list("quarantine/")] == [f"quarantine/{refused.id}/reason.json"]


def test_a_stored_file_that_cannot_be_read_keeps_no_upload_from_being_taken_in() -> None:
    desk = Desk()
    first = desk.take_in("one.csv", pots(40))
    desk.buckets.data.put(first.accepted_name, b"PAR1 no more")
    desk.job()
    assert desk.take_in("two.csv", pots(40)).accepted.fresh == 40
