# SPDX-License-Identifier: Apache-2.0
"""The command line, as a person uses it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
import pytest

from dropfit.receipts import Receipt
from localcloud.cloud import LocalCloud

Dropfit = Callable[..., Any]
INSTANCE = {"carrier": "UA", "origin": "EWR", "dest": "IAH", "weekday": 4, "hour": 17}
VERBS = (
    *("up", "down", "status", "upload", "predict", "train", "logs", "runs", "replay", "gc", "quarantine", "batch"),
    *("doctor", "deploy", "destroy"),
    *("versions", "show", "why", "rollback", "pin", "unpin", "approve", "reject", "reproduce"),
)


def lives(pid: int) -> bool:
    """Whether there is such a process, other than one that has ended and waits to be reaped."""
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def uploads(dropfit: Dropfit, home: Path) -> dict[str, str]:
    """The state of the newest uploads, by name."""
    found = json.loads(dropfit("status", "--json", home=home).stdout)
    return {one["name"]: one["state"] for one in found["uploads"]}


@pytest.fixture
def home(january: Receipt, cloud: LocalCloud) -> Path:
    return cloud.home.root


def test_without_arguments_it_says_what_there_is(dropfit: Dropfit, tmp_path: Path) -> None:
    told = dropfit(home=tmp_path)
    assert all(verb in told.stdout + told.stderr for verb in VERBS)


@pytest.mark.parametrize("verb", VERBS)
def test_every_verb_explains_itself(dropfit: Dropfit, tmp_path: Path, verb: str) -> None:
    told = dropfit(verb, "--help", home=tmp_path)
    assert told.returncode == 0
    assert f"dropfit {verb}" in told.stdout


def test_batch_universe_tells_what_the_table_holds_and_what_a_setting_would_make_of_it(
    dropfit: Dropfit, home: Path
) -> None:
    found = json.loads(dropfit("batch", "universe", "--json", home=home).stdout)
    assert (found["universe"], found["source"], found["coverage"]) == ("seen", "accepted", 1.0)
    assert found["keys"] == found["seen"] > 1000
    assert 0 < found["top_1"] < found["top_10"] < found["entropy"] < 1
    few = dropfit("batch", "universe", home=home, DROPFIT_UNIVERSE="frequent", DROPFIT_TABLE_ROWS="100").stdout
    assert "90% coverage would take" in few
    assert "DROPFIT_TABLE_ROWS=100 cuts it short" in few
    refused = dropfit("batch", "universe", home=home, DROPFIT_UNIVERSE="domains", DROPFIT_TABLE_ROWS="100")
    assert refused.returncode == 1
    assert "DROPFIT_UNIVERSE=domains" in refused.stderr


def test_status_tells_processes_the_served_version_and_the_uploads(dropfit: Dropfit, home: Path) -> None:
    found = json.loads(dropfit("status", "--json", home=home).stdout)
    assert {p["name"]: p["state"] for p in found["processes"] if p["name"] != "localcloud"} == dict.fromkeys(
        ("storage", "bigquery", "eventarc", "on_upload", "predict"), "running"
    )
    served = found["served"]
    assert served["metrics"]["log_loss"] < served["constant"]["log_loss"]
    assert served["how"]["mode"] == "hybrid"
    assert {"name", "state", "rows", "rejected", "reason", "version"} <= set(found["uploads"][0])
    people = dropfit("status", home=home).stdout
    assert served["version"] in people
    assert "flights-2013-01.csv" in people


def test_predict_takes_an_instance_a_list_or_a_request_also_from_stdin(dropfit: Dropfit, home: Path) -> None:
    one = json.loads(dropfit("predict", json.dumps(INSTANCE), home=home).stdout)
    listed = json.loads(dropfit("predict", "-", stdin=json.dumps([INSTANCE]), home=home).stdout)
    request = json.loads(dropfit("predict", json.dumps({"instances": [INSTANCE]}), home=home).stdout)
    assert one == listed == request
    assert 0 < one["predictions"][0]["value"] < 1


def test_a_refused_prediction_names_every_bad_field(dropfit: Dropfit, home: Path) -> None:
    refused = dropfit("predict", '{"carrier": 7, "hour": 24}', home=home)
    assert refused.returncode == 1
    for field in ("carrier", "hour", "origin", "dest", "weekday"):
        assert f"instances[0].{field}" in refused.stderr
    assert dropfit("predict", "{not json", home=home).returncode == 1


def test_versions_marks_the_served_one(dropfit: Dropfit, home: Path) -> None:
    found = json.loads(dropfit("versions", "--json", home=home).stdout)
    assert [v["served"] for v in found].count(True) == 1
    assert found[0]["version"] in dropfit("versions", home=home).stdout


@pytest.mark.verify
def test_the_served_version_is_reproduced_and_one_that_is_not_there_is_not_done(dropfit: Dropfit, home: Path) -> None:
    served = json.loads(dropfit("status", "--json", home=home).stdout)["served"]["version"]
    found = json.loads(dropfit("reproduce", served, "--rows", "5000", "--json", home=home).stdout)
    assert (found["same"], found["differing"], found["largest"]) == (True, 0, 0)
    told = dropfit("reproduce", "no-such-version", home=home)
    assert told.returncode == 1
    assert "no-such-version" in told.stderr


def test_a_bad_upload_ends_with_its_reason_and_exit_1(dropfit: Dropfit, home: Path, tmp_path: Path) -> None:
    bad = tmp_path / "bad.csv"
    bad.write_text("a,b\n1,2\n")
    told = dropfit("upload", "--wait", "--as", "odd name.csv", str(bad), home=home)
    assert told.returncode == 1
    assert "quarantined" in told.stdout
    assert "columns are missing" in told.stdout


def test_upload_without_wait_returns_at_once(dropfit: Dropfit, home: Path, tmp_path: Path) -> None:
    empty = tmp_path / "empty.csv"
    empty.write_bytes(b"")
    told = dropfit("upload", str(empty), home=home)
    assert (told.returncode, "dropfit status" in told.stdout) == (0, True)
    # Its job shall not be at work, or be the newest log that says nothing yet, in the tests that follow.
    deadline = time.monotonic() + 300
    while (newest := uploads(dropfit, home).get("empty.csv")) != "quarantined":
        assert time.monotonic() < deadline, newest
        time.sleep(0.5)


def test_a_file_that_is_not_there_is_named(dropfit: Dropfit, home: Path) -> None:
    told = dropfit("upload", "nowhere.csv", home=home)
    assert told.returncode == 2
    assert "nowhere.csv" in told.stderr


def test_training_on_what_was_never_uploaded_is_refused(dropfit: Dropfit, home: Path) -> None:
    told = dropfit("train", "never.csv", home=home)
    assert told.returncode == 1
    assert "never.csv" in told.stderr


def test_logs_lists_and_shows_the_newest_of_a_name(dropfit: Dropfit, home: Path, january: Receipt) -> None:
    listed = dropfit("logs", home=home).stdout
    assert all(name in listed for name in ("predict", "on_upload", "eventarc", "storage", "bigquery", "retrain-"))
    runs = json.loads(dropfit("runs", "--json", home=home).stdout)
    job = next(run["job"] for run in runs if january.id in run["receipts"])
    assert "INFO ingest" in dropfit("logs", job, "-n", "400", home=home).stdout
    newest = dropfit("logs", "retrain", home=home)  # a sweep may have launched one that found nothing to do
    assert (newest.returncode, "retrain-" in newest.stderr) == (0, True)
    missing = dropfit("logs", "nothing", home=home)
    assert missing.returncode == 1
    assert "retrain-" in missing.stderr


def test_a_refresh_is_ordered_and_says_that_no_key_has_come(dropfit: Dropfit, home: Path) -> None:
    told = dropfit("batch", "refresh", "--wait", home=home)
    assert told.returncode == 0
    assert "refresh launched" in told.stdout or "a job is at work" in told.stdout
    assert "keys counted" in told.stdout
    assert "no key has come or gone" in told.stdout


def test_where_nothing_runs_every_verb_says_what_to_do(dropfit: Dropfit, tmp_path: Path) -> None:
    assert "dropfit up" in dropfit("status", home=tmp_path).stdout
    assert json.loads(dropfit("status", "--json", home=tmp_path).stdout)["served"] is None
    for verb in (("predict", "{}"), ("versions",), ("train",), ("upload", __file__)):
        told = dropfit(*verb, home=tmp_path)
        assert told.returncode == 1, verb
        assert "dropfit up" in told.stderr, verb
    assert dropfit("down", home=tmp_path).returncode == 0


def test_up_detach_returns_healthy_and_down_leaves_nothing(dropfit: Dropfit, tmp_path: Path) -> None:
    started = dropfit("up", "--detach", home=tmp_path)
    assert started.returncode == 0, started.stdout + started.stderr
    assert str(tmp_path / "env") in started.stdout
    processes = json.loads(dropfit("status", "--json", home=tmp_path).stdout)["processes"]
    assert {p["state"] for p in processes} == {"running"}
    again = dropfit("up", "--detach", home=tmp_path)
    assert again.returncode == 1
    assert "already running" in again.stderr
    assert dropfit("down", home=tmp_path).returncode == 0
    assert not [p["name"] for p in processes if lives(p["pid"])]
    assert not (tmp_path / "env").exists()


def test_up_stays_until_ctrl_c_and_then_leaves_nothing(clean: dict[str, str], tmp_path: Path) -> None:
    command = [str(Path(sys.executable).with_name("dropfit")), "up"]
    log = tmp_path / "up.log"
    with log.open("wb") as output:
        up = subprocess.Popen(command, env=clean | {"DROPFIT_HOME": str(tmp_path)}, stdout=output, stderr=output)
    deadline = time.monotonic() + 300
    while "dropfit down" not in log.read_text() and up.poll() is None and time.monotonic() < deadline:
        time.sleep(0.1)
    children = psutil.Process(up.pid).children(recursive=True)
    assert len(children) >= 5
    os.kill(up.pid, signal.SIGINT)
    assert up.wait(120) == 0, log.read_text()
    deadline = time.monotonic() + 60
    while alive := [child for child in children if lives(child.pid)]:
        assert time.monotonic() < deadline, alive
        time.sleep(0.05)


def test_a_contradiction_in_problem_py_stops_up_at_once_with_its_reason(dropfit: Dropfit, tmp_path: Path) -> None:
    told = dropfit("up", "--detach", home=tmp_path, DROPFIT_PROBLEM="no.such:problem")
    assert told.returncode == 1
    assert "no.such" in told.stderr
    assert "Traceback" not in told.stderr
    assert not (tmp_path / "env").exists()


@pytest.mark.parametrize("name", ["../x.csv", "/x.csv", "a//b.csv", "a/./b.csv", "x" * 1025, "bell\a.csv"])
def test_a_name_that_could_lead_elsewhere_is_not_uploaded(dropfit: Dropfit, home: Path, name: str) -> None:
    told = dropfit("upload", "--as", name, __file__, home=home)
    assert told.returncode == 1
    assert "object name" in told.stderr


@pytest.mark.verify
def test_a_crashed_storage_is_told_and_what_to_do_about_it(dropfit: Dropfit, tmp_path: Path) -> None:
    try:
        assert dropfit("up", "--detach", home=tmp_path).returncode == 0
        processes = {p["name"]: p for p in json.loads(dropfit("status", "--json", home=tmp_path).stdout)["processes"]}
        os.kill(processes["storage"]["pid"], signal.SIGKILL)
        deadline = time.monotonic() + 60
        while lives(processes["storage"]["pid"]) and time.monotonic() < deadline:
            time.sleep(0.05)
        told = dropfit("status", home=tmp_path)
        assert told.returncode == 0
        assert "Crashed:" in told.stdout
        refused = dropfit("versions", home=tmp_path)
        assert refused.returncode == 1
        assert "storage has crashed" in refused.stderr
    finally:
        dropfit("down", home=tmp_path)


def test_status_says_when_predict_serves_something_else(dropfit: Dropfit, home: Path, cloud: LocalCloud) -> None:
    told = dropfit("status", "--json", home=home, DROPFIT_PREDICT_URL="http://127.0.0.1:9")
    assert json.loads(told.stdout)["trouble"] == ""  # the env file is read whole: a stray variable changes nothing
    environ = cloud.env | {"DROPFIT_PREDICT_URL": "http://127.0.0.1:9"}
    told = dropfit("status", "--json", home=home, **environ)
    assert "does not answer" in json.loads(told.stdout)["trouble"]
