# SPDX-License-Identifier: Apache-2.0
"""Uploads that bring nothing new, and files that a person lets out of the quarantine, through the whole job."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from dropfit import quarantine

House = Any
Make = Callable[..., House]


def versions(house: House) -> list[str]:
    return [manifest.version for manifest, _ in house.registry.versions()]


@pytest.mark.parametrize("in_one_burst", [True, False])
def test_the_same_rows_under_two_names_count_once_and_train_nothing_new(
    house: Make, penguins: list[Path], in_one_burst: bool
) -> None:
    there = house()
    first = there.upload("one.csv", penguins[0])
    if not in_one_burst:
        there.work()
    served = there.registry.current().pointer
    second = there.upload("two.csv", penguins[0])
    there.work()
    ((manifest, _),) = there.registry.versions()
    assert [i.object for i in manifest.inputs] == ["one.csv"]
    assert (manifest.rows, manifest.duplicates) == (there.outcome(first).accepted.rows, 0)
    assert there.outcome(first).state == "promoted"
    outcome = there.outcome(second)
    assert (outcome.state, outcome.code, outcome.version) == ("recorded", "repeats", "")
    assert "one.csv" in outcome.reason
    assert in_one_burst or there.registry.current().pointer == served


@pytest.mark.verify
def test_a_copy_does_not_push_an_upload_out_of_the_window(house: Make, penguins: list[Path]) -> None:
    there = house()
    there.change(window=2)
    for file in penguins[:2]:
        there.upload(file.name, file)
    there.work()
    (before,) = versions(there)
    copy = there.upload("copy.csv", penguins[1])
    there.work()
    assert versions(there) == [before]
    assert there.outcome(copy).state == "recorded"
    assert there.registry.current().pointer.version == before


@pytest.mark.verify
def test_a_correction_under_another_name_is_trained_on(house: Make, penguins: list[Path]) -> None:
    there = house()
    there.upload("one.csv", penguins[0])
    there.work()
    rows = pd.read_csv(penguins[0])
    rows.loc[0, "Body Mass (g)"] += 50
    mended = there.upload("mended.csv", rows.to_csv(index=False).encode())
    there.work()
    assert there.outcome(mended).accepted.changed == 1
    assert there.outcome(mended).version != ""
    newest = there.registry.manifest(there.outcome(mended).version)
    assert [i.object for i in newest.inputs] == ["one.csv", "mended.csv"]
    assert newest.rows == newest.duplicates == len(rows)


def test_a_released_file_is_trained_on_and_its_bad_rows_stay_aside(house: Make, penguins: list[Path]) -> None:
    there = house(DROPFIT_MAX_BAD_SHARE="0.1")
    rows = pd.read_csv(penguins[0])
    rows.loc[:19, "Island"] = "Atlantis"
    receipt = there.upload("spoiled.csv", rows.to_csv(index=False).encode())
    there.work()
    assert there.outcome(receipt).code == "too-many-bad-rows"
    shown = quarantine.show(there.buckets.data, there.outcome(receipt), 3)
    assert shown["reasons"] == {"island: not one of Biscoe, Dream, Torgersen": 20}

    quarantine.release(there.buckets, receipt.id, "ann")
    there.work()
    outcome = there.outcome(receipt)
    assert (outcome.state, outcome.accepted.rejected, outcome.override.by) == ("promoted", 20, "ann")
    assert there.registry.manifest(outcome.version).rows == len(rows) - 20
    (entry,) = quarantine.entries(there.receipts)
    assert (entry["state"], entry["code"], entry["rows"]) == ("promoted", "rows", 20)


def test_kilometres_instead_of_miles_wait_for_a_person(house: Make, months: list[Path]) -> None:
    there = house("dropfit.problem:problem", DROPFIT_TRAINING="static")
    there.upload("january.csv", months[0])
    february = pd.read_csv(months[1], nrows=3000)
    receipt = there.upload("february.csv", february.assign(distance=february.distance * 1.609344).to_csv().encode())
    there.work()
    outcome = there.outcome(receipt)
    assert (outcome.state, outcome.code) == ("quarantined", "drifted")
    assert "as kilometres are to miles" in outcome.reason
    quarantine.release(there.buckets, receipt.id, "ann")
    there.work()
    assert there.outcome(receipt).state == "recorded"
