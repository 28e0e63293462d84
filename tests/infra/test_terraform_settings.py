# SPDX-License-Identifier: Apache-2.0
"""Terraform and Python speak of the same things: settings, names, entry points, and what a setting is by default."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import msgspec
import pytest
from functions_framework import _function_registry
from planning import INFRA, ROOT, VARIABLES

from dropfit import settings
from dropfit.settings import Settings
from infra.deploy import tfvars
from infra.deploy.environment import Environment, JobSize, Size

FUNCTIONS = ROOT / "functions"
FOR_PEOPLE = {"predict_url", "on_upload_url"}
"""Addresses of the functions, which are known when these are there; the output `env` has them."""
LOCAL = {"jobs_dir"}
"""Where a laptop's jobs write their logs."""
OF_LIBRARIES = {"OMP_NUM_THREADS", "THREADS"}
"""OpenMP's, and functions-framework's server's."""
EXAMPLES = {"problem": "dropfit.problem:problem", "runner_options": "--flag=x"}


def parsed(name: str) -> dict[str, Any]:
    """A file of infra/ as Python."""
    return tfvars.parsed(INFRA / name)


@pytest.fixture(scope="module")
def local() -> dict[str, Any]:
    """The locals of infra/settings.tf."""
    return {name: value for block in parsed("settings.tf")["locals"] for name, value in block.items()}


def defaults() -> dict[str, Any]:
    """Field -> default, of those that have one."""
    return {f.name: f.default for f in msgspec.structs.fields(Settings) if not f.required}


def named(resources: list[dict[str, Any]], kind: str) -> list[dict[str, Any]]:
    """Values of the resources of a kind."""
    found = [resource["values"] for resource in resources if resource["type"] == kind]
    assert found, f"there is no {kind}"
    return found


def containers(resources: list[dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """Runtime -> its container."""
    services = {v["name"]: v["template"][0] for v in named(resources, "google_cloud_run_v2_service")}
    jobs = {v["name"]: v["template"][0]["template"][0] for v in named(resources, "google_cloud_run_v2_job")}
    return {name: template["containers"][0] for name, template in (services | jobs).items()}


def environ(container: dict[str, Any]) -> dict[str, str]:
    return {said["name"]: said["value"] for said in container["env"]}


# Settings


def test_terraform_sets_exactly_the_variables_that_settings_reads(local: dict[str, Any]) -> None:
    made, tunable = set(local["made"]), local["tunable"]
    assert len(tunable) == len(set(tunable))
    assert made & set(tunable) == set()
    assert made | set(tunable) | FOR_PEOPLE == set(Settings.__struct_fields__) - LOCAL


def test_what_is_looked_up_among_the_settings_has_settings_own_default() -> None:
    text = "".join(path.read_text() for path in INFRA.glob("*.tf"))
    looked_up = re.findall(r'lookup\(var\.settings, "(\w+)", "([^"]*)"\)', text)
    assert ("runner", "DirectRunner") in looked_up
    assert text.count("lookup(var.settings") == len(looked_up)
    known = defaults()
    assert [(field, said) for field, said in looked_up if type(known[field])(said) != known[field]] == []


@pytest.mark.infra
def test_each_runtime_has_these_settings_and_they_can_be_loaded(resources: list[dict[str, Any]]) -> None:
    found = containers(resources)
    assert set(found) == {f"dropfit-{name}" for name in ("on-upload", "predict", "retrain", "sweep")}
    loaded = set()
    for name, container in found.items():
        given = environ(container)
        known = {settings.variable(field) for field in Settings.__struct_fields__}
        assert set(given) - known <= OF_LIBRARIES, name
        assert all(given.values()), "an empty variable is one that was meant to say something"
        loaded.add(settings.load({k: v for k, v in given.items() if k in known}))
    (one,) = loaded  # all of them speak of the same deployment
    assert (one.project, one.region, one.runner) == ("acme-dev", "europe-west1", "DataflowRunner")
    ours = Environment(key="dev", project="acme-dev", region="europe-west1")
    for what in ("landing", "data", "models"):
        assert getattr(one, f"{what}_bucket") == ours.bucket(what)
    assert (one.dataset, one.retrain_job) == ("dropfit", f"{ours.location}/jobs/dropfit-retrain")
    assert one.worker_account == ours.account("dataflow")
    assert one.log_table == "acme-dev.dropfit_logs._AllLogs"
    assert one.subnetwork == "regions/europe-west1/subnetworks/dropfit"


@pytest.mark.infra
def test_what_an_adopter_sets_arrives_as_settings_reads_it(infra: Path, local: dict[str, Any]) -> None:
    from planning import planned

    said = {f: str(v) if v != "" else EXAMPLES.get(f, "x") for f, v in defaults().items() if f in local["tunable"]}
    assert set(said) == set(local["tunable"])
    plan = planned(infra, VARIABLES | {"settings": said})
    given = environ(containers(plan["planned_values"]["root_module"]["resources"])["dropfit-retrain"])
    loaded = settings.load({k: v for k, v in given.items() if k not in OF_LIBRARIES})
    expected = {f: v if v != "" else EXAMPLES.get(f, "x") for f, v in defaults().items() if f in said}
    assert {field: getattr(loaded, field) for field in expected} == expected


@pytest.mark.infra
def test_people_get_the_same_environment_and_the_functions_addresses(plan: dict[str, Any]) -> None:
    (said,) = [o for name, o in plan["configuration"]["root_module"]["outputs"].items() if name == "env"]
    assert {"local.environment", "google_cloud_run_v2_service.predict.uri"} <= set(said["expression"]["references"])
    text = (INFRA / "outputs.tf").read_text()
    assert set(re.findall(r"DROPFIT_(\w+)", text)) == {field.upper() for field in FOR_PEOPLE}
    for field in FOR_PEOPLE:
        service = field.removesuffix("_url")
        assert re.search(rf"DROPFIT_{field.upper()}\s+= google_cloud_run_v2_service\.{service}\.uri\n", text)


@pytest.mark.infra
def test_predict_is_given_the_time_that_its_longest_request_may_take(resources: list[dict[str, Any]]) -> None:
    (predict,) = [v for v in named(resources, "google_cloud_run_v2_service") if v["name"] == "dropfit-predict"]
    known = defaults()
    longest = known["body_seconds"] + known["max_deadline_ms"] / 1000
    assert float(predict["template"][0]["timeout"].removesuffix("s")) >= longest


# Names


def test_a_deployment_has_the_same_defaults_in_python_and_in_terraform() -> None:
    declared: dict[str, Any] = {}
    for block in parsed("variables.tf")["variable"]:
        for name, body in block.items():
            declared[name.strip('"')] = body
    ours = {f.name: f.default for f in msgspec.structs.fields(Environment) if not f.required}
    shared = {name: body["default"] for name, body in declared.items() if name in ours and "default" in body}
    assert set(shared) == set(ours)
    assert {n: tuple(v) if isinstance(v, list) else v for n, v in shared.items()} == {
        n: () if n in ("operators", "uploaders", "invokers", "analysts") else ours[n] for n in shared
    } | {"settings": {}, "labels": {}, "predict": {}, "job": {}}  # the defaults of a size stand in its type
    needed = {f.name for f in msgspec.structs.fields(Environment) if f.required} - {"key"}
    assert {name for name in needed if "default" in declared[name]} == set()


@pytest.mark.parametrize(("name", "size"), [("predict", Size()), ("job", JobSize())])
def test_a_size_has_the_same_defaults_in_python_and_in_terraform(name: str, size: Size | JobSize) -> None:
    (variable,) = [body[name] for body in parsed("variables.tf")["variable"] if name in body]
    fields = re.findall(r"(\w+) = optional\(\w+, (.+?)\)", variable["type"])
    assert {field: json.loads(default) for field, default in fields} == msgspec.structs.asdict(size)


@pytest.mark.infra
@pytest.mark.parametrize("name", ["dropfit", "fare-model"])
def test_terraform_and_python_call_everything_by_the_same_names(infra: Path, name: str) -> None:
    from planning import planned

    ours = Environment(key="dev", project="acme-dev", region="europe-west1", name=name)
    root = planned(infra, VARIABLES | {"name": name})["planned_values"]
    resources, outputs = root["root_module"]["resources"], root["outputs"]
    whats = ("landing", "data", "models", "source")
    assert outputs["buckets"]["value"] == {what: ours.bucket(what) for what in whats}
    assert {v["name"] for v in named(resources, "google_storage_bucket")} == {ours.bucket(what) for what in whats}
    assert outputs["trigger"]["value"] == ours.trigger
    assert outputs["dead_letters"]["value"] == {
        kind: f"projects/acme-dev/{kind}s/{ours.dead_letters}" for kind in ("topic", "subscription")
    }
    (repository,) = named(resources, "google_artifact_registry_repository")
    host = f"{repository['location']}-docker.pkg.dev"
    assert f"{host}/acme-dev/{repository['repository_id']}" == ours.registry
    assert {c["image"].rpartition("/")[0] for c in containers(resources).values()} == {ours.registry}
    made = {f"{v['account_id']}@acme-dev.iam.gserviceaccount.com" for v in named(resources, "google_service_account")}
    runtimes = ("on-upload", "predict", "retrain", "sweep", "dataflow", "trigger", "scheduler", "build")
    assert made == {ours.account(runtime) for runtime in runtimes}
    job = environ(containers(resources)[f"{name}-sweep"])["DROPFIT_RETRAIN_JOB"]
    assert job == f"{ours.location}/jobs/{name}-retrain"
    assert f"{name}-retrain" in containers(resources)
    assert named(resources, "google_bigquery_dataset")[0]["dataset_id"] == name.replace("-", "_")


# What runs


@pytest.mark.infra
def test_the_functions_that_terraform_names_are_there_and_are_of_their_kind(resources: list[dict[str, Any]]) -> None:
    kinds = {}
    for service in named(resources, "google_cloud_run_v2_service"):
        (build,) = service["build_config"]
        source = FUNCTIONS / build["environment_variables"]["GOOGLE_FUNCTION_SOURCE"]
        module = _function_registry.load_function_module(str(source))[0]
        spec = _function_registry.load_function_module(str(source))[1]
        spec.loader.exec_module(module)  # type: ignore[attr-defined]
        target = build["function_target"]
        assert callable(_function_registry.get_user_function(str(source), module, target)), target
        kinds[target] = _function_registry.get_func_signature_type(target, None)
    assert kinds == {"on_upload": "cloudevent", "predict": "http"}


@pytest.mark.infra
def test_an_image_is_built_as_terraform_describes_it(resources: list[dict[str, Any]]) -> None:
    images = pytest.importorskip("infra.deploy.images")
    described, built = {}, {}
    for service in named(resources, "google_cloud_run_v2_service"):
        (build,) = service["build_config"]
        assert build["image_uri"] == service["template"][0]["containers"][0]["image"]
        name = build["image_uri"].rpartition("/")[2].partition(":")[0]
        described[name] = (build["function_target"], build["environment_variables"], build["base_image"])
    ours = Environment(key="dev", project="acme-dev", region="europe-west1")
    for name in described:
        request = images.request(ours, images.Image(name, "0123456789abcdef", "functions-0123456789abcdef.zip"))
        pack = request["buildpackBuild"]
        built[name] = (pack["functionTarget"], pack["environmentVariables"], pack["baseImage"])
        assert request["serviceAccount"].endswith(f"/{ours.account('build')}")
    assert described == built


@pytest.mark.infra
def test_the_zip_that_terraform_names_as_source_is_the_one_it_uploads(resources: list[dict[str, Any]]) -> None:
    uploaded = {f"gs://{v['bucket']}/{v['name']}" for v in named(resources, "google_storage_bucket_object")}
    said = {v["build_config"][0]["source_location"] for v in named(resources, "google_cloud_run_v2_service")}
    assert said == {"gs://acme-dev-dropfit-source/functions-0123456789abcdef.zip"}
    assert uploaded == said | {"gs://acme-dev-dropfit-source/job-0123456789abcdef.zip"}


@pytest.mark.infra
def test_the_commands_of_the_jobs_start_and_read_their_settings(
    resources: list[dict[str, Any]], clean: dict[str, str], tmp_path: Path
) -> None:
    for job in named(resources, "google_cloud_run_v2_job"):
        python, *arguments = job["template"][0]["template"][0]["containers"][0]["command"]
        assert (python, arguments[0]) == ("python", "-m"), job["name"]
        done = subprocess.run(
            [sys.executable, "-P", *arguments],
            env=clean,
            cwd=tmp_path,
            capture_output=True,
            text=True,
            timeout=500,
            check=False,
        )
        assert done.returncode == 1, job["name"]
        assert "DROPFIT_LANDING_BUCKET" in done.stderr, "without settings it says which it wants"


ASK = """
import sys
from functions_framework.aio import create_asgi_app
from starlette.testclient import TestClient
with TestClient(create_asgi_app(sys.argv[1], sys.argv[2])) as client:
    sys.exit(client.get(sys.argv[3]).status_code != 200)
"""


@pytest.mark.infra
def test_predict_answers_where_it_is_probed_before_there_is_a_model(
    resources: list[dict[str, Any]], clean: dict[str, str], tmp_path: Path
) -> None:
    probed = containers(resources)["dropfit-predict"]
    paths = {probed[probe][0]["http_get"][0]["path"] for probe in ("startup_probe", "liveness_probe")}
    given = clean | environ(probed) | {"STORAGE_EMULATOR_HOST": "http://127.0.0.1:9"}  # nothing answers there
    for path in paths:
        command = [sys.executable, "-c", ASK, "predict", str(FUNCTIONS / "predict.py"), path]
        done = subprocess.run(command, env=given, cwd=tmp_path, capture_output=True, timeout=300, check=False)
        assert done.returncode == 0, done.stderr.decode()
