# SPDX-License-Identifier: Apache-2.0
"""The retraining job, against the emulators."""

from __future__ import annotations

import gzip
import io
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest
from houses import Make, shown
from penguins import FEATURES

from dropfit import orders, runs
from dropfit.contract import Number

FORMS: dict[str, Callable[[pd.DataFrame], bytes]] = {
    "plain.txt": lambda rows: rows.to_csv(index=False).encode(),
    "packed.bin": lambda rows: gzip.compress(rows.to_csv(index=False).encode()),
    "lines": lambda rows: rows.to_json(orient="records", lines=True).encode(),
    "columns.csv": lambda rows: _parquet(rows),
}


def _parquet(rows: pd.DataFrame) -> bytes:
    sink = io.BytesIO()
    rows.to_parquet(sink)
    return sink.getvalue()


def test_an_upload_becomes_a_served_version_and_a_table(house: Make, penguins: list[Path]) -> None:
    there = house()
    receipt = there.upload("PAL0708.csv", penguins[0])
    there.work()

    outcome, pointer = there.outcome(receipt), there.registry.current().pointer
    manifest = there.registry.manifest(pointer.version)
    assert (outcome.state, outcome.version) == ("promoted", pointer.version)
    assert [(i.object, i.generation, i.rows) for i in manifest.inputs] == [
        ("PAL0708.csv", receipt.object.generation, outcome.accepted.rows)
    ]
    assert manifest.metrics["log_loss"] < manifest.constant["log_loss"]
    rows = shown(there)
    keys = {tuple(row[name] for name in manifest.contract.key) for row in rows}
    assert len(rows) == len(keys) > 100
    assert {row["model_version"] for row in rows} == {pointer.version}
    assert all(abs(sum(p["probability"] for p in row["probabilities"]) - 1) < 1e-5 for row in rows)
    assert all(
        max(row["probabilities"], key=lambda p: p["probability"])["label"] == row["prediction"] for row in rows
    )


def test_the_run_tells_each_step_with_its_time(house: Make, penguins: list[Path]) -> None:
    there = house()
    receipt = there.upload("a.csv", penguins[0])
    there.work()
    (run,) = runs.latest(there.buckets.data, 5)
    assert [step.name for step in run.steps] == ["ingest", "train", "export", "gate", "table", "promote"]
    assert all(step.seconds is not None for step in run.steps)
    assert (run.outcome, run.receipts) == ("promoted", [receipt.id])


@pytest.mark.parametrize("name", FORMS)
def test_content_decides_what_a_file_is_and_not_its_name(house: Make, penguins: list[Path], name: str) -> None:
    there = house(DROPFIT_TRAINING="static")
    rows = pd.read_csv(penguins[0])
    receipt = there.upload(name, FORMS[name](rows))
    there.work()
    outcome = there.outcome(receipt)
    assert (outcome.state, outcome.accepted.rows, outcome.accepted.rejected) == ("recorded", len(rows), 0)


def test_rows_that_break_the_contract_are_set_aside_with_their_reasons(house: Make, penguins: list[Path]) -> None:
    there = house(DROPFIT_TRAINING="static")
    header, first, second, *rest = penguins[0].read_text().splitlines()
    spoiled = [header, first.replace("Torgersen", "Atlantis"), second.replace("17.4", "wide"), *rest]
    receipt = there.upload("spoiled.csv", "\n".join(spoiled).encode())
    there.work()
    accepted = there.outcome(receipt).accepted
    assert (accepted.rows, accepted.rejected) == (len(rest), 2)
    sheet = pd.read_csv(io.BytesIO(there.buckets.data.read(f"quarantine/{receipt.id}/rows.csv")))
    assert sheet[["dropfit_row", "dropfit_column"]].values.tolist() == [[1, "island"], [2, "Culmen Depth (mm)"]]
    assert list(sheet["Island"]) == ["Atlantis", "Torgersen"]


def test_a_bad_file_is_quarantined_and_does_not_keep_the_good_one_from_training(
    house: Make, penguins: list[Path]
) -> None:
    there = house()
    bad, good = there.upload("bad.csv", b"a,b\n1,2\n"), there.upload("good.csv", penguins[0])
    there.work()
    outcome = there.outcome(bad)
    assert (outcome.state, outcome.code) == ("quarantined", "missing-columns")
    assert "Species" in outcome.reason
    assert there.buckets.landing.read("bad.csv") == b"a,b\n1,2\n"
    assert there.outcome(good).state == "promoted"


def test_a_model_no_better_than_the_constant_is_kept_and_nothing_is_served(house: Make, penguins: list[Path]) -> None:
    there = house()
    rows = pd.read_csv(penguins[0]).sample(frac=1, random_state=1)
    features = [c for c in rows if c not in ("Species", "studyName", "Sample Number", "Date Egg")]
    rows[features] = rows[features].sample(frac=1, random_state=2).to_numpy()  # nothing left to learn
    receipt = there.upload("noise.csv", rows.to_csv(index=False).encode())
    there.work()
    outcome = there.outcome(receipt)
    assert (outcome.state, there.registry.current().pointer) == ("kept", None)
    assert "not better than the constant" in outcome.reason
    assert not there.registry.report(outcome.version).passed


def test_too_few_rows_train_nothing_and_say_so(house: Make, penguins: list[Path]) -> None:
    there = house()
    receipt = there.upload("few.csv", "\n".join(penguins[0].read_text().splitlines()[:10]).encode())
    there.work()
    outcome = there.outcome(receipt)
    assert outcome.state == "kept"
    assert "upload more data" in outcome.reason


def test_a_burst_of_uploads_is_one_training(house: Make, penguins: list[Path]) -> None:
    there = house()
    receipts = [there.upload(file.name, file) for file in penguins]
    there.work()
    outcomes = [there.outcome(receipt) for receipt in receipts]
    assert [o.state for o in outcomes] == ["promoted"] * 3
    ((manifest, _),) = there.registry.versions()
    assert manifest.rows == sum(o.accepted.rows for o in outcomes)


def test_an_object_overwritten_before_it_was_read_is_superseded(house: Make, penguins: list[Path]) -> None:
    there = house()
    old, new = there.upload("same.csv", penguins[0]), there.upload("same.csv", penguins[1])
    there.work()
    assert there.outcome(old).state == "superseded"
    assert str(new.object.generation) in there.outcome(old).reason
    assert there.outcome(new).state == "promoted"


def test_an_object_deleted_before_it_was_read_is_recorded_as_such(house: Make, penguins: list[Path]) -> None:
    there = house()
    receipt = there.upload("gone.csv", penguins[0])
    there.buckets.landing.delete("gone.csv")
    there.work()
    assert there.outcome(receipt).state == "deleted"


def test_a_job_run_again_changes_nothing(house: Make, penguins: list[Path]) -> None:
    there = house()
    there.upload("a.csv", penguins[0])
    there.work()
    before = there.registry.current()
    there.work()
    orders.ask(there.buckets.data, ())
    there.work()
    assert there.registry.current() == before
    assert len(there.registry.versions()) == 1


def test_static_training_records_an_upload_until_somebody_says_so(house: Make, penguins: list[Path]) -> None:
    there = house(DROPFIT_TRAINING="static")
    first, second = there.upload("one.csv", penguins[0]), there.upload("two.csv", penguins[1])
    there.work()
    assert [there.outcome(r).state for r in (first, second)] == ["recorded", "recorded"]
    assert there.registry.versions() == []
    orders.ask(there.buckets.data, ("one.csv",))
    there.work()
    pointer = there.registry.current().pointer
    assert [i.object for i in there.registry.manifest(pointer.version).inputs] == ["one.csv"]
    assert [there.outcome(r).state for r in (first, second)] == ["promoted", "recorded"]
    assert not orders.waiting(there.buckets.data)


@pytest.mark.verify
def test_an_order_that_names_uploads_is_not_said_to_have_trained_on_a_new_one(
    house: Make, penguins: list[Path]
) -> None:
    there = house()
    there.upload("one.csv", penguins[0])
    there.work()
    orders.ask(there.buckets.data, ("one.csv",))
    second = there.upload("two.csv", penguins[1])
    there.work()
    outcome = there.outcome(second)
    assert outcome.state == "promoted"
    assert {i.object for i in there.registry.manifest(outcome.version).inputs} == {"one.csv", "two.csv"}
    # The order's version has learned from nothing but what the served one knows, and cannot be compared with it.
    assert there.registry.current().pointer.version == outcome.version
    ordered = there.registry.report(next(i for i in there.registry.ids() if i != outcome.version))
    assert (ordered.passed, ordered.represented, ordered.champion) == (False, "none", outcome.version)
    assert not orders.waiting(there.buckets.data)


def test_an_upload_outside_the_training_window_is_recorded(house: Make, penguins: list[Path]) -> None:
    there = house()
    there.change(window=1)
    old, new = there.upload("old.csv", penguins[0]), there.upload("new.csv", penguins[1])
    there.work()
    assert (there.outcome(old).state, there.outcome(new).state) == ("recorded", "promoted")
    assert "window" in there.outcome(old).reason
    manifest = there.registry.manifest(there.outcome(new).version)
    assert [i.object for i in manifest.inputs] == ["new.csv"]


@pytest.mark.verify
def test_after_a_change_of_problem_py_earlier_uploads_are_read_again(house: Make, penguins: list[Path]) -> None:
    there = house()
    first = there.upload("one.csv", penguins[0])
    there.work()
    before = there.outcome(first).accepted
    fewer = FEATURES[:-1]
    there.change(features=fewer, key=tuple(feature.name for feature in fewer))
    second = there.upload("two.csv", penguins[1])
    there.work()
    assert there.outcome(second).state == "promoted"
    manifest = there.registry.manifest(there.outcome(second).version)
    assert [i.object for i in manifest.inputs] == ["one.csv", "two.csv"]
    assert there.outcome(first).accepted.sha256 != before.sha256


@pytest.mark.verify
def test_an_earlier_upload_that_no_longer_fits_problem_py_is_left_out(house: Make, penguins: list[Path]) -> None:
    there = house()
    there.upload("one.csv", penguins[0])
    there.work()
    there.change(columns=(*there.services.problem.columns, Number(name="Wing Span (mm)", missing=True)))
    wider = pd.read_csv(penguins[1]).assign(**{"Wing Span (mm)": 900})
    second = there.upload("two.csv", wider.to_csv(index=False).encode())
    there.work()
    manifest = there.registry.manifest(there.outcome(second).version)
    assert [i.object for i in manifest.inputs] == ["two.csv"]
