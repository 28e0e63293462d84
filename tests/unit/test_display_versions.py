# SPDX-License-Identifier: Apache-2.0
"""What a person reads of versions, runs and orphans: complete, and harmless whatever the names are."""

from __future__ import annotations

import io
from typing import Any

import pytest
from fakes import completed
from rich.console import Console
from room import Room

from dropfit import display_versions as display
from dropfit import explain, overview
from dropfit.collect import Orphan
from dropfit.runs import RunLog
from dropfit.storage import Stored
from dropfit.verdict import Sampled, Shift


def text(renderable: Any) -> str:
    console = Console(file=io.StringIO(), width=200, force_terminal=False)
    console.print(renderable)
    return console.file.getvalue()  # type: ignore[attr-defined]


@pytest.fixture
def room() -> Room:
    return Room()


def test_versions_say_how_each_stands_and_why_one_waits(room: Room) -> None:
    room.make("v5", passed=False)
    told = text(display.versions(overview.versions(room.registry)))
    for version, standing in (("v1", "was served"), ("v3", "served"), ("v4", "waiting"), ("v5", "kept")):
        assert any(version in line and standing in line for line in told.splitlines()), told
    assert "v5 kept: so" in told


def test_where_there_are_none_it_says_so() -> None:
    assert "none yet" in text(display.versions([]))
    assert "none yet" in text(display.runs([]))
    assert "nothing" in text(display.orphans([], dry_run=False))


def test_one_version_is_told_with_its_data_and_its_table(room: Room) -> None:
    told = text(display.version(explain.story(room.registry, "v4")))
    for found in ("v4.csv", "predictions__v4", "waiting", "`dropfit approve v4`", "seed"):
        assert found in told
    assert "5 of 10 keys, 1 groups, 10 bytes" in told


def test_one_without_a_snapshot_is_told_so(room: Room) -> None:
    room.registry.complete(completed("v4", "predictions__v4", 10))
    assert "no snapshot" in text(display.version(explain.story(room.registry, "v4")))
    room.make("v5", passed=False)
    assert "no snapshot" in text(display.version(explain.story(room.registry, "v5")))


def test_a_run_is_told_with_its_steps_and_one_that_was_killed_as_such(room: Room) -> None:
    log = RunLog(room.data, "job-1")  # type: ignore[arg-type]
    with log.step("ingest"):
        pass
    assert "killed" in text(display.runs(overview.runs(room.data, 5)))  # type: ignore[arg-type]
    log.finish("kept", "worse in [red]the north[/]")
    told = text(display.runs(overview.runs(room.data, 5)))  # type: ignore[arg-type]
    assert "ingest 0.0" in told
    assert "worse in [red]the north[/]" in told


def test_a_version_tells_what_was_found_of_its_table(room: Room) -> None:
    shift = Shift("predictions__v3", "total variation", 0.61, 0.4)
    done = completed("v4", "predictions__v4", 12, sample=Sampled(10, 0, 1e-7), shift=shift)
    room.registry.complete(done)
    told = text(display.version(explain.story(room.registry, "v4")))
    assert "predictions__v4: 12 rows, each key once; verified" in told
    assert "10 of them predicted again, 0 differ" in told
    assert "total variation of 0.610 from predictions__v3 (the policy's max_shift is 0.4)" in told
    assert "Its table lies far from the one that was served" in told


def test_orphans_are_told_with_their_bytes() -> None:
    stored = Stored("data", "accepted/x\x1b[2J.parquet", 1, 1234, None, {})  # type: ignore[arg-type]
    told = text(display.orphans([Orphan("rows", stored.name, "nobody names them", (stored,))], dry_run=True))
    assert "1,234" in told
    assert "\x1b" not in told
