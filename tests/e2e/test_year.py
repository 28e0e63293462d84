# SPDX-License-Identifier: Apache-2.0
"""A year of flights, uploaded month after month."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from rich.console import Console

from benchmarks import year
from dropfit import settings, storage
from dropfit.contract import load_problem
from dropfit.receipts import Receipts
from dropfit.registry import Registry
from dropfit.warehouse import Warehouse
from localcloud.cloud import LocalCloud


@pytest.fixture
def cloud_of_a_year(tmp_path: Path, clean: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> Iterator[LocalCloud]:
    with LocalCloud(tmp_path / "home", environ=clean) as running:
        for name, value in running.env.items():
            monkeypatch.setenv(name, value)
        yield running


@pytest.mark.verify
@pytest.mark.timeout(2400)
def test_twelve_months_end_in_twelve_outcomes_and_a_model_better_than_the_constant(
    cloud_of_a_year: LocalCloud, months: list[Path], capsys: pytest.CaptureFixture[str]
) -> None:
    config = settings.load()
    found = list(year.year(config, months))
    with capsys.disabled():  # the series is for people too
        year.show(Console(width=150), found)

    receipts = Receipts(storage.connect(config).data).all()
    assert [r.object.name for r in receipts] == [file.name for file in months]
    # Of an upload whose version was kept, the rows count in the next training, and its outcome becomes that one's.
    assert {r.state for r in receipts} <= {"promoted", "kept"}
    assert [m.state for m in found].count("promoted") >= 8
    pointer = Registry(storage.connect(config).models).current().pointer
    assert pointer is not None
    assert pointer.version == found[-1].version

    warehouse, key = Warehouse(config), load_problem(config.problem).key
    facts = warehouse.facts("predictions", key, pointer.version)
    assert facts.rows == facts.keys > 15_000
    assert (facts.nulls, facts.strangers) == (0, 0)

    scored = found[:-1]
    assert [m.uploaded for m in scored if m.served >= m.constant] == []
    assert sum(m.served for m in scored) < sum(m.frozen for m in scored)
