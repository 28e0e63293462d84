# SPDX-License-Identifier: Apache-2.0
"""What lies in the quarantine, and who lets it out."""

from __future__ import annotations

import io
from typing import Any

import pytest
from fake_bucket import FakeBucket
from fakes import pots
from test_intake import Desk

from beam_pipelines import intake
from dropfit import quarantine
from dropfit.errors import BadRequest, Conflict, NotFound
from dropfit.receipts import Receipt


def spoiled(rows: int = 40, bad: int = 30) -> dict[str, Any]:
    made = pots(rows)
    made["leaf"][:bad] = "=cmd() [red]much too long"
    return made


def condemned(desk: Desk, name: str = "bad.csv") -> Receipt:
    return desk.take_in(name, spoiled())


def test_the_list_tells_refused_files_and_rows_set_aside_newest_first() -> None:
    desk = Desk()
    desk.take_in("good.csv", pots(40))
    some = desk.take_in("some.csv", {**spoiled(bad=2), "pot": pots(40)["pot"] + 100})
    bad = condemned(desk)
    first, second = quarantine.entries(desk.services.receipts)
    assert (first["id"], first["object"], first["code"], first["rows"]) == (
        bad.id,
        "bad.csv",
        "too-many-bad-rows",
        None,
    )
    assert (second["id"], second["state"], second["code"], second["rows"]) == (some.id, "accepted", "rows", 2)
    assert "longer than 12 characters (2)" in second["reason"]


def test_an_upload_is_found_by_id_by_its_beginning_and_by_name() -> None:
    desk = Desk()
    bad = condemned(desk)
    newer = condemned(desk, "dir/other.csv")
    everything = desk.services.receipts.all()
    for wanted in (bad.id, bad.id[:12], "bad.csv"):
        assert quarantine.find(everything, wanted).id == bad.id
    assert quarantine.find(everything, "dir/other.csv").id == newer.id
    for unknown in ("", "f", "other.csv", "0" * 64, "../x"):
        with pytest.raises(NotFound):
            quarantine.find(everything, unknown)
    with pytest.raises(BadRequest, match="begins 2 ids"):
        quarantine.find([bad, bad], bad.id[:6])


def test_of_a_name_the_generation_that_lies_in_the_quarantine_is_meant() -> None:
    desk = Desk()
    bad = condemned(desk, "a.csv")
    desk.take_in("a.csv", pots(40))
    assert quarantine.find(desk.services.receipts.all(), "a.csv").id == bad.id


def test_show_counts_the_reasons_and_gives_the_first_rows() -> None:
    desk = Desk()
    found = quarantine.show(desk.buckets.data, condemned(desk), 3)
    assert found["reasons"] == {"leaf: longer than 12 characters": 30}
    assert [row["row"] for row in found["first"]] == ["1", "2", "3"]
    assert found["first"][0]["value"].endswith("=cmd() [red]much too long")
    assert found["rows_csv"].endswith("rows.csv")
    assert "dropfit quarantine release" in found["next"]


def test_show_of_rows_set_aside_says_how_to_mend_them() -> None:
    desk = Desk()
    found = quarantine.show(desk.buckets.data, desk.take_in("some.csv", spoiled(bad=2)), 10)
    assert (len(found["first"]), found["rows"]) == (2, 2)
    assert "--save" in found["next"]
    assert "release" not in found["next"]


def test_the_saved_rows_can_be_mended_and_uploaded_again() -> None:
    desk = Desk()
    receipt = desk.take_in("some.csv", spoiled(bad=2))
    saved = io.BytesIO()
    quarantine.save(desk.buckets.data, receipt, saved)
    mended = desk.take_in("mended.csv", saved.getvalue().replace(b"=cmd() [red]much too long", b"assam")).accepted
    assert (mended.rows, mended.rejected, mended.fresh) == (2, 0, 2)


def test_of_a_good_upload_there_is_nothing_to_show() -> None:
    desk = Desk()
    with pytest.raises(BadRequest, match="nothing of it lies in the quarantine"):
        quarantine.show(desk.buckets.data, desk.take_in("good.csv", pots(40)), 3)


def test_a_released_file_is_read_again_and_its_bad_rows_stay_aside() -> None:
    desk = Desk()
    bad = condemned(desk)
    before = desk.buckets.landing.stat("bad.csv")
    released = quarantine.release(desk.buckets, bad.id, "ann")
    assert (released.state, released.attempts, released.reason) == ("received", 0, "")
    assert (released.override.by, released.override.codes) == ("ann", ("too-many-bad-rows",))
    desk.job()
    taken = intake.ingest(desk.services, released)
    assert (taken.state, taken.accepted.rows, taken.accepted.rejected) == ("accepted", 10, 30)
    assert taken.override == released.override
    (entry,) = quarantine.entries(desk.services.receipts)
    assert (entry["code"], entry["rows"]) == ("rows", 30)
    assert desk.buckets.landing.stat("bad.csv") == before


def test_a_release_overrides_the_one_judgement_and_as_is_all_of_them() -> None:
    desk = Desk()
    one, other = condemned(desk, "one.csv"), condemned(desk, "other.csv")
    assert quarantine.release(desk.buckets, one.id, "ann").overridden == {"too-many-bad-rows"}
    assert quarantine.release(desk.buckets, other.id, "ann", as_is=True).overridden == quarantine.JUDGEMENTS


def test_a_second_release_remembers_the_first() -> None:
    desk = Desk()
    bad = condemned(desk)
    released = quarantine.release(desk.buckets, bad.id, "ann")
    desk.services.receipts.get(bad.id)
    desk.services.receipts.advance(released, state="quarantined", code="drifted")
    assert quarantine.release(desk.buckets, bad.id, "bob").overridden == {"too-many-bad-rows", "drifted"}


def test_a_fault_of_form_is_overridden_by_nothing_and_read_once_more() -> None:
    desk = Desk()
    bad = desk.take_in("bad.csv", b"a,b\n1,2\n")
    assert "cannot be overridden" in quarantine.show(desk.buckets.data, bad, 3)["next"]
    released = quarantine.release(desk.buckets, bad.id, "ann")
    assert released.overridden == frozenset()
    desk.job()
    assert intake.ingest(desk.services, released).code == "missing-columns"


def test_where_prepare_is_at_fault_it_is_not_the_file_that_is_to_be_corrected() -> None:
    desk = Desk()
    bad = condemned(desk)
    desk.services.receipts.advance(bad, state="quarantined", code="prepare")
    told = quarantine.show(desk.buckets.data, desk.services.receipts.get(bad.id), 3)["next"]
    assert told.startswith("mend problem.py; then `dropfit quarantine release")


def test_no_release_makes_rows_of_a_file_that_has_none() -> None:
    desk = Desk()
    bad = desk.take_in("bad.csv", spoiled(bad=40))
    released = quarantine.release(desk.buckets, bad.id, "ann", as_is=True)
    desk.job()
    assert intake.ingest(desk.services, released).state == "quarantined"


@pytest.mark.parametrize(("then", "state"), [("overwritten", "superseded"), ("deleted", "deleted")])
def test_what_is_no_longer_there_cannot_be_released_and_gets_its_outcome(then: str, state: str) -> None:
    desk = Desk()
    bad = condemned(desk)
    desk.buckets.landing.delete("bad.csv")
    if then == "overwritten":
        desk.buckets.landing.put("bad.csv", b"something else")
    assert quarantine.release(desk.buckets, bad.id, "ann").state == state
    assert desk.services.receipts.get(bad.id).state == state
    assert quarantine.entries(desk.services.receipts) == []


@pytest.mark.parametrize("name", ["good.csv", "released.csv"])
def test_what_is_not_quarantined_is_not_released(name: str) -> None:
    desk = Desk()
    receipt = desk.take_in(name, pots(40)) if name == "good.csv" else condemned(desk, name)
    if name == "released.csv":
        quarantine.release(desk.buckets, receipt.id, "ann")
    with pytest.raises(BadRequest, match="not quarantined"):
        quarantine.release(desk.buckets, receipt.id, "bob")


def test_of_two_who_release_at_once_one_is_told_that_the_other_was_first(monkeypatch: pytest.MonkeyPatch) -> None:
    desk = Desk()
    bad = condemned(desk)
    look = FakeBucket.stat

    def other_first(self: FakeBucket, name: str) -> Any:
        monkeypatch.setattr(FakeBucket, "stat", look)
        quarantine.release(desk.buckets, bad.id, "bob")
        return look(self, name)

    monkeypatch.setattr(FakeBucket, "stat", other_first)
    with pytest.raises(Conflict):
        quarantine.release(desk.buckets, bad.id, "ann")
    assert desk.services.receipts.get(bad.id).override.by == "bob"


def test_what_a_release_can_override_is_what_ingest_and_the_drift_check_judge() -> None:
    from dropfit import ingest

    assert {*ingest.JUDGEMENTS, quarantine.DRIFTED} == quarantine.JUDGEMENTS
