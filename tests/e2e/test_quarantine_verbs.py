# SPDX-License-Identifier: Apache-2.0
"""`dropfit quarantine ...`, as a person uses it on files that were set aside."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from beam_pipelines import retrain
from beam_pipelines.intake import Services
from dropfit import storage
from dropfit.contract import load_problem
from dropfit.receipts import Receipts, UploadedObject
from dropfit.registry import Registry
from dropfit.settings import Settings
from dropfit.storage import Buckets

Dropfit = Callable[..., Any]
EVIL = "Atlantis [red]\x1b[2J"


@pytest.fixture
def buckets(deployment: Callable[..., Settings], penguins: list[Path]) -> Buckets:
    """One season with bad rows too many, and a file of another form, both taken in by the job."""
    given = deployment(DROPFIT_TRAINING="static", DROPFIT_PROBLEM="penguins:problem", DROPFIT_MAX_BAD_SHARE="0.1")
    found = storage.connect(given)
    receipts = Receipts(found.data)
    rows = pd.read_csv(penguins[0])
    rows.loc[:19, "Island"] = EVIL
    for name, payload in {"spoiled.csv": rows.to_csv(index=False).encode(), "form.csv": b"a,b\n1,2\n"}.items():
        stored = found.landing.put(name, payload)
        receipts.register(UploadedObject(stored.bucket, name, stored.generation))
    services = Services(given, load_problem(given.problem), found, receipts, Registry(found.models))
    retrain.work(services, "test")
    return found


@pytest.fixture
def verb(dropfit: Dropfit, buckets: Buckets, tmp_path: Path) -> Dropfit:
    ours = {n: v for n, v in os.environ.items() if n.startswith(("DROPFIT_", "GOOGLE_", "STORAGE_", "BIGQUERY_"))}
    ours.pop("DROPFIT_HOME", None)
    return lambda *arguments: dropfit("quarantine", *arguments, home=tmp_path, **ours)


def test_a_person_looks_saves_the_rows_and_releases_the_file(verb: Dropfit, buckets: Buckets, tmp_path: Path) -> None:
    listed = json.loads(verb("list", "--json").stdout)
    assert [(e["object"], e["code"]) for e in listed] == [
        ("form.csv", "missing-columns"),
        ("spoiled.csv", "too-many-bad-rows"),
    ]
    short = listed[1]["id"][:12]
    people = verb("list").stdout
    assert short in people
    assert "\x1b" not in people
    shown = verb("show", short, "--save", str(tmp_path / "rows.csv")).stdout
    assert "not one of Biscoe, Dream, Torgersen" in shown
    assert "Atlantis [red]" in shown  # no markup of theirs
    assert "\x1b" not in shown
    assert f"dropfit quarantine release {short}" in shown
    assert len(pd.read_csv(tmp_path / "rows.csv")) == 20
    again = verb("show", short, "--save", str(tmp_path / "rows.csv"))
    assert (again.returncode, "File exists" in again.stderr) == (1, True)

    released = verb("release", "spoiled.csv", "--wait")
    assert released.returncode == 0, released.stdout + released.stderr
    assert "overridden: too-many-bad-rows" in released.stdout
    assert "spoiled.csv: recorded" in released.stdout
    (receipt,) = (r for r in Receipts(buckets.data).all() if r.object.name == "spoiled.csv")
    assert (receipt.state, receipt.override.codes) == ("recorded", ("too-many-bad-rows",))
    assert {e["object"]: e["code"] for e in json.loads(verb("list", "--json").stdout)}["spoiled.csv"] == "rows"
    refused = verb("release", short)
    assert refused.returncode == 1
    assert "is recorded, not quarantined" in refused.stderr


def test_a_fault_of_form_is_read_again_and_said_to_be_one(verb: Dropfit) -> None:
    told = verb("release", "form.csv", "--as-is", "--wait")
    assert told.returncode == 1
    assert "fault of form, which cannot be overridden" in told.stdout
    assert "form.csv: quarantined" in told.stdout


def test_what_nobody_knows_is_said_to_be_unknown(verb: Dropfit) -> None:
    told = verb("show", "nothing")
    assert told.returncode == 1
    assert "dropfit quarantine list" in told.stderr
