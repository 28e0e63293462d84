# SPDX-License-Identifier: Apache-2.0
"""The prediction log in a real worker of functions-framework, with a pipe for its standard output."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import httpx
import pytest

from localcloud.ports import choose_ports

FUNCTIONS = Path(__file__).parents[2] / "functions"
APP = """
import asyncio
import functions_framework.aio
from dropfit.predictionlog import PredictionLog

LOG = PredictionLog("p", 1.0, 150_000)
ready = []

@functions_framework.aio.http
async def predict(request):
    if not ready:
        LOG.install()
        ready.append(True)
    body = await request.body()
    path = request.url.path
    if "under-way" in path:
        return str(len(ready))
    slow = "slow" in path
    if slow:
        ready.append(path)
        while not LOG._ending:  # which the signal brings about
            await asyncio.sleep(0.02)
    for again in range(3 if slow else 1):  # the second comes while no line would be written without the signal
        LOG.add(dict(request.headers.raw), 200, 0.001, body, b'{"predictions":[]}', "v", "hybrid", 1, path)
    return "done"
"""
Start = Callable[[], tuple["subprocess.Popen[bytes]", httpx.Client]]


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """Starts the app with nobody reading what it prints."""
    with ExitStack() as stack:

        def _start() -> tuple[subprocess.Popen[bytes], httpx.Client]:
            (tmp_path / "main.py").write_text(APP)
            port = choose_ports({}, {}, ["predict"], stack)["predict"]
            environ = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
            process = subprocess.Popen(
                [
                    *(sys.executable, "-P", "-m", "functions_framework", "--source", str(tmp_path / "main.py")),
                    *("--target", "predict", "--signature-type", "http", "--host", "127.0.0.1", "--port", str(port)),
                ],
                env=environ | {"PYTHONPATH": str(FUNCTIONS), "WORKERS": "1"},
                stdout=subprocess.PIPE,
                start_new_session=True,
            )
            stack.callback(process.wait)
            stack.callback(process.kill)
            client = stack.enter_context(
                httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=60, trust_env=False)
            )
            deadline = time.monotonic() + 120
            while True:
                try:
                    client.post("/first", content=b"{}")
                    return process, client
                except httpx.ConnectError:
                    assert time.monotonic() < deadline, "the app did not start"
                    time.sleep(0.05)

        yield _start


def logged(process: subprocess.Popen[bytes]) -> list[dict[str, Any]]:
    """Every line that is left in the pipe, once all writers are gone."""
    assert process.stdout is not None
    return [json.loads(line) for line in process.stdout.read().splitlines()]


def paths(lines: list[dict[str, Any]]) -> list[str]:
    return [line["message"].split()[0] for line in lines if line["kind"] == "prediction"]


def test_every_line_is_in_the_pipe_after_sigterm_and_that_of_a_request_still_under_way_too(start: Start) -> None:
    process, client = start()
    sent = ["/first"]
    slow = subprocess.Popen(
        [sys.executable, "-c", f"import urllib.request as u; u.urlopen('{client.base_url}/slow').read()"],
        env={"PATH": os.environ["PATH"]},
    )
    deadline = time.monotonic() + 120
    while client.get("/under-way").text != "2":
        assert time.monotonic() < deadline, "the slow request did not arrive"
        time.sleep(0.01)
    for n in range(20):
        sent.append(f"/n{n}")
        assert client.post(sent[-1], content=b'{"instances":\n[{"a":1}]}').status_code == 200
    process.send_signal(signal.SIGTERM)
    assert slow.wait(120) == 0
    client.close()
    lines = logged(process)
    assert process.wait(120) == 0
    assert sorted(paths(lines)) == sorted([*sent, *["/slow"] * 3])
    assert lines[1]["request"] == {"instances": [{"a": 1}]}


def test_a_reader_that_does_not_read_delays_no_request_and_what_found_no_room_is_counted(start: Start) -> None:
    process, client = start()
    body = json.dumps({"instances": [{"a": "x" * 10_000}]}).encode()
    for n in range(60):  # 600 KB, where the pipe takes 64 KB and the buffer 150 KB
        assert client.post(f"/n{n}", content=body).status_code == 200  # a blocked worker would never answer
    assert process.stdout is not None
    os.set_blocking(process.stdout.fileno(), False)
    text, sent, deadline = b"", 61, time.monotonic() + 120
    while b'"dropped"' not in text:
        text += process.stdout.read() or b""
        client.post("/later", content=b"{}")  # lets the worker look whether there is room
        sent += 1
        assert time.monotonic() < deadline, "nobody told how many were dropped"
    os.set_blocking(process.stdout.fileno(), True)
    process.send_signal(signal.SIGTERM)
    text += process.stdout.read()
    lines = [json.loads(line) for line in text.splitlines()]
    told = sum(line["dropped"] for line in lines if line["kind"] == "dropped")
    assert told > 20
    assert len(paths(lines)) + told == sent
    kept = [path for path in paths(lines) if path.startswith("/n")]
    assert kept == [f"/n{n}" for n in range(len(kept))]


def test_a_worker_whose_reader_does_not_read_ends_all_the_same(start: Start) -> None:
    process, client = start()
    for n in range(60):
        assert client.post(f"/n{n}", content=b'{"a":"' + b"x" * 10_000 + b'"}').status_code == 200
    process.send_signal(signal.SIGTERM)
    client.close()
    assert process.wait(120) == 0
