# SPDX-License-Identifier: Apache-2.0
"""The commands about versions and jobs, as a person uses them on a served model."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from dropfit.receipts import Receipt
from localcloud.cloud import LocalCloud

Dropfit = Callable[..., Any]


@pytest.fixture
def home(january: Receipt, cloud: LocalCloud) -> Path:
    return cloud.home.root


def test_a_version_is_shown_and_explained_by_a_part_of_its_name(
    dropfit: Dropfit, home: Path, january: Receipt, tmp_path: Path
) -> None:
    end = january.version[-6:]
    shown = dropfit("show", end, home=home)
    assert shown.returncode == 0, shown.stderr
    assert january.version in shown.stdout
    assert "flights-2013-01.csv" in shown.stdout
    told = json.loads(dropfit("show", january.version, "--json", home=home).stdout)
    assert told["manifest"]["inputs"][0]["generation"] == january.object.generation
    why = dropfit("why", end, home=home).stdout
    assert "The gate let it pass" in why
    saved = dropfit("show", end, "--save", str(tmp_path / "report"), home=home)
    assert saved.returncode == 0, saved.stderr
    unknown = dropfit("why", "nonsense", home=home)
    assert (unknown.returncode, "dropfit versions" in unknown.stderr) == (1, True)


@pytest.mark.verify
def test_a_pin_is_told_everywhere_and_taken_off_again(dropfit: Dropfit, home: Path, january: Receipt) -> None:
    served = next(v["version"] for v in json.loads(dropfit("versions", "--json", home=home).stdout) if v["served"])
    pinned = dropfit("pin", home=home)
    assert (pinned.returncode, f"served: {served}, pinned" in pinned.stdout) == (0, True), pinned.stderr
    assert "pinned" in dropfit("versions", home=home).stdout
    assert "It is pinned" in dropfit("why", served, home=home).stdout
    assert dropfit("unpin", home=home).returncode == 0
    assert "pinned" not in dropfit("versions", home=home).stdout


@pytest.mark.verify
def test_what_cannot_be_decided_is_refused_with_the_reason(dropfit: Dropfit, home: Path, january: Receipt) -> None:
    served = next(v["version"] for v in json.loads(dropfit("versions", "--json", home=home).stdout) if v["served"])
    for verb, reason in (("approve", "served already"), ("reject", "is served")):
        told = dropfit(verb, served, home=home)
        assert (told.returncode, reason in told.stderr) == (1, True), told.stderr
    told = dropfit("rollback", "20000101T000000-00000000", home=home)
    assert (told.returncode, "Traceback" in told.stderr) == (1, False)


def test_runs_lists_every_run_with_its_steps(dropfit: Dropfit, home: Path, january: Receipt) -> None:
    runs = json.loads(dropfit("runs", "--json", home=home).stdout)
    run = next(r for r in runs if january.id in r["receipts"])
    assert [s["name"] for s in run["steps"]] == ["ingest", "train", "export", "gate", "table", "promote"]
    assert all(s["seconds"] is not None for s in run["steps"])
    assert run["job"] in dropfit("runs", home=home).stdout


@pytest.mark.verify
def test_replay_and_gc_say_what_they_did_where_there_is_nothing_to_do(
    dropfit: Dropfit, home: Path, january: Receipt
) -> None:
    replayed = dropfit("replay", "--wait", home=home)
    assert replayed.returncode == 0, replayed.stderr
    nothing = dropfit("replay", "never.csv", home=home)
    assert (nothing.returncode, "never.csv" in nothing.stderr) == (1, True)
    assert json.loads(dropfit("gc", "--dry-run", "--json", home=home).stdout) == []
    removed = dropfit("gc", home=home)
    assert (removed.returncode, "nothing" in removed.stdout) == (0, True), removed.stderr
