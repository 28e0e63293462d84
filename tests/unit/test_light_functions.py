# SPDX-License-Identifier: Apache-2.0
"""What the functions import and are deployed with holds nothing that only training needs."""

from __future__ import annotations

import json
import subprocess
import sys

from repo_files import ROOT

TRAINING_ONLY = (
    "sklearn",
    "pandas",
    "skl2onnx",
    "onnx",
    "pyarrow",
    "scipy",
    "matplotlib",
    "apache_beam",
    "google.cloud.bigquery",
)


IMPORT_ALL = f"""
import json, sys
import predict, dropfit.problem
from dropfit import registry, runtime, serving, version
print(json.dumps([name for name in {TRAINING_ONLY!r} if name in sys.modules]))
"""


def told_by(script: str) -> object:
    """What a script prints as JSON in a new process, which has imported nothing yet."""
    command = [sys.executable, "-c", script]
    done = subprocess.run(command, cwd=ROOT / "functions", capture_output=True, text=True, timeout=300, check=True)
    return json.loads(done.stdout)


def test_the_predict_path_imports_nothing_that_only_training_needs() -> None:
    assert told_by(IMPORT_ALL) == []


IMPORT_UPLOAD = f"""
import json, sys
import on_upload
heavy = {(*TRAINING_ONLY, "onnxruntime")!r}
print(json.dumps([name for name in heavy if name in sys.modules]))
"""


def test_the_upload_function_imports_nothing_that_only_training_needs() -> None:
    assert told_by(IMPORT_UPLOAD) == []


def test_what_the_functions_are_deployed_with_holds_nothing_that_only_training_needs() -> None:
    listed = {
        line.split("==")[0].strip().lower().replace("_", "-")
        for line in (ROOT / "functions/requirements.txt").read_text().splitlines()
        if "==" in line
    }
    assert "onnxruntime" in listed
    assert not listed & {
        "scikit-learn",
        "pandas",
        "skl2onnx",
        "onnx",
        "pyarrow",
        "scipy",
        "matplotlib",
        "apache-beam",
    }
