# SPDX-License-Identifier: Apache-2.0
"""The job as Cloud Run starts it: whatever its libraries say, every line it logs is an entry."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
PLACES = (ROOT / "functions", ROOT, ROOT / "tests/problems")


@pytest.mark.verify
def test_every_line_of_a_training_is_an_entry_and_its_outcomes_are_among_them(
    house: Callable[..., Any], penguins: list[Path]
) -> None:
    there = house()
    good = there.upload("good.csv", penguins[0])
    there.upload("bad.csv", b"SECRET,b\n1,2\n")
    done = subprocess.run(
        [sys.executable, "-m", "beam_pipelines.retrain"],
        env={**os.environ, "CLOUD_RUN_JOB": "dropfit-retrain", "PYTHONPATH": os.pathsep.join(map(str, PLACES))},
        capture_output=True,
        text=True,
        timeout=500,
        check=False,
    )
    entries = [json.loads(line) for line in done.stderr.splitlines()]
    assert done.returncode == 0, done.stderr[-2000:]
    assert {entry["severity"] for entry in entries} <= {"INFO", "WARNING"}
    uploads = {entry["object"]: entry for entry in entries if entry.get("kind") == "upload"}
    assert {name: entry["outcome"] for name, entry in uploads.items()} == {
        "good.csv": "promoted",
        "bad.csv": "quarantined",
    }
    assert uploads["bad.csv"]["code"] == "missing-columns"
    (run,) = [entry for entry in entries if entry.get("kind") == "run"]
    assert (run["outcome"], run["version"]) == ("promoted", there.outcome(good).version)
    assert "SECRET" not in done.stderr
