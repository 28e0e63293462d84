# SPDX-License-Identifier: Apache-2.0
"""A program that knows nothing of Dropfit: Google's own clients, and the variables of the env file."""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from dropfit.receipts import Receipt
from localcloud.cloud import LocalCloud

PROGRAM = """
import json, os, sys, time, urllib.error, urllib.request
from google.cloud import bigquery, storage

assert not [name for name in sys.modules if name.split(".")[0] in ("dropfit", "localcloud", "beam_pipelines")]
url = os.environ["DROPFIT_PREDICT_URL"]

def get(path, body=None):
    payload = body and json.dumps(body).encode()
    request = urllib.request.Request(url + path, payload, {"content-type": "application/json"})
    return json.load(urllib.request.urlopen(request, timeout=60))

before = get("/model")
blob = storage.Client().bucket(os.environ["DROPFIT_LANDING_BUCKET"]).blob("from a notebook.csv")
blob.upload_from_filename(sys.argv[1])
deadline = time.monotonic() + 300
while (model := get("/model"))["version"] == before["version"]:
    assert time.monotonic() < deadline, "no new version is served"
    time.sleep(0.2)
assert model["metrics"]["log_loss"] < model["constant"]["log_loss"]
names = [feature["name"] for feature in model["features"]]
client = bigquery.Client()
dataset = os.environ["DROPFIT_DATASET"]
while True:  # the view follows the pointer, which is what predict looks at
    row = next(iter(client.query(f"SELECT * FROM `{dataset}.predictions` LIMIT 1").result()))
    if row["model_version"] == model["version"]:
        break
    assert time.monotonic() < deadline, "the view shows another version"
    time.sleep(0.2)
reply = get("/predict", {"instances": [{name: row[name] for name in names}]})
assert abs(reply["predictions"][0]["value"] - row["prediction"]) < 1e-6
print("uploaded, trained, predicted, looked up:", model["version"])
"""


@pytest.mark.verify
def test_any_program_works_after_sourcing_the_env_file(
    january: Receipt, cloud: LocalCloud, months: list[Path], tmp_path: Path
) -> None:
    program = tmp_path / "program.py"
    program.write_text(PROGRAM)
    script = (
        f"set -a; . {shlex.quote(str(cloud.home.env))}; set +a; "
        f"{shlex.quote(sys.executable)} -P {shlex.quote(str(program))} {shlex.quote(str(months[3]))}"
    )
    bare = {"PATH": os.environ["PATH"], "HOME": str(tmp_path)}
    command = ["/bin/sh", "-c", script]
    done = subprocess.run(command, env=bare, cwd=tmp_path, capture_output=True, text=True, timeout=500)
    assert done.returncode == 0, done.stderr
    assert "uploaded, trained, predicted, looked up" in done.stdout
