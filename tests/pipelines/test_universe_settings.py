# SPDX-License-Identifier: Apache-2.0
"""A real job whose table holds other keys than those of the accepted rows."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from dropfit.runs import latest
from dropfit.warehouse import Warehouse

House = Any
pytestmark = pytest.mark.verify


def filled(house: Callable[..., House], upload: Path, **more: str) -> tuple[dict[str, Any], int]:
    """What the run tells of its keys, and the rows of the table that is shown."""
    there = house(**more)
    receipt = there.upload("a.csv", upload)
    there.work()
    assert there.outcome(receipt).state == "promoted"
    warehouse = Warehouse(there.settings)
    (count,) = warehouse.query(f"SELECT COUNT(*) AS n FROM `{warehouse.name(warehouse.shown())}`", {})
    (run,) = latest(there.buckets.data, 5)
    (told,) = [step.detail["universe"] for step in run.steps if step.name == "table"]
    assert len(list(there.buckets.data.list(f"tables/{run.version}/keys-"))) == 1
    return told, count["n"]


def test_a_table_of_the_most_frequent_keys_holds_those_alone(
    house: Callable[..., House], penguins: list[Path]
) -> None:
    told, rows = filled(house, penguins[0], DROPFIT_UNIVERSE="frequent", DROPFIT_COVERAGE="0.5")
    assert rows == told["keys"] < told["seen"]
    assert 0.5 <= told["coverage"] < 0.6


def test_a_table_may_hold_no_more_rows_than_its_budget(house: Callable[..., House], penguins: list[Path]) -> None:
    told, rows = filled(house, penguins[0], DROPFIT_TABLE_ROWS="20")
    assert rows == told["keys"] == 20 < told["seen"]
    assert "DROPFIT_TABLE_ROWS=20 keeps the most frequent" in told["notes"][0]
