# SPDX-License-Identifier: Apache-2.0
"""How a version stands, and why, in words that a tired person understands."""

from __future__ import annotations

from room import Room

from dropfit import explain
from dropfit.pointer import CURRENT


def words(room: Room, version: str) -> str:
    return " ".join(explain.why(explain.story(room.registry, version)))


def test_the_served_version_says_since_when_and_by_whom() -> None:
    room = Room()
    assert "It is served since" in words(room, "v3")
    assert "by job" in words(room, "v3")
    room.desk.pin()
    assert "It is pinned" in words(room, "v3")


def test_a_version_that_waits_says_what_to_do() -> None:
    told = words(Room(), "v4")
    assert "The gate let it pass, compared with v3: so." in told
    assert "`dropfit approve v4`" in told


def test_one_that_was_rolled_back_from_says_who_serves_what_instead() -> None:
    room = Room()
    room.desk.rollback()
    told = words(room, "v3")
    assert "It was served since" in told
    assert "v2 is served, since" in told
    assert "by ann" in told
    assert "`dropfit rollback v3` serves it again" in told


def test_a_rejected_one_says_who_and_why() -> None:
    room = Room()
    room.desk.reject("v4", "odd in the north")
    assert "rejected by ann" in words(room, "v4")
    assert "odd in the north" in words(room, "v4")


def test_one_that_did_not_pass_or_was_never_judged_says_so() -> None:
    room = Room()
    room.make("v5", passed=False)
    assert "The gate kept it from being served: so." in words(room, "v5")
    room.models.delete("versions/v5/report.json")
    assert "has not judged it" in words(room, "v5")


def test_also_over_a_broken_pointer_a_version_can_be_explained() -> None:
    room = Room()
    room.models.put(CURRENT, b"{")
    assert "not readable" in words(room, "v3")


def test_standings_are_told_apart() -> None:
    room = Room()
    room.make("v5", passed=False)
    room.desk.rollback()
    told = {v: explain.story(room.registry, v).standing for v in ("v1", "v2", "v3", "v4", "v5")}
    assert told == {"v1": "was served", "v2": "served", "v3": "was served", "v4": "waiting", "v5": "kept"}
    summary = explain.summary(explain.story(room.registry, "v4"))
    assert summary["standing"] == "waiting"
    assert summary["completed"]["snapshot"]["name"] == room.head("v4").name
