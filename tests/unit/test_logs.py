# SPDX-License-Identifier: Apache-2.0
"""Logs: files on a laptop, Cloud Logging in the cloud (against a fake of its REST API)."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from dropfit import logs
from dropfit.errors import NotFound, Unavailable
from dropfit.settings import Settings

CLOUD = Settings(
    project="p",
    landing_bucket="l",
    data_bucket="d",
    models_bucket="m",
    retrain_job="projects/p/locations/europe-west1/jobs/dropfit-retrain",
)


class Logging:
    """Cloud Logging's entries.list."""

    def __init__(self, entries: list[dict[str, Any]], status: int = 200) -> None:
        self.entries, self.status_code = entries, status
        self.asked: dict[str, Any] = {}

    def request(self, method: str, url: str, json: dict[str, Any], timeout: float) -> Logging:
        self.asked = {"url": url, **json}
        return self

    def raise_for_status(self) -> None:
        if self.status_code != 200:
            import requests

            raise requests.HTTPError(f"{self.status_code}", response=self)  # type: ignore[arg-type]

    def json(self) -> dict[str, Any]:
        return {"entries": self.entries}


def test_the_jobs_entries_come_oldest_first_whatever_form_they_have() -> None:
    api = Logging(
        [
            {"timestamp": "2026-01-02", "severity": "ERROR", "jsonPayload": {"message": "b", "kind": "run"}},
            {"timestamp": "2026-01-01", "severity": "INFO", "textPayload": "a"},
        ]
    )
    told = logs.entries(CLOUD, "retrain", 50, api)
    assert told == ["2026-01-01 INFO a", "2026-01-02 ERROR b"]
    assert api.asked["url"] == "https://logging.googleapis.com/v2/entries:list"
    assert api.asked["resourceNames"] == ["projects/p"]
    assert 'job_name="dropfit-retrain"' in api.asked["filter"]


def test_the_sweeps_entries_are_those_of_the_job_beside_it() -> None:
    api = Logging([])
    assert logs.entries(CLOUD, "sweep", 50, api) == []
    assert 'job_name="dropfit-sweep"' in api.asked["filter"]


def test_a_functions_entries_are_those_of_its_service() -> None:
    api = Logging([])
    assert logs.entries(CLOUD, "on_upload", 5000, api) == []
    assert 'service_name:"on-upload"' in api.asked["filter"]
    assert api.asked["pageSize"] == 1000


def test_a_name_that_is_none_of_ours_never_reaches_the_query() -> None:
    with pytest.raises(NotFound, match="predict"):
        logs.entries(CLOUD, 'x" OR "1"="1', 50, Logging([]))


def test_logging_that_refuses_is_unavailable() -> None:
    with pytest.raises(Unavailable):
        logs.entries(CLOUD, "predict", 50, Logging([], 403))


def test_the_newest_log_of_a_name_is_shown_from_its_end(tmp_path: Path) -> None:
    for age, name in enumerate(["retrain-2", "retrain-1", "predict"]):
        log = tmp_path / f"{name}.log"
        log.write_text("".join(f"{name} line {n}\n" for n in range(100)))
        os.utime(log, (1000 - age, 1000 - age))
    found, lines = logs.tail(tmp_path, "retrain", 2)
    assert found.name == "retrain-2"
    assert lines == ["retrain-2 line 98", "retrain-2 line 99"]
    assert [f.name for f in logs.files(tmp_path)] == ["predict", "retrain-1", "retrain-2"]
    with pytest.raises(NotFound, match="predict"):
        logs.tail(tmp_path, "nothing", 2)


def test_a_folder_that_is_not_there_holds_no_logs(tmp_path: Path) -> None:
    assert logs.files(tmp_path / "none") == []
