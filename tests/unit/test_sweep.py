# SPDX-License-Identifier: Apache-2.0
"""What an event should have announced, or a crash left behind, is found by looking."""

from __future__ import annotations

import datetime as dt
import subprocess
import sys
from pathlib import Path
from typing import Any

import msgspec
import pytest
from fake_bucket import FakeBucket
from fakes import completed, settings

from dropfit import orders, refreshes, storage, sweep
from dropfit.errors import Unavailable
from dropfit.lease import Lease
from dropfit.receipts import PREFIX, Receipt, Receipts, UploadedObject
from dropfit.registry import Registry
from dropfit.storage import Buckets
from dropfit.sweep import Swept, sweep_with

GRACE = 30.0
SETTINGS = settings(sweep_grace_seconds=GRACE)


class Launches:
    """Counts the jobs that were started."""

    def __init__(self, error: Exception | None = None) -> None:
        self.count = 0
        self._error = error

    def launch(self) -> str:
        if self._error:
            raise self._error
        self.count += 1
        return f"job {self.count}"


def drop(buckets: Buckets, name: str, age: float) -> UploadedObject:
    """An object that was uploaded so many seconds ago."""
    landing: Any = buckets.landing
    stored = landing.put(name, b"data")
    landing.age(name, age)
    return UploadedObject(stored.bucket, stored.name, stored.generation)


def age_receipt(buckets: Buckets, receipt: Receipt, seconds: float) -> None:
    """Pretend that a receipt last changed so long ago."""
    data: Any = buckets.data
    older = msgspec.structs.replace(receipt, updated_at=receipt.updated_at - dt.timedelta(seconds=seconds))
    name = f"{PREFIX}{receipt.id}.json"
    data.replace(name, msgspec.json.encode(older), data.stat(name).generation, {"state": receipt.state})


def test_in_a_quiet_world_a_sweep_does_nothing(buckets: Buckets) -> None:
    launches = Launches()
    assert sweep_with(SETTINGS, buckets, launches) == Swept(0, "")
    assert launches.count == 0


def test_an_upload_whose_event_never_came_is_registered_and_a_job_started(buckets: Buckets) -> None:
    lost = drop(buckets, "lost.csv", GRACE + 1)
    assert sweep_with(SETTINGS, buckets, Launches()) == Swept(1, "job 1")
    assert [r.object for r in Receipts(buckets.data).open()] == [lost]


def test_an_upload_whose_event_may_still_come_is_left_to_it(buckets: Buckets) -> None:
    drop(buckets, "fresh.csv", GRACE / 2)
    assert sweep_with(SETTINGS, buckets, Launches()) == Swept(0, "")
    assert Receipts(buckets.data).all() == []


def test_a_second_sweep_registers_nothing_twice(buckets: Buckets) -> None:
    drop(buckets, "lost.csv", GRACE + 1)
    sweep_with(SETTINGS, buckets, Launches())
    assert sweep_with(SETTINGS, buckets, Launches()).registered == 0
    assert len(Receipts(buckets.data).all()) == 1


def test_a_newer_generation_of_a_known_name_is_registered(buckets: Buckets) -> None:
    first = drop(buckets, "same.csv", GRACE + 2)
    sweep_with(SETTINGS, buckets, Launches())
    second = drop(buckets, "same.csv", GRACE + 1)
    assert sweep_with(SETTINGS, buckets, Launches()).registered == 1
    assert [r.object for r in Receipts(buckets.data).all()] == [first, second]


def test_while_a_job_is_at_work_none_is_started_and_nothing_is_missed(buckets: Buckets) -> None:
    drop(buckets, "lost.csv", GRACE + 1)
    launches = Launches()
    with Lease(buckets.data, "busy", 60):
        assert sweep_with(SETTINGS, buckets, launches) == Swept(1, "")
    assert sweep_with(SETTINGS, buckets, launches) == Swept(0, "job 1")


def test_uploads_that_have_their_outcome_start_nothing(buckets: Buckets) -> None:
    receipts = Receipts(buckets.data)
    receipt, _ = receipts.register(drop(buckets, "done.csv", GRACE + 1))
    receipts.advance(receipt, state="promoted")
    assert sweep_with(SETTINGS, buckets, Launches()) == Swept(0, "")


def test_somebodys_request_for_a_training_starts_a_job(buckets: Buckets) -> None:
    orders.ask(buckets.data, ())
    assert sweep_with(SETTINGS, buckets, Launches()) == Swept(0, "job 1")


@pytest.mark.parametrize(("attempts", "pause"), [(1, GRACE), (2, 5 * GRACE)])
def test_an_upload_whose_job_crashed_is_tried_again_after_a_pause_that_grows(
    buckets: Buckets, attempts: int, pause: float
) -> None:
    receipts = Receipts(buckets.data)
    receipt, _ = receipts.register(drop(buckets, "hard.csv", GRACE + 1))
    crashed = receipts.advance(receipt, attempts=attempts)
    age_receipt(buckets, crashed, pause - 5)
    assert sweep_with(SETTINGS, buckets, Launches()).launched == ""
    age_receipt(buckets, crashed, pause + 5)
    assert sweep_with(SETTINGS, buckets, Launches()).launched == "job 1"


def test_an_upload_that_no_job_has_begun_on_is_due_at_once(buckets: Buckets) -> None:
    Receipts(buckets.data).register(drop(buckets, "new.csv", 0))
    assert sweep_with(SETTINGS, buckets, Launches()) == Swept(0, "job 1")


def served(buckets: Buckets, hours: float) -> Registry:
    """A version whose table was verified so many hours ago."""
    registry = Registry(buckets.models)
    at = dt.datetime.now(dt.UTC) - dt.timedelta(hours=hours)
    registry.complete(msgspec.structs.replace(completed("v1", "predictions__v1", 3), verified_at=at))
    registry.promote("v1", "predictions__v1", registry.current())
    return registry


def test_a_table_that_is_old_is_refreshed_once_rows_have_come_since(buckets: Buckets) -> None:
    served(buckets, 25)
    assert sweep_with(SETTINGS, buckets, Launches()) == Swept(0, "")
    buckets.data.put("accepted/some.parquet", b"rows")
    assert sweep_with(settings(refresh_hours=0), buckets, Launches()) == Swept(0, "")
    assert sweep_with(settings(refresh_hours=26), buckets, Launches()) == Swept(0, "")
    assert sweep_with(SETTINGS, buckets, Launches()) == Swept(0, "job 1")
    assert sweep_with(SETTINGS, buckets, Launches()) == Swept(0, "job 1")
    (order,) = refreshes.pending(buckets.data)
    assert (order.by, order.force) == ("the schedule", False)


def test_rows_that_were_there_when_the_table_was_filled_or_looked_at_refresh_nothing(buckets: Buckets) -> None:
    data: Any = buckets.data
    registry = served(buckets, 25)
    data.put("accepted/old.parquet", b"rows")
    data.age("accepted/old.parquet", 26 * 3600)
    assert sweep_with(SETTINGS, buckets, Launches()) == Swept(0, "")
    data.put("accepted/new.parquet", b"rows")
    found = msgspec.structs.replace(registry.completed("v1"), looked_at=dt.datetime.now(dt.UTC))
    registry.complete(found)
    assert sweep_with(SETTINGS, buckets, Launches()) == Swept(0, "")


@pytest.mark.parametrize("broken", ["current.json", "versions/v1/table.json"])
def test_a_pointer_or_a_table_that_cannot_be_read_is_no_reason_to_leave_uploads_lying(
    buckets: Buckets, broken: str
) -> None:
    served(buckets, 25)
    buckets.data.put("accepted/some.parquet", b"rows")
    buckets.models.put(broken, b"{")
    drop(buckets, "lost.csv", GRACE + 1)
    assert sweep_with(SETTINGS, buckets, Launches()) == Swept(1, "job 1")
    assert not refreshes.waiting(buckets.data)


def test_a_job_that_cannot_be_started_is_told_and_the_receipt_stays_open(buckets: Buckets) -> None:
    drop(buckets, "lost.csv", GRACE + 1)
    with pytest.raises(Unavailable, match="no quota"):
        sweep_with(SETTINGS, buckets, Launches(Unavailable("no quota")))
    assert len(Receipts(buckets.data).open()) == 1


def test_storage_that_does_not_answer_is_told(buckets: Buckets) -> None:
    landing: FakeBucket = buckets.landing  # type: ignore[assignment]
    landing.fail("list")
    with pytest.raises(Unavailable):
        sweep_with(SETTINGS, buckets, Launches())


ENVIRONMENT = {
    "GOOGLE_CLOUD_PROJECT": "p",
    "DROPFIT_LANDING_BUCKET": "landing",
    "DROPFIT_DATA_BUCKET": "data",
    "DROPFIT_MODELS_BUCKET": "models",
}


@pytest.fixture
def deployed(buckets: Buckets, monkeypatch: pytest.MonkeyPatch) -> Launches:
    """The environment of the sweep's job, over buckets in memory."""
    launches = Launches()
    for name, value in ENVIRONMENT.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(storage, "connect", lambda settings: buckets)
    monkeypatch.setattr(sweep, "launcher", lambda settings: launches)
    return launches


def test_the_sweeps_job_takes_in_what_no_event_announced_and_says_so(
    buckets: Buckets, deployed: Launches, caplog: pytest.LogCaptureFixture
) -> None:
    drop(buckets, "lost.csv", GRACE + 1)
    caplog.set_level("INFO")
    assert sweep.main() == 0
    assert deployed.count == 1
    assert "1 uploads had no event; job: job 1" in caplog.text


def test_the_sweeps_job_fails_when_it_has_to_look_again(
    buckets: Buckets, deployed: Launches, caplog: pytest.LogCaptureFixture
) -> None:
    landing: FakeBucket = buckets.landing  # type: ignore[assignment]
    landing.fail("list")
    assert sweep.main() == 1
    assert "the next sweep looks again" in caplog.text


def test_started_as_a_module_without_settings_it_names_those_that_are_missing(
    clean: dict[str, str], tmp_path: Path
) -> None:
    command = [sys.executable, "-P", "-m", "dropfit.sweep"]
    done = subprocess.run(command, env=clean, cwd=tmp_path, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 1
    assert all(name in done.stderr for name in ENVIRONMENT)
