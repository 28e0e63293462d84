# SPDX-License-Identifier: Apache-2.0
"""cloudbuild.yaml: what it is made of, and what its steps do when they run, with stand-ins for what needs Google."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
from build_steps import (
    BUILD,
    FILE,
    ROOT,
    SCRIPTS,
    STEPS,
    TOOLS,
    VARIABLE,
    YAMLLINT,
    built,
    environment,
    scripts,
    tell,
)

from infra.deploy import stillborn
from infra.deploy.deploy import FOUNDATION
from infra.deploy.terraform import PREFIX
from infra.deploy.trial import PATIENCE

SETTABLE = {
    *("artifacts", "availableSecrets", "dependencies", "images", "logsBucket", "options", "queueTtl", "secrets"),
    *("serviceAccount", "source", "steps", "substitutions", "tags", "timeout"),
}
"""Fields of a Build that a person can set (Cloud Build API v1); the schema lets any other pass."""
OF_A_STEP = {"id", "name", "timeout", "script"}
"""allowFailure, allowExitCodes and waitFor would let a later step go on after a failed test, or before its end."""
ORDER = [
    *("terraform", "environment", "lint-and-tests", "infra-tests", "bundle", "init", "foundation", "images"),
    *("plan", "apply", "dead-letter", "doctor", "smoke"),
]
BUILT_IN = {
    *("PROJECT_ID", "PROJECT_NUMBER", "BUILD_ID", "LOCATION", "TRIGGER_NAME", "COMMIT_SHA", "REVISION_ID"),
    *("SHORT_SHA", "REPO_NAME", "REPO_FULL_NAME", "BRANCH_NAME", "TAG_NAME", "REF_NAME"),
}


def test_it_has_only_fields_that_a_build_has() -> None:
    assert set(BUILD) <= SETTABLE
    assert len({step["id"] for step in STEPS}) == len(STEPS)


def test_the_steps_come_one_after_the_other_and_a_failure_of_any_is_the_end() -> None:
    assert [step["id"] for step in STEPS] == ORDER
    assert {step["id"]: set(step) - OF_A_STEP for step in STEPS if set(step) != OF_A_STEP} == {}


def test_a_step_forgives_nothing_but_that_it_is_not_to_deploy() -> None:
    for name, script in SCRIPTS.items():
        left_out = script.replace("sh infra/pipeline/deploys.sh || exit 0\n", "")
        assert re.search(r"\|\||set \+e|\bexit 0|\btrap\b|[^|&]&\s*$", left_out, re.MULTILINE) is None, name


@pytest.mark.parametrize("step", STEPS, ids=[step["id"] for step in STEPS])
def test_every_step_runs_in_a_version_and_ends(step: dict[str, Any]) -> None:
    assert re.fullmatch(r"[a-z0-9./-]+:\d+\.\d+\.\d+(-[a-z]+)?", step["name"]), step["name"]
    assert int(step["timeout"].removesuffix("s")) <= int(BUILD["timeout"].removesuffix("s"))
    assert step["script"].startswith("#!/bin/sh\n")
    assert "set -eu\n" in step["script"]


def test_the_smoke_test_may_take_as_long_as_it_is_patient() -> None:
    smoke = next(step for step in STEPS if step["id"] == "smoke")
    assert int(smoke["timeout"].removesuffix("s")) > 2 * PATIENCE  # an upload, and the training that is asked for


def test_substitutions_that_are_used_are_defined_and_the_other_way_round() -> None:
    templates = "\n".join((BUILD["serviceAccount"], BUILD["logsBucket"]))
    used = set(VARIABLE.findall(scripts() + templates))
    assert used - BUILT_IN <= set(BUILD["substitutions"])
    assert set(BUILD["substitutions"]) <= used


def test_substitutions_reach_the_account_the_bucket_and_the_steps() -> None:
    options = BUILD["options"]
    assert options["dynamicSubstitutions"] is True  # in serviceAccount and logsBucket
    assert options["automapSubstitutions"] is True  # in the steps' environment
    assert options["substitutionOption"] == "ALLOW_LOOSE"  # what only the environment is read for is no mistake


def test_every_action_has_its_own_account_and_its_own_bucket_of_logs() -> None:
    assert BUILD["options"]["logging"] == "GCS_ONLY"
    for field in ("serviceAccount", "logsBucket"):
        assert "${_NAME}-${_ACTION}" in BUILD[field]
        assert "${PROJECT_ID}" in BUILD[field]
    assert BUILD["substitutions"]["_ACTION"] == "plan"  # what somebody gets who says nothing


def test_every_module_that_a_step_starts_is_there() -> None:
    named = set(re.findall(r"python -m ([\w.]+)", scripts()))
    assert {f"infra.deploy.{name}" for name in ("bundle", "images", "dead_letter", "doctor", "smoke")} == named
    absent = {name for name in named if not (ROOT / name.replace(".", "/")).with_suffix(".py").is_file()}
    assert absent == set()


def test_every_target_of_make_that_a_step_names_is_there() -> None:
    named = set(re.findall(r"^make ([\w-]+)", scripts(), re.MULTILINE))
    targets = set(re.findall(r"^([\w-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    assert named == {"env", "test", "infra-test"}
    assert named <= targets


def test_a_push_to_main_tests_builds_plans_applies_what_was_planned_and_tries_it(tmp_path: Path) -> None:
    checkout, failed = built(tmp_path, environment("deploy", "main"))
    assert failed == ""
    calls = checkout.calls()
    order = [
        *("make env", "make test", "make infra-test", "python -m infra.deploy.bundle", "terraform init"),
        *("terraform plan", "terraform apply", "python -m infra.deploy.images dev"),
        *("terraform state pull", "terraform plan", "terraform apply"),
        *("python -m infra.deploy.dead_letter dev", "python -m infra.deploy.doctor dev --after"),
        "python -m infra.deploy.smoke dev",
    ]
    assert [call[: len(start)] for call, start in zip(calls, order, strict=True)] == order
    assert "-backend-config=bucket=acme-dev-dropfit-state" in calls[4]
    plans, applies = calls[5:10:4], calls[6:11:4]
    for plan, apply in zip(plans, applies, strict=True):
        assert "-var-file=dev.tfvars" in plan
        file = re.search(r"-out=(\S+)", plan)
        assert file is not None
        assert apply.endswith(f" {file[1]}")
        assert "-auto-approve" not in apply
    assert "-target=" in plans[0]
    assert "-target=" not in plans[1]
    assert (checkout.folder / "build" / "bin" / "terraform").is_file()


@pytest.mark.parametrize(
    ("action", "branch"),
    [
        ("deploy", "feature"),
        ("deploy", "main-2"),
        ("deploy", ""),
        ("plan", "main"),
        ("plan", "feature"),
        ("", "main"),
    ],
)
def test_anything_else_is_tested_and_planned_and_changes_nothing(tmp_path: Path, action: str, branch: str) -> None:
    checkout, failed = built(tmp_path, environment(action, branch))
    assert failed == ""
    assert checkout.changes() == []
    plans = [call for call in checkout.calls() if call.startswith("terraform plan")]
    assert len(plans) == 1
    assert "-lock=false" in plans[0]
    assert {"make test", "make infra-test"} <= set(checkout.calls())


def test_another_branch_can_be_the_one_that_deploys(tmp_path: Path) -> None:
    checkout, _ = built(tmp_path, environment("deploy", "release", _BRANCH="release"))
    assert len(checkout.changes()) == 5


@pytest.mark.parametrize(
    ("fails", "step"),
    [
        ("make*test", "lint-and-tests"),
        ("terraform*init*", "init"),
        ("terraform*plan*-target*", "foundation"),
        ("terraform*apply*foundation*", "foundation"),
        ("python*images*", "images"),
        ("terraform*state?pull*", "plan"),
        ("terraform*plan*deploy.tfplan*", "plan"),
        ("terraform*apply*deploy*", "apply"),
        ("python*doctor*", "doctor"),
        ("python*smoke*", "smoke"),
    ],
)
def test_what_fails_ends_the_build(tmp_path: Path, fails: str, step: str) -> None:
    assert built(tmp_path, environment("deploy", "main"), fails)[1] == step


def test_prod_is_asked_and_never_trained(tmp_path: Path) -> None:
    checkout, _ = built(tmp_path, environment("deploy", "main", _ENV="prod"))
    assert checkout.calls()[-1].strip() == "python -m infra.deploy.smoke prod"
    assert "--train" not in scripts()


def test_a_file_of_ones_own_proves_dev(tmp_path: Path) -> None:
    named = "data/a few rents.csv"
    checkout, _ = built(tmp_path, environment("deploy", "main", _SMOKE_FILE=named), holds=named)
    assert checkout.calls()[-1] == f"python -m infra.deploy.smoke dev --file {named}"


@pytest.mark.parametrize("named", ["nothere.csv", "data"])
def test_a_file_of_ones_own_that_is_not_there_ends_the_build_before_anything_changes(
    tmp_path: Path, named: str
) -> None:
    checkout, failed = built(tmp_path, environment("deploy", "main", _SMOKE_FILE=named), holds="data/rents.csv")
    assert failed == "bundle"
    assert checkout.changes() == []


def held(*instances: dict[str, Any], kind: str = "google_cloud_run_v2_service", name: str = "predict") -> Any:
    """A resource in a state."""

    def made(one: dict[str, Any]) -> dict[str, Any]:
        attributes = {"deletion_protection": True, "id": "x", "template": [{"labels": {}}]}
        return {**one, "schema_version": 2, "attributes": attributes, "sensitive_attributes": []}

    head = {"mode": "managed", "type": kind, "name": name, "provider": 'provider["google"]'}
    return {**head, "instances": [made(one) for one in instances]}


TAINTED: dict[str, Any] = {"status": "tainted"}
STORED = [
    [],
    [held({})],
    [held(TAINTED, kind="google_sql_database_instance"), held({}), held({}, name="on_upload")],
    [held(TAINTED), held({}, name="on_upload"), held(TAINTED, kind="google_cloud_run_v2_job", name="sweep")],
    [held({"index_key": "a"}, {"index_key": "b", **TAINTED}, {"index_key": 0}), held({}, name="on_upload")],
]


@pytest.mark.parametrize("resources", STORED, ids=["nothing", "ready", "another kind", "two", "one of three"])
def test_what_never_became_ready_is_released_before_the_plan_as_dropfit_deploy_does(
    tmp_path: Path, resources: list[dict[str, Any]]
) -> None:
    stored = {"version": 4, "terraform_version": "1.11.4", "serial": 9, "lineage": "l", "resources": resources}
    before = json.dumps(stored, indent=2)
    checkout, failed = built(tmp_path, environment("deploy", "main"), state=before)
    assert failed == ""
    released = bool(stillborn.release(stored))
    assert json.loads(checkout.state()) == stored
    pushes = [number for number, call in enumerate(checkout.calls()) if call.startswith("terraform state push")]
    assert len(pushes) == released
    assert all("terraform plan" in checkout.calls()[number + 1] for number in pushes)
    assert not list((checkout.folder / "build").glob("*.json"))


def test_a_look_releases_nothing(tmp_path: Path) -> None:
    before = json.dumps({"serial": 9, "resources": [held(TAINTED)]}, indent=2)
    checkout, failed = built(tmp_path, environment("plan", "feature"), state=before)
    assert (failed, checkout.state(), checkout.changes()) == ("", before, [])


def test_foundation_and_state_are_those_of_dropfit_deploy() -> None:
    targets = re.findall(r"-target=(\S+)", scripts())
    assert sorted(targets) == sorted(FOUNDATION)
    assert f'-backend-config="prefix={PREFIX}"' in scripts()


@pytest.mark.infra
def test_it_is_of_cloud_builds_schema_and_tidy() -> None:
    tell(TOOLS / "check-jsonschema", "--builtin-schema", "vendor.cloudbuild", FILE)
    tell(TOOLS / "yamllint", "-s", "-d", YAMLLINT, FILE)


@pytest.mark.infra
@pytest.mark.parametrize("script", [*SCRIPTS, "deploys.sh", "terraform.sh"])
def test_shellcheck_finds_nothing(script: str, tmp_path: Path) -> None:
    file = ROOT / "infra" / "pipeline" / script
    if script in SCRIPTS:
        file = tmp_path / "step.sh"
        file.write_text(SCRIPTS[script])
    tell(TOOLS / "shellcheck", "-s", "sh", file)
