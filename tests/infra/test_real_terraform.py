# SPDX-License-Identifier: Apache-2.0
"""What deploys and destroys, against the Terraform that it deploys and destroys with."""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from on_stage import WANTED, Stage
from planning import INFRA, VARIABLES, run_terraform

from dropfit.errors import DeployError
from infra.deploy import stillborn
from infra.deploy.deploy import FOUNDATION
from infra.deploy.destroy import unprotect
from infra.deploy.environment import Environment
from infra.deploy.holdings import DATA, KEPT
from infra.deploy.terraform import Terraform

pytestmark = pytest.mark.infra
BUILD = "serviceAccount:dropfit-build@acme-dev.iam.gserviceaccount.com"


def kinds(resources: list[dict[str, Any]]) -> set[str]:
    return {f"{one['type']}.{one['name']}" for one in resources if one["mode"] == "managed"}


def test_everything_that_is_built_or_kept_by_name_is_in_the_plan(resources: list[dict[str, Any]]) -> None:
    assert set(FOUNDATION) | KEPT <= kinds(resources)
    assert {address.partition("[")[0] for address in WANTED} <= kinds(resources)


def test_the_foundation_holds_every_right_of_the_account_that_builds(resources: list[dict[str, Any]]) -> None:
    rights = {f"{one['type']}.{one['name']}" for one in resources if one["values"].get("member") == BUILD}
    assert len(rights) >= 3
    assert rights <= set(FOUNDATION)


def test_whatever_holds_data_is_kept(resources: list[dict[str, Any]]) -> None:
    """A bucket, dataset or log bucket that somebody adds is either data, or is said here to be none."""
    holds = {"google_storage_bucket", "google_bigquery_dataset", "google_logging_project_bucket_config"}
    found = {kind for kind in kinds(resources) if kind.partition(".")[0] in holds}
    assert found - DATA == {"google_storage_bucket.source"}


def test_nothing_that_is_kept_needs_anything_that_goes(infra: Path) -> None:
    drawn = run_terraform(infra, "graph").stdout
    needs: dict[str, set[str]] = {}
    for one, other in re.findall(r'"([^"]+)" -> "([^"]+)"', drawn):
        needs.setdefault(one, set()).add(other)
    assert len(needs) > 20
    waiting, seen = set(KEPT), set()
    while waiting:
        seen |= waiting
        waiting = {other for one in waiting for other in needs.get(one, ())} - seen
    assert {one for one in seen if one.startswith("google_")} == set(KEPT)


@pytest.fixture
def clone(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> Stage:
    """The stage, with the real Terraform and the real infra/."""
    tfvars = (stage.infra / "dev.tfvars").read_text()
    for file in INFRA.iterdir():
        if file.is_file():
            (stage.infra / file.name).write_bytes(file.read_bytes())
    (stage.infra / "dev.tfvars").write_text(tfvars)
    (stage.infra / "code.auto.tfvars.json").write_text(json.dumps({"functions_zip": "x.zip", "image_tag": "0" * 16}))
    monkeypatch.setenv("TERRAFORM", stage.machines_terraform)
    monkeypatch.setenv("TF_CLI_ARGS_plan", "-refresh=false")  # a provider that knows schemas alone cannot
    monkeypatch.setattr("infra.deploy.terraform.FOREIGN", ("TF_VAR_",))  # so that this reaches it
    return stage


def test_the_first_plan_of_an_empty_project_is_made_with_the_real_program(clone: Stage) -> None:
    told = clone.type("deploy", "dev", "--plan")
    assert told.code == 0, told.text
    assert "# google_cloud_run_v2_service.predict will be created" in told.text
    assert re.search(r"[5-9]\d to add, 0 to change, 0 to replace, 0 to destroy|1\d\d to add", told.text)
    assert clone.google.written() == []


GOOGLE, BUILT_IN = "registry.terraform.io/hashicorp/google", "terraform.io/builtin/terraform"


@pytest.fixture
def terraform(infra: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Terraform]:
    """The real program, with an empty state on this disk."""
    monkeypatch.setenv("DROPFIT_HOME", str(tmp_path))
    (infra / "dev.tfvars").write_text("")
    made = Terraform(Environment(key="dev", project="acme-dev", region="europe-west1"), lambda text: None, infra)
    made.init()
    yield made
    for file in infra.glob("terraform.tfstate*"):
        file.unlink()


def stored(provider: str, **held: dict[str, Any]) -> dict[str, Any]:
    """A state; names are written TYPE__NAME."""
    resources = []
    for address, attributes in held.items():
        kind, _, name = address.rpartition("__")
        one = {"schema_version": 0, "attributes": attributes}
        source = f'provider["{provider}"]'
        resources.append({"mode": "managed", "type": kind, "name": name, "provider": source, "instances": [one]})
    head = {"version": 4, "terraform_version": "1.11.4", "serial": 1, "lineage": "l", "outputs": {}}
    return head | {"resources": resources}


def test_the_real_program_stores_a_state_without_the_protections_of_what_goes(terraform: Terraform) -> None:
    bucket = {"name": "m", "force_destroy": False, "deletion_policy": "PREVENT"}
    service = {"name": "p", "deletion_protection": True}
    terraform.push(stored(GOOGLE, google_storage_bucket__models=bucket, google_cloud_run_v2_service__predict=service))
    pulled = terraform.pull()
    assert unprotect(pulled, {"google_cloud_run_v2_service.predict"}) == 1
    pulled["serial"] += 1
    terraform.push(pulled)
    now = {r["name"]: r["instances"][0]["attributes"] for r in terraform.pull()["resources"]}
    assert now == {"models": bucket, "predict": {"name": "p", "deletion_protection": False}}
    assert sorted(terraform.state()) == ["google_cloud_run_v2_service.predict", "google_storage_bucket.models"]


def tainted(**held: dict[str, Any]) -> dict[str, Any]:
    document = stored(GOOGLE, **held)
    for resource in document["resources"]:
        resource["instances"][0]["status"] = "tainted"
    return document


def test_the_real_program_stores_what_never_became_ready_without_its_protection(terraform: Terraform) -> None:
    assert terraform.pull() == {}
    terraform.push(tainted(google_cloud_run_v2_service__predict={"name": "p", "deletion_protection": True}))
    pulled = terraform.pull()
    assert stillborn.release(pulled) == ["google_cloud_run_v2_service.predict"]
    terraform.push(pulled)
    (instance,) = terraform.pull()["resources"][0]["instances"]
    assert (instance["status"], instance["attributes"]["deletion_protection"]) == ("tainted", False)
    assert stillborn.found(terraform.pull()) == []


def test_the_pipelines_script_reads_a_state_as_the_real_program_prints_it(terraform: Terraform) -> None:
    terraform.push(tainted(google_cloud_run_v2_job__sweep={"name": "s", "deletion_protection": True}))
    printed = terraform._capture("state", "pull")
    script = INFRA / "pipeline" / "stillborn.awk"
    done = subprocess.run(["awk", "-f", script], input=printed, capture_output=True, text=True, check=True)  # noqa: S607
    wanted = json.loads(printed)
    stillborn.release(wanted)
    assert json.loads(done.stdout) == wanted
    terraform.push(json.loads(done.stdout))
    assert terraform.pull()["resources"] == wanted["resources"]


def test_the_real_program_replaces_what_is_tainted(terraform: Terraform) -> None:
    nothing = {"id": "1", "input": None, "output": None, "triggers_replace": None}
    document = stored(BUILT_IN, terraform_data__service_agents=nothing)
    document["resources"][0]["instances"][0]["status"] = "tainted"
    terraform.push(document)
    variables = {name: VARIABLES[name] for name in ("project", "region", "environment", "functions_zip", "image_tag")}
    plan = terraform.plan(["terraform_data.service_agents"], variables)
    assert plan.of("replace", "delete") == ["terraform_data.service_agents"]


def test_the_real_program_does_not_store_a_state_over_a_newer_one(terraform: Terraform) -> None:
    terraform.push(stored(GOOGLE, google_storage_bucket__data={"name": "d"}) | {"serial": 5})
    with pytest.raises(DeployError, match="serial"):
        terraform.push(stored(GOOGLE, google_storage_bucket__models={"name": "m"}) | {"serial": 4})


def test_the_real_program_destroys_what_was_aimed_at_and_nothing_else(terraform: Terraform) -> None:
    nothing = {"id": "1", "input": None, "output": None, "triggers_replace": None}
    terraform.push(stored(BUILT_IN, terraform_data__service_agents=nothing, terraform_data__old=nothing))
    variables = {name: VARIABLES[name] for name in ("project", "region", "environment", "functions_zip", "image_tag")}
    plan = terraform.plan(["terraform_data.service_agents"], variables, destroy=True)
    assert (plan.of("delete"), plan.of("create", "update", "replace")) == (["terraform_data.service_agents"], [])
    terraform.apply(plan)
    assert terraform.state() == ["terraform_data.old"]


def test_what_the_real_program_says_is_wrong_is_said_to_a_person(terraform: Terraform, infra: Path) -> None:
    (infra / "dev.tfvars").write_text('project = "NO"\nregion = "europe-west1"\nenvironment = "dev"\n')
    variables = {name: VARIABLES[name] for name in ("functions_zip", "image_tag")}
    with pytest.raises(DeployError, match="A project id has 6 to 30 lower-case letters"):
        terraform.plan([], variables)
