# SPDX-License-Identifier: Apache-2.0
"""A function in a process of its own, as Cloud Run starts it: what it logs are entries, the prediction log apart."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from contextlib import ExitStack
from pathlib import Path

import httpx

from localcloud.ports import choose_ports

FUNCTIONS = Path(__file__).parents[2] / "functions"


def test_what_predict_has_to_say_of_itself_is_an_entry_on_standard_error(tmp_path: Path) -> None:
    holds = ExitStack()
    port = choose_ports({}, {}, ["predict"], holds)["predict"]
    hidden = ("DROPFIT_", "GOOGLE_", "PYTHONDONTWRITEBYTECODE")
    environ = {name: value for name, value in os.environ.items() if not name.startswith(hidden)}
    errors = tmp_path / "stderr"
    with errors.open("wb") as stream:
        process = subprocess.Popen(
            [
                *(sys.executable, "-P", "-m", "functions_framework", "--source", str(FUNCTIONS / "predict.py")),
                *("--target", "predict", "--signature-type", "http", "--host", "127.0.0.1", "--port", str(port)),
            ],
            env=environ | {"PYTHONPATH": str(FUNCTIONS), "WORKERS": "1", "K_SERVICE": "dropfit-predict"},
            stdout=subprocess.PIPE,
            stderr=stream,
        )
        try:
            deadline = time.monotonic() + 120
            while True:
                try:
                    status = httpx.get(f"http://127.0.0.1:{port}/ready", timeout=60, trust_env=False).status_code
                    break
                except httpx.ConnectError:
                    assert time.monotonic() < deadline, "the function did not start"
                    time.sleep(0.05)
        finally:
            process.terminate()
            said, _ = process.communicate(timeout=60)
            holds.close()
    assert status == 503  # no setting is set
    entries = [json.loads(line) for line in errors.read_text().splitlines() if line.startswith("{")]
    (entry,) = [entry for entry in entries if entry["logger"] == "predict" or "cannot start" in entry["message"]]
    assert entry["severity"] == "ERROR"
    assert "DROPFIT_LANDING_BUCKET" in entry["message"]
    assert said == b""
