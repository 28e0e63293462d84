# SPDX-License-Identifier: Apache-2.0
"""The local Cloud Logging: each line of the predict function is one row, whatever is stopped or killed meanwhile."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import httpx
import pytest
from clouds import Start, eventually

from localcloud.cloud import LocalCloud
from localcloud.logging_sink import Sink

PREDICT = """
import functions_framework.aio
from dropfit.predictionlog import PredictionLog

LOG = PredictionLog("p", 1.0, 1 << 20)
ready = []

@functions_framework.aio.http
async def predict(request):
    if request.url.path == "/health":
        return "ok"
    if not ready:
        LOG.install()
        ready.append(True)
    LOG.add(dict(request.headers.raw), 200, 0.001, await request.body(), b"{}", "v", "hybrid", 1, request.url.path)
    return "done"
"""
SERVICES = ("bigquery", "eventarc", "predict")


@pytest.fixture
def logging_functions(tmp_path: Path) -> Path:
    """A predict function that does nothing but log."""
    folder = tmp_path / "logging functions"
    folder.mkdir()
    (folder / "predict.py").write_text(PREDICT)
    (folder / "dropfit").symlink_to(Path(__file__).parents[2] / "functions" / "dropfit")
    return folder


def query(cloud: LocalCloud, sql: str) -> list[list[Any]]:
    answer = httpx.post(
        f"{cloud.env['BIGQUERY_EMULATOR_HOST']}/bigquery/v2/projects/dropfit-local/queries",
        json={"query": sql.format(log=f"`{cloud.env['DROPFIT_LOG_TABLE']}`"), "useLegacySql": False},
        timeout=300,
    )
    assert answer.status_code == 200, answer.text
    return [[field["v"] for field in row["f"]] for row in answer.json().get("rows", [])]


def logged(cloud: LocalCloud) -> list[str]:
    """The paths of the requests that are in the table."""
    rows = query(cloud, "SELECT JSON_VALUE(json_payload, '$.message') FROM {log} WHERE json_payload IS NOT NULL")
    return sorted(row[0].split()[0] for row in rows)


def ask(cloud: LocalCloud, *paths: str) -> None:
    with httpx.Client(base_url=cloud.env["DROPFIT_PREDICT_URL"], trust_env=False, timeout=60) as client:
        for path in paths:
            assert client.post(path, content=b'{"instances": [{"a": 1}]}').text == "done"


@pytest.mark.verify
def test_requests_become_rows_within_seconds_and_each_once_over_stops_and_starts(
    start: Start, logging_functions: Path
) -> None:
    def begin() -> LocalCloud:
        return start(*SERVICES, functions_dir=logging_functions)

    cloud, expected = begin(), ["/a", "/b"]
    assert query(cloud, "SELECT COUNT(*) FROM {log}") == [["0"]]
    ask(cloud, *expected)
    assert eventually(lambda: logged(cloud) == expected)
    more = [f"/c{n:02}" for n in range(30)]
    ask(cloud, *more)
    cloud.stop()  # before the last of them can have been taken in
    again = begin()
    assert eventually(lambda: logged(again) == [*expected, *more])
    (row,) = query(
        again, "SELECT DISTINCT severity, log_id, resource.type, JSON_VALUE(json_payload, '$.kind') FROM {log}"
    )
    assert row == ["INFO", "run.googleapis.com/stdout", "cloud_run_revision", "prediction"]


def test_what_is_there_twice_or_was_sent_without_an_answer_is_taken_in_once(
    whole: LocalCloud, tmp_path: Path
) -> None:
    cloud = whole
    log, cursor = tmp_path / "predict.log", tmp_path / "cursor"
    lines = [b"Traceback", b"Traceback", b"", *(json.dumps({"message": f"/{n} 200"}).encode() for n in range(1200))]

    def sink(address: str = "") -> Sink:
        return Sink(log, cursor, address or cloud.env["BIGQUERY_EMULATOR_HOST"], "dropfit-local")

    def count() -> int:
        return int(query(cloud, "SELECT COUNT(*) FROM {log}")[0][0])

    before = count()
    first = sink()
    first.pump()  # before there is a log
    log.write_bytes(b"\n".join(lines) + b"\n" + b'{"message": "/half')
    first.pump()
    assert count() == before + 1202
    cursor.unlink()  # as if it had been killed after it sent, and before it noted that
    sink().pump()
    assert count() == before + 1202
    with log.open("ab") as more:
        more.write(b' 200"}\n')
    sink("http://127.0.0.1:9").pump()  # nobody listens there
    again = sink()
    again.pump()
    assert count() == before + 1203
    log.rename(tmp_path / "predict.log.1")
    log.write_bytes(b"unended")
    again.pump()
    assert count() == before + 1203
    log.write_bytes(b"unended, ended\n")
    again.pump()
    assert count() == before + 1204
    assert query(cloud, "SELECT COUNT(*) FROM {log} WHERE text_payload = 'Traceback'") == [["2"]]
    assert len(set(logged(cloud))) == 1201
