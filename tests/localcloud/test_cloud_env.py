# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import httpx
import pytest
from clouds import clean_environ, eventually, publish, upload
from dotenv import dotenv_values
from google.pubsub_v1.types import pubsub

from dropfit.errors import LocalCloudError
from localcloud import envfile
from localcloud.cloud import Home, LocalCloud, status

PORTS = {"storage": 1, "bigquery": 2, "eventarc": 3, "on_upload": 4, "predict": 5}

# What somebody has in a notebook: Google's clients, no argument, nothing of ours.
SCRIPT = """
import json, os, urllib.request
from google.cloud import bigquery, storage

client = storage.Client()
blob = client.bucket(os.environ["DROPFIT_LANDING_BUCKET"]).blob("from a notebook.csv")
blob.upload_from_string("a,b\\n1,2\\n", content_type="text/csv")
blob.reload()

warehouse = bigquery.Client()
table = f"{warehouse.project}.{os.environ['DROPFIT_DATASET']}.numbers"
schema = [bigquery.SchemaField("n", "INTEGER")]
warehouse.create_table(bigquery.Table(table, schema=schema))
assert warehouse.insert_rows_json(table, [{"n": 1}, {"n": 2}]) == []
total = [row.total for row in warehouse.query(f"SELECT sum(n) AS total FROM `{table}`").result()]

answer = json.load(urllib.request.urlopen(os.environ["DROPFIT_PREDICT_URL"] + "/model"))
print(json.dumps({"generation": blob.generation, "total": total, "answer": answer}))
"""


def from_shell(env: Path, command: str) -> str:
    """What a command prints after `set -a; . ENV`."""
    script = 'set -a; . "$0"; set +a; exec "$@"'
    done = subprocess.run(
        ["/bin/sh", "-c", script, str(env), *command.split("\n", 2)],
        env=clean_environ(),
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_googles_clients_work_in_a_script_that_imports_nothing_of_ours(whole: LocalCloud) -> None:
    said = json.loads(from_shell(whole.home.env, f"{sys.executable}\n-c\n{SCRIPT}"))
    assert said["generation"] > 0
    assert said["total"] == [3]
    assert said["answer"] == {"path": "/model", "omp": "1", "bucket": "dropfit-data"}


def test_uploads_of_any_name_reach_the_function_as_events(whole: LocalCloud) -> None:
    names = {"to the function.csv", "ünï ✓.csv", 'quo"te.csv', "it's 100%.csv", ".hidden", "a/b/../c d.csv"}
    for name in names - {"a/b/../c d.csv"}:
        upload(whole, name)
    # The emulator resolves `..`, which a real bucket does not.
    resource = {"bucket": "dropfit-landing", "name": "a/b/../c d.csv", "generation": "1"}
    publish(
        whole, pubsub.PubsubMessage(attributes={"eventType": "OBJECT_FINALIZE"}, data=json.dumps(resource).encode())
    )

    def got() -> set[tuple[str, str]]:
        told = re.findall(r"got (\[.*\])$", whole.home.log("on_upload").read_text(), flags=re.MULTILINE)
        return {tuple(json.loads(one)) for one in told}

    eventually(lambda: {("google.cloud.storage.object.v1.finalized", name) for name in names} <= got())


def test_the_file_holds_what_is_promised_and_the_settings_of_up(whole: LocalCloud) -> None:
    assert set(whole.env) == {
        "STORAGE_EMULATOR_HOST",
        "BIGQUERY_EMULATOR_HOST",
        "GOOGLE_CLOUD_PROJECT",
        "DROPFIT_LANDING_BUCKET",
        "DROPFIT_DATA_BUCKET",
        "DROPFIT_MODELS_BUCKET",
        "DROPFIT_DATASET",
        "DROPFIT_PREDICT_URL",
        "DROPFIT_ON_UPLOAD_URL",
        "DROPFIT_JOBS_DIR",
        "DROPFIT_LOG_TABLE",
        "GOOGLE_APPLICATION_CREDENTIALS",
        "DROPFIT_TRAINING",
    }
    assert whole.env["DROPFIT_TRAINING"] == "static"
    assert dotenv_values(whole.home.env) == whole.env


def test_sh_reads_the_file_as_python_dotenv_does(whole: LocalCloud) -> None:
    printed = from_shell(
        whole.home.env, f"{sys.executable}\n-c\nimport json, os; print(json.dumps(dict(os.environ)))"
    )
    assert whole.env.items() <= json.loads(printed).items()


def test_the_whole_cloud_says_it_is_running(whole: LocalCloud) -> None:
    found = status(whole.home.root)
    assert {process.name for process in found} == {"storage", "bigquery", "eventarc", "on_upload", "predict"}
    assert {process.state for process in found} == {"running"}
    assert {process.name: process.port for process in found}.items() <= whole.ports.items()


def test_the_key_is_for_its_owner_only(whole: LocalCloud) -> None:
    assert whole.home.credentials.stat().st_mode & 0o777 == 0o600


def test_the_token_endpoint_gives_access_tokens_and_identity_tokens(whole: LocalCloud) -> None:
    from google.auth.transport.requests import Request
    from google.oauth2 import service_account

    granted = service_account.Credentials.from_service_account_file(
        str(whole.home.credentials), scopes=["https://www.googleapis.com/auth/cloud-platform"]
    )
    granted.refresh(Request())
    assert granted.valid
    assert (granted.token, granted.project_id) == ("local-cloud", "dropfit-local")
    credentials = service_account.IDTokenCredentials.from_service_account_file(
        str(whole.home.credentials), target_audience="http://predict"
    )
    credentials.refresh(Request())
    assert credentials.token.count(".") == 2


def test_health_counts_events(whole: LocalCloud) -> None:
    answer = httpx.get(f"http://127.0.0.1:{whole.ports['eventarc']}/healthz", timeout=60).json()
    assert answer["events"].keys() == {"pending", "delivered", "dead"}


@pytest.mark.parametrize(
    "value",
    ["plain", "a b", "it's", 'say "hi"', 'it\'s "both"', "back\\slash", "end\\", "a$b", "a`b", "ünï", "#x", "a=b"],
)
def test_any_value_is_read_alike_by_sh_and_dotenv(value: str, tmp_path: Path) -> None:
    (tmp_path / "env").write_text(envfile.render({"X": value}))
    printed = from_shell(tmp_path / "env", f"{sys.executable}\n-c\nimport os; print(os.environ['X'], end='')")
    assert printed == value == dotenv_values(tmp_path / "env")["X"]


@pytest.mark.parametrize("value", ["it's $5", "a${HOME}b", "it's `x`"])
def test_a_value_the_two_would_read_differently_is_refused(value: str) -> None:
    with pytest.raises(LocalCloudError, match="cannot be written"):
        envfile.render({"X": value})


def test_a_laptop_never_launches_jobs_in_the_cloud(tmp_path: Path) -> None:
    environ = {"DROPFIT_RETRAIN_JOB": "projects/p/locations/l/jobs/j", "DROPFIT_PROBLEM": "mine:problem", "PATH": "x"}
    env = envfile.environment(Home(tmp_path), PORTS, environ)
    assert "DROPFIT_RETRAIN_JOB" not in env
    assert env["DROPFIT_PROBLEM"] == "mine:problem"
    assert "PATH" not in env


def test_where_the_cloud_is_wins_over_what_the_shell_said_before(tmp_path: Path) -> None:
    environ = {"DROPFIT_PREDICT_URL": "https://in.the.cloud", "GOOGLE_CLOUD_PROJECT": "real-project"}
    env = envfile.environment(Home(tmp_path), PORTS, environ)
    assert env["DROPFIT_PREDICT_URL"] == "http://127.0.0.1:5"
    assert env["GOOGLE_CLOUD_PROJECT"] == "dropfit-local"
