# SPDX-License-Identifier: Apache-2.0
"""`dropfit deploy --plan` shows what would change, and writes nothing anywhere."""

from __future__ import annotations

import pytest
from deploy_verbs import LOOK, PLAN, SHOWN, written
from on_stage import Stage

from infra.deploy import advice


def test_a_plan_of_an_empty_project_writes_nothing_anywhere(stage: Stage) -> None:
    told = stage.type("deploy", "dev", "--plan")
    assert told.code == 0, told.text
    assert written(stage) == []
    assert stage.terraform.state == {}
    assert not (stage.home / "dev.env").exists()
    assert "nothing was deployed yet: planned from an empty state" in told.text
    assert "14 to add, 0 to change, 0 to replace, 0 to destroy" in told.text
    assert stage.terraform.verbs == [*LOOK, "init", *SHOWN]


def test_a_plan_takes_no_lock_and_reads_no_backend_before_there_is_a_state(stage: Stage) -> None:
    stage.bucket()
    stage.type("deploy", "--plan")
    assert not [word for word in stage.terraform.arguments("init")[0] if word.startswith("-backend-config")]
    assert "-lock=false" in stage.terraform.arguments("plan")[0]
    assert stage.terraform.calls[-1]["chdir"] != f"-chdir={stage.infra}"


def test_a_plan_of_what_is_deployed_reads_its_state_without_a_lock(stage: Stage) -> None:
    stage.deployed()
    stage.terraform.tell(changed=["google_cloud_run_v2_service.predict"])
    told = stage.type("deploy", "--plan")
    assert (told.code, written(stage)) == (0, [])
    assert "0 to add, 1 to change" in told.text
    assert "-backend-config=bucket=acme-dev-dropfit-state" in stage.terraform.arguments("init")[0]
    assert "-lock=false" in stage.terraform.arguments("plan")[0]
    assert stage.terraform.verbs == [*LOOK, "init", *PLAN]


def test_a_plan_switches_no_api_on_but_names_the_command(stage: Stage) -> None:
    stage.google.off = {"cloudresourcemanager"}
    told = stage.type("deploy", "--plan")
    assert told.code == 1
    assert "gcloud services enable" in told.text
    assert written(stage) == []


@pytest.mark.infra
def test_dev_and_prod_share_nothing_that_terraform_keeps_here(stage: Stage) -> None:
    (stage.infra / "prod.tfvars").write_text((stage.infra / "dev.tfvars").read_text().replace("dev", "prod"))
    stage.type("deploy", "dev", "--plan")
    stage.type("deploy", "prod", "--plan")
    kept = [call["environ"]["TF_DATA_DIR"] for call in stage.terraform.calls if call["verb"] == "plan"]
    assert len(set(kept)) == 2
    files = [[word for word in call if word.startswith("-var-file")] for call in stage.terraform.arguments("plan")]
    assert files == [["-var-file=dev.tfvars"], ["-var-file=prod.tfvars"]]


def test_what_a_plan_shows_is_no_error_to_give_advice_on() -> None:
    said = (
        "  + deletion_protection = true\n  + quota = 1\n"
        "╷\n│ Error: Invalid value for variable\n│ \n│   on dev.tfvars line 5:\n"
        "│ Members are written as IAM has them.\n╵\n"
    )
    told = advice.of(said, "dev")
    assert "Members are written as IAM has them." in told
    assert "destroy" not in told
    assert "quota" not in told
