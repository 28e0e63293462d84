# SPDX-License-Identifier: Apache-2.0
"""What a job logs: text on a laptop, and on Cloud Run one JSON object a line, whatever happens in it."""

from __future__ import annotations

import json
import logging
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from fake_bucket import FakeBucket

from dropfit import joblog, settings
from dropfit.errors import Conflict
from dropfit.receipts import Receipts, UploadedObject
from dropfit.runs import RunLog
from dropfit.sweep import Swept, tell

FUNCTIONS = Path(__file__).parents[2] / "functions"
Heard = Callable[[], list[dict[str, Any]]]


@pytest.fixture
def heard(caplog: pytest.LogCaptureFixture) -> Heard:
    """The entries that the records since then would be."""
    caplog.set_level(logging.INFO)
    return lambda: [json.loads(joblog.Entry().format(record)) for record in caplog.records]


def run(code: str, **variables: str) -> tuple[int, list[str]]:
    """A process of its own that sets the log up and does this; its status and the lines of its standard error."""
    done = subprocess.run(
        [sys.executable, "-c", f"import logging\nfrom dropfit import joblog\njoblog.set_up()\n{code}"],
        cwd=FUNCTIONS,
        env={"PATH": "/usr/bin:/bin", **variables},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.stdout == ""
    return done.returncode, done.stderr.splitlines()


@pytest.mark.parametrize("variable", ["CLOUD_RUN_JOB", "K_SERVICE"])
def test_cloud_run_is_known_by_what_it_sets(variable: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("CLOUD_RUN_JOB", "K_SERVICE"):
        monkeypatch.delenv(name, raising=False)
    assert not settings.on_cloud_run()
    monkeypatch.setenv(variable, "dropfit")
    assert settings.on_cloud_run()


def test_on_a_laptop_a_line_is_for_people() -> None:
    status, lines = run("logging.getLogger('x').info('trained on %d rows', 7)")
    assert status == 0
    assert [line.split(" ", 2)[2] for line in lines] == ["INFO trained on 7 rows"]


def test_on_cloud_run_a_line_is_an_entry() -> None:
    status, lines = run("logging.getLogger('x').warning('two\\nlines')", CLOUD_RUN_JOB="dropfit-retrain")
    (entry,) = map(json.loads, lines)
    assert status == 0
    assert (entry["severity"], entry["message"], entry["logger"]) == ("WARNING", "two\nlines", "x")
    assert entry["timestamp"]["seconds"] > 1_700_000_000
    assert 0 <= entry["timestamp"]["nanos"] < 10**9


@pytest.mark.parametrize(
    "code",
    [
        "1 / 0",
        "try:\n    1 / 0\nexcept ZeroDivisionError:\n    logging.getLogger('x').exception('the round failed')",
        "import threading\nthread = threading.Thread(target=lambda: 1 / 0)\nthread.start()\nthread.join()",
    ],
    ids=["uncaught", "logged", "in a thread"],
)
def test_a_traceback_is_one_entry_of_severity_error(code: str) -> None:
    _, lines = run(code, CLOUD_RUN_JOB="dropfit-retrain")
    (entry,) = map(json.loads, lines)
    assert entry["severity"] == "ERROR"
    assert "Traceback (most recent call last):" in entry["message"]
    assert entry["message"].endswith("ZeroDivisionError: division by zero")


def test_an_uncaught_error_still_fails_the_job() -> None:
    assert run("1 / 0", CLOUD_RUN_JOB="dropfit-retrain")[0] == 1


def test_what_others_had_set_up_before_does_not_tell_it_twice() -> None:
    before = "import logging\nlogging.getLogger('flask').addHandler(logging.StreamHandler())\n"
    code = f"{before}joblog.set_up()\nlogging.getLogger('flask').error('once')"
    _, lines = run(code, K_SERVICE="dropfit-on-upload")
    assert [json.loads(line)["message"] for line in lines] == ["once"]


def test_a_function_on_a_laptop_logs_as_it_did(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("CLOUD_RUN_JOB", "K_SERVICE"):
        monkeypatch.delenv(name, raising=False)
    before = (list(logging.root.handlers), logging.root.level, sys.excepthook)
    joblog.set_up_function()
    assert (logging.root.handlers, logging.root.level, sys.excepthook) == before


def test_a_message_that_is_too_long_keeps_its_two_ends() -> None:
    record = logging.makeLogRecord({"msg": "begin" + "x" * 10**6 + "end", "levelname": "ERROR"})
    line = joblog.Entry().format(record)
    message = json.loads(line)["message"]
    assert len(line) < 256 * 1024
    assert message.startswith("begin")
    assert message.endswith("end")


def test_a_name_that_is_no_unicode_is_told_all_the_same() -> None:
    more = joblog.fields("event", object="\ud800.csv")
    record = logging.makeLogRecord({"msg": "\ud800", "levelname": "INFO", **more})
    assert json.loads(joblog.Entry().format(record))["object"] == "?.csv"


def uploaded(receipts: Receipts) -> Any:
    return receipts.register(UploadedObject("landing", "a.csv", 7))[0]


def test_an_upload_is_told_when_it_has_its_outcome(bucket: FakeBucket, heard: Heard) -> None:
    receipts = Receipts(bucket)  # type: ignore[arg-type]
    receipt = receipts.advance(uploaded(receipts), attempts=1)
    receipt = receipts.advance(receipt, state="accepted")
    assert heard() == []
    receipts.advance(receipt, state="quarantined", code="empty", reason="the cell says SECRET")
    (entry,) = heard()
    told = {name: entry[name] for name in ("kind", "outcome", "object", "generation", "code", "severity")}
    assert told == {
        "kind": "upload",
        "outcome": "quarantined",
        "object": "a.csv",
        "generation": 7,
        "code": "empty",
        "severity": "INFO",
    }
    assert "SECRET" not in json.dumps(entry)


def test_an_outcome_that_stays_what_it_was_is_not_counted_again(bucket: FakeBucket, heard: Heard) -> None:
    receipts = Receipts(bucket)  # type: ignore[arg-type]
    receipt = receipts.advance(uploaded(receipts), state="kept", version="v1")
    receipt = receipts.advance(receipt, state="kept", version="v2")
    receipts.advance(receipt, state="promoted", version="v3")
    assert [(entry["outcome"], entry["version"]) for entry in heard()] == [("kept", "v1"), ("promoted", "v3")]


def test_an_outcome_that_could_not_be_written_is_not_told(bucket: FakeBucket, heard: Heard) -> None:
    receipts, others = Receipts(bucket), Receipts(bucket)  # type: ignore[arg-type]
    receipt = uploaded(receipts)
    others.advance(others.get(receipt.id), attempts=1)
    with pytest.raises(Conflict):
        receipts.advance(receipt, state="failed")
    assert heard() == []


def test_a_failure_of_ours_is_an_error(bucket: FakeBucket, heard: Heard) -> None:
    receipts = Receipts(bucket)  # type: ignore[arg-type]
    receipts.advance(uploaded(receipts), state="failed", code="crashed")
    RunLog(bucket, "job").finish("failed", "the disk is on fire")  # type: ignore[arg-type]
    assert [(entry["kind"], entry["severity"]) for entry in heard()] == [("upload", "ERROR"), ("run", "ERROR")]


def test_a_runs_end_is_told_with_how_long_it_took(bucket: FakeBucket, heard: Heard) -> None:
    log = RunLog(bucket, "job")  # type: ignore[arg-type]
    log.run.receipts = ["a", "b"]
    log.run.version = "v1"
    log.finish("promoted", "better")
    (entry,) = heard()
    assert (entry["kind"], entry["outcome"], entry["version"], entry["uploads"]) == ("run", "promoted", "v1", 2)
    assert entry["message"] == "promoted v1: better"
    assert 0 <= entry["seconds"] < 60


def test_a_sweep_is_told(heard: Heard) -> None:
    tell(Swept(2, "job 1", "predictions__v1"))
    (entry,) = heard()
    assert (entry["kind"], entry["registered"], entry["launched"], entry["repaired"]) == ("sweep", 2, True, True)
