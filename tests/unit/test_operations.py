# SPDX-License-Identifier: Apache-2.0
"""A person's word about the served version counts, and no training that began before undoes it."""

from __future__ import annotations

from typing import Any

import pytest
from fakes import completed
from room import Room

from dropfit import operations
from dropfit.errors import ArtifactError, Conflict, NotFound, Unavailable
from dropfit.manifest import table_name
from dropfit.operations import Desk
from dropfit.pointer import CURRENT
from dropfit.receipts import Receipts


@pytest.fixture
def room() -> Room:
    return Room()


def test_a_rollback_serves_the_version_before_model_and_table_together(room: Room) -> None:
    moved = room.desk.rollback()
    assert (moved.before, moved.pointer.version, moved.pointer.table) == ("v3", "v2", table_name("v2"))
    assert room.tables.view == table_name("v2")
    assert room.pointer.manifest_sha256 == room.registry.seal("v2")
    assert room.pointer.by == "ann"
    assert room.pointer.snapshot == room.head("v2")


def test_a_version_that_was_refreshed_comes_back_with_its_newest_table(room: Room) -> None:
    table = table_name("v3", "r1")
    head = room.registry.add_artifact("v3", "snapshot", ".head", b"newer head of v3")
    room.tables.there.add(table)
    room.registry.refill(table, room.registry.current(), head)
    room.registry.complete(completed("v3", table, 12, head))
    room.desk.rollback()
    moved = room.desk.rollback("v3")
    assert (moved.pointer.table, moved.pointer.snapshot, room.tables.view) == (table, head, table)
    room.models.put(CURRENT, b"{")  # and also where the pointer no longer tells of it
    room.tables.view = ""
    moved = room.desk.rollback("v3")
    assert (moved.pointer.table, moved.pointer.snapshot, room.tables.view) == (table, head, table)


def test_rolling_back_again_goes_further_back_and_not_to_and_fro(room: Room) -> None:
    room.desk.rollback()
    assert room.desk.rollback().pointer.version == "v1"
    with pytest.raises(NotFound, match="nothing was served before v1"):
        room.desk.rollback()


def test_after_a_rollback_the_newer_version_can_be_served_again_by_name(room: Room) -> None:
    room.desk.rollback()
    assert room.desk.rollback("v3").pointer.version == "v3"
    assert room.desk.rollback().pointer.version == "v2"


def test_a_training_that_began_before_a_rollback_cannot_promote(room: Room) -> None:
    since = room.registry.current()
    room.desk.rollback()
    with pytest.raises(Conflict):
        room.registry.promote("v4", table_name("v4"), since)
    assert room.pointer.version == "v2"
    assert room.pointer.epoch == since.pointer.epoch + 1  # type: ignore[union-attr]


def test_a_rollback_that_meets_a_promotion_is_tried_again_and_wins(room: Room) -> None:
    move, calls = room.registry.move, []

    def meanwhile(*given: Any, **more: Any) -> Any:
        if not calls:
            calls.append(1)
            room.promote("v4")
        return move(*given, **more)

    room.registry.move = meanwhile  # type: ignore[method-assign]
    desk = Desk(room.registry, room.receipts, room.tables, "ann")  # type: ignore[arg-type]
    assert desk.rollback("v1").pointer.version == "v1"
    assert room.pointer.version == "v1"


@pytest.mark.parametrize("spoil", ["table", "model", "probe", "snapshot", "table.json", "manifest"])
def test_a_version_that_is_not_whole_is_not_rolled_back_to(room: Room, spoil: str) -> None:
    if spoil == "table":
        room.tables.there.remove(table_name("v2"))
    elif spoil == "snapshot":
        room.models.rot(room.head("v2").name, b"head of v1")
    elif spoil in ("model", "probe"):
        room.models.put(getattr(room.registry.manifest("v2"), spoil).name, b"something else")
    elif spoil == "manifest":
        name = "versions/v2/manifest.json"
        room.models.put(name, room.models.read(name).replace(b"300", b"301"))
    else:
        room.models.delete("versions/v2/table.json")
    before = room.registry.current()
    with pytest.raises((ArtifactError, NotFound)):
        room.desk.rollback()
    assert room.registry.current() == before


def test_bigquery_being_down_delays_the_view_and_not_the_rollback(room: Room) -> None:
    room.tables.down = True
    moved = room.desk.rollback()
    assert room.pointer.version == "v2"
    assert "view does not follow yet" in moved.warnings[0]


@pytest.mark.parametrize("garbage", [b"", b"{", b'{"version": 5}'])
def test_over_a_broken_pointer_a_named_version_can_be_rolled_back_to(room: Room, garbage: bytes) -> None:
    room.models.put(CURRENT, garbage)
    with pytest.raises(NotFound, match="name one"):
        room.desk.rollback()
    assert room.desk.rollback("v2").pointer.version == "v2"
    assert room.pointer.epoch > 1_000_000


def test_a_pinned_version_is_not_replaced_by_a_training_nor_by_an_approval(room: Room) -> None:
    room.desk.pin()
    with pytest.raises(Conflict, match="pinned by ann"):
        room.promote("v4")
    with pytest.raises(Conflict, match="unpin"):
        room.desk.approve("v4")
    assert (room.pointer.version, room.pointer.pinned) == ("v3", True)
    room.desk.unpin()
    room.promote("v4")
    assert (room.pointer.version, room.pointer.pinned) == ("v4", False)


def test_pinning_another_version_serves_it_and_a_rollback_leaves_the_pin(room: Room) -> None:
    assert room.desk.pin("v2").pointer.version == "v2"
    assert room.desk.rollback().pointer.pinned
    assert room.pointer.version == "v1"


def test_an_approved_version_is_served_and_its_uploads_are_promoted(room: Room) -> None:
    moved = room.desk.approve("v4")
    assert (moved.before, room.pointer.version, room.state("v4")) == ("v3", "v4", "promoted")
    assert room.tables.view == table_name("v4")
    assert room.registry.decision("v4").approved  # type: ignore[union-attr]
    assert room.pointer.snapshot == room.head("v4")
    assert room.desk.rollback().pointer.snapshot == room.head("v3")


def test_a_version_that_the_pointer_does_not_remember_is_served_with_the_snapshot_that_it_names(room: Room) -> None:
    assert room.desk.rollback("v4").pointer.snapshot == room.head("v4")


def test_a_version_from_before_there_were_snapshots_is_served_again_without_one(room: Room) -> None:
    room.registry.complete(completed("v4", table_name("v4"), 10))
    room.registry.promote("v4", table_name("v4"), room.registry.current(), "job", room.registry.seal("v4"))
    assert room.desk.rollback("v3").pointer.snapshot == room.head("v3")
    assert room.desk.rollback("v4").pointer.snapshot is None
    assert room.pointer.version == "v4"


def test_a_pointer_that_names_a_file_of_another_version_is_not_followed(room: Room) -> None:
    payload = room.models.read(CURRENT)
    for name in (b"versions/v2/snapshot", b"../v3/snapshot", b"versions/v3/x/snapshot"):
        room.models.put(CURRENT, payload.replace(b"versions/v3/snapshot", name))
        with pytest.raises(ArtifactError, match="not its own"):
            room.registry.current()
    room.models.put(CURRENT, payload)
    assert room.pointer.version == "v3"


def test_a_rejected_version_is_kept_with_who_and_why(room: Room) -> None:
    room.desk.reject("v4", "odd")
    assert (room.pointer.version, room.state("v4")) == ("v3", "kept")
    assert Receipts(room.data).get(room.uploads["v4"].id).reason == "rejected by ann: odd"  # type: ignore[arg-type]


def test_what_did_not_pass_or_is_served_or_unknown_cannot_be_approved(room: Room) -> None:
    room.make("v5", passed=False)
    for version, why in (("v5", "did not pass"), ("v3", "served already")):
        with pytest.raises(Conflict, match=why):
            room.desk.approve(version)
    with pytest.raises(NotFound):
        room.desk.approve("v9")
    with pytest.raises(Conflict, match="is served"):
        room.desk.reject("v3")


def test_a_version_compared_with_another_than_the_served_one_wants_a_second_word(room: Room) -> None:
    room.desk.rollback()
    with pytest.raises(Conflict, match="--anyway"):
        room.desk.approve("v4")
    assert room.desk.approve("v4", anyway=True).pointer.version == "v4"


def test_an_approval_that_broke_off_before_the_outcomes_is_made_up_for(room: Room) -> None:
    room.data.fail("fetch", times=10)
    with pytest.raises(Unavailable):
        room.desk.approve("v4")
    assert room.pointer.version == "v4"
    room.data._before.clear()
    assert room.state("v4") == "held"
    assert operations.settle_decided(room.registry, Receipts(room.data)) == 1  # type: ignore[arg-type]
    assert room.state("v4") == "promoted"


def test_a_version_that_gc_is_removing_is_not_left_served(room: Room) -> None:
    move = room.registry.move

    def meanwhile(*given: Any, **more: Any) -> Any:
        pointer = move(*given, **more)
        room.models.delete("versions/v1/table.json")  # gc withdrew it just before
        room.registry.move = move  # type: ignore[method-assign]
        return pointer

    room.registry.move = meanwhile  # type: ignore[method-assign]
    desk = Desk(room.registry, room.receipts, room.tables, "ann")  # type: ignore[arg-type]
    with pytest.raises(Conflict, match="gc"):
        desk.rollback("v1")
    assert room.pointer.version == "v3"


def test_what_does_not_wait_cannot_be_rejected(room: Room) -> None:
    room.make("v5", passed=False, state="kept")
    with pytest.raises(Conflict, match="does not wait"):
        room.desk.reject("v5")


def test_a_pin_leaves_the_version_served_since_it_was(room: Room) -> None:
    since = room.pointer.promoted_at
    room.desk.pin()
    assert room.pointer.promoted_at == since


def test_a_pointer_that_vanished_is_told_from_one_that_never_was(room: Room) -> None:
    assert not room.registry.was_lost()
    room.models.delete(CURRENT)
    assert room.registry.was_lost()
