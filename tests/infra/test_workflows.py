# SPDX-License-Identifier: Apache-2.0
"""GitHub's workflows: what they may do, that they do what cloudbuild.yaml does, and that only main deploys."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from build_steps import SCRIPTS, STEPS, TOOLS, VARIABLE, YAMLLINT, tell
from stand_ins import Checkout

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / ".github" / "workflows"
FILES = sorted(FOLDER.glob("*.yml"))
FLOWS: dict[str, dict[Any, Any]] = {file.stem: yaml.safe_load(file.read_text()) for file in FILES}
DEPLOY: dict[str, Any] = FLOWS["deploy"]["jobs"]["deploy"]
RUNS = [step["run"] for step in DEPLOY["steps"] if "run" in step]
PINNED = re.compile(r"uses: [\w-]+/[\w-]+@[0-9a-f]{40} # v\d+\.\d+\.\d+$")
HAPPENS = re.compile(r"(terraform\.sh) \"?\$?(\w+)|python -m (infra\.deploy\.\w+)")
LETS = {
    "workflow": {"name", True, "permissions", "concurrency", "jobs"},
    "job": {"name", "needs", "if", "runs-on", "timeout-minutes", "environment", "permissions", "env", "steps"},
    "call": {"if", "permissions", "uses", "with"},
    "step": {"name", "uses", "with", "run"},
}
"""Keys that may stand where. A step's `if` or `continue-on-error` would let the next go on after a failure."""
ON_MAIN = "vars.DEPLOY_FROM_ACTIONS == 'true' && github.ref == 'refs/heads/main'"
NOT_TWICE = "inputs.deploys || github.event_name != 'push' || vars.DEPLOY_FROM_ACTIONS != 'true'"
ORDER = [
    *("environment", "bundle", "may it deploy", "init", "foundation", "images", "plan", "apply", "dead letter"),
    *("doctor", "smoke"),
]
ON = True
"""What YAML takes the word `on` for."""


def happenings(scripts: list[str]) -> list[str]:
    """What is done with Terraform and our modules, in order; `plan` is what a deployment's plan step does."""
    return [next(filter(None, (name, module))) for _, name, module in HAPPENS.findall("\n".join(scripts))]


def environment(branch: str, **more: str) -> dict[str, str]:
    """A deployment's environment as the job sets it."""
    said = {name: str(value) for name, value in DEPLOY["env"].items()}
    given = {"_ENV": "dev", "_NAME": "dropfit", "_SMOKE_FILE": "", "BRANCH_NAME": branch, "PROJECT_ID": "acme-dev"}
    assert {name for name, value in said.items() if "${{" in value} == set(given)
    return said | given | more


def ran(folder: Path, environ: dict[str, str], **more: str) -> tuple[Checkout, int]:
    """Run the job's own steps until one fails."""
    checkout = Checkout(folder, **more)
    for script in RUNS:
        status = checkout.run(script, environ, "-e")
        if status:
            return checkout, status
    return checkout, 0


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.name)
def test_every_action_of_others_is_pinned_by_its_commit(file: Path) -> None:
    used = [line.strip().removeprefix("- ") for line in file.read_text().splitlines() if "uses:" in line]
    others = [line for line in used if "uses: ./" not in line]
    assert others
    assert [line for line in others if not PINNED.match(line)] == []


def test_an_action_has_one_version_everywhere_and_terraform_that_of_cloud_build() -> None:
    text = "\n".join(file.read_text() for file in FILES)
    pins = re.findall(r"uses: ([\w/-]+)@(\w+)", text)
    assert len({action for action, _ in pins}) == len(set(pins))
    images = {step["name"] for step in STEPS if step["name"].startswith("hashicorp/terraform:")}
    assert {f"hashicorp/terraform:{version}" for version in re.findall(r"terraform_version: (\S+)", text)} == images


def test_nobody_may_anything_but_read_and_only_the_deployment_gets_a_token_of_google() -> None:
    for flow in FLOWS.values():
        assert flow["permissions"] == {}
        for name, job in flow["jobs"].items():
            token = {"id-token": "write"} if job is DEPLOY else {}
            assert job["permissions"] == {"contents": "read"} | token, name


def test_there_are_no_keys_and_no_secrets() -> None:
    for file in FILES:
        assert "secrets." not in file.read_text()
        assert "credentials_json" not in file.read_text()


def test_no_checkout_leaves_its_token_behind() -> None:
    steps = [step for flow in FLOWS.values() for job in flow["jobs"].values() for step in job.get("steps", [])]
    checkouts = [step for step in steps if "actions/checkout@" in step.get("uses", "")]
    assert len(checkouts) == 3
    assert all(step["with"] == {"persist-credentials": False} for step in checkouts)


def test_tests_run_on_every_push_to_main_and_every_pull_request() -> None:
    happens = FLOWS["test"][ON]
    assert happens["push"] == {"branches": ["main"]}
    assert "pull_request" in happens
    made = {step["run"] for job in FLOWS["test"]["jobs"].values() for step in job["steps"] if "run" in step}
    assert made == {"make test", "make infra-test"}


def test_nothing_goes_on_after_a_failure() -> None:
    """GitHub ends a job at the first step that fails, and what needs it, unless another key says not to."""
    for name, flow in FLOWS.items():
        assert set(flow) <= LETS["workflow"], name
        for job_name, job in flow["jobs"].items():
            assert set(job) <= LETS["call" if "uses" in job else "job"], job_name
            for step in job.get("steps", []):
                assert set(step) <= LETS["step"], step
                assert re.search(r"\|\||set \+e|\btrap\b|\bexit 0", step.get("run", "")) is None, step


def test_a_job_is_left_out_for_no_other_reason_than_these() -> None:
    conditions = {(name, job): told.get("if") for name, flow in FLOWS.items() for job, told in flow["jobs"].items()}
    assert conditions == {
        ("deploy", "test"): ON_MAIN,
        ("deploy", "deploy"): ON_MAIN,
        ("test", "test"): NOT_TWICE,
        ("test", "infra"): NOT_TWICE,
    }


def test_a_push_to_main_is_tested_once_whether_or_not_it_deploys() -> None:
    tests = FLOWS["deploy"]["jobs"]["test"]
    assert (tests["uses"], tests["with"]) == ("./.github/workflows/test.yml", {"deploys": True})
    for is_on in ("true", ""):
        called = [True] if is_on else []  # by deploy.yml, whose job is off otherwise
        times = [runs(deploys, "push", is_on) for deploys in (*called, None)]
        assert times.count(True) == 1
        assert runs(None, "pull_request", is_on)
    assert runs(True, "workflow_dispatch", "true")


def runs(deploys: bool | None, event: str, is_on: str) -> bool:
    """Whether test.yml's jobs run, by their own condition."""
    known = {"inputs.deploys": deploys, "github.event_name": event, "vars.DEPLOY_FROM_ACTIONS": is_on}
    parts = [part.partition(" != ") for part in NOT_TWICE.split(" || ")]
    return any(known[name] != other.strip("'") if other else known[name] for name, _, other in parts)


def test_the_steps_of_a_deployment_come_in_this_order() -> None:
    assert [step["name"] for step in DEPLOY["steps"] if "run" in step] == ORDER


def test_main_redeploys_dev_when_its_tests_have_passed_and_prod_is_a_persons_decision() -> None:
    happens = FLOWS["deploy"][ON]
    assert set(happens) == {"push", "workflow_dispatch"}
    assert happens["push"]["branches"] == ["main"]
    assert happens["workflow_dispatch"]["inputs"]["environment"]["options"] == ["dev", "prod"]
    assert DEPLOY["environment"] == DEPLOY["env"]["_ENV"] == "${{ inputs.environment || 'dev' }}"
    assert DEPLOY["needs"] == "test"
    for job in FLOWS["deploy"]["jobs"].values():
        assert "github.ref == 'refs/heads/main'" in job["if"]


def test_one_deployment_goes_on_at_a_time_and_none_is_broken_off() -> None:
    assert FLOWS["deploy"]["concurrency"]["cancel-in-progress"] is False
    assert "inputs.environment" in FLOWS["deploy"]["concurrency"]["group"]


def test_github_does_what_cloud_build_does() -> None:
    assert happenings(RUNS) == happenings(list(SCRIPTS.values()))


def test_what_the_steps_read_is_set() -> None:
    used = set(VARIABLE.findall("\n".join([*RUNS, *(f.read_text() for f in (ROOT / "infra/pipeline").glob("*.sh"))])))
    assert used <= set(DEPLOY["env"])


def test_a_push_to_main_deploys(tmp_path: Path) -> None:
    checkout, status = ran(tmp_path, environment("main"))
    assert status == 0
    assert len(checkout.changes()) == 5
    assert checkout.calls()[-1].strip() == "python -m infra.deploy.smoke dev"


def test_another_branch_ends_before_anything_is_changed(tmp_path: Path) -> None:
    checkout, status = ran(tmp_path, environment("feature"))
    assert status != 0
    assert checkout.changes() == []
    assert not any(call.startswith("terraform") for call in checkout.calls())


def test_prod_is_asked_and_never_trained(tmp_path: Path) -> None:
    checkout, _ = ran(tmp_path, environment("main", _ENV="prod", _SMOKE_FILE="rents.csv"), holds="rents.csv")
    assert checkout.calls()[-1] == "python -m infra.deploy.smoke prod --file rents.csv"
    assert "--train" not in "\n".join(RUNS)


def test_a_smoke_file_that_is_not_there_ends_it_before_anything_is_changed(tmp_path: Path) -> None:
    checkout, status = ran(tmp_path, environment("main", _SMOKE_FILE="rents.csv"))
    assert status == 1
    assert checkout.changes() == []


@pytest.mark.infra
def test_they_are_of_githubs_schema_tidy_and_safe() -> None:
    tell(TOOLS / "check-jsonschema", "--builtin-schema", "vendor.github-workflows", *FILES)
    tell(TOOLS / "yamllint", "-s", "-d", YAMLLINT, *FILES)
    tell(TOOLS / "zizmor", "-q", "--offline", "--no-progress", ROOT / ".github")


@pytest.mark.infra
@pytest.mark.parametrize("place", range(len(RUNS)))
def test_shellcheck_finds_nothing(place: int, tmp_path: Path) -> None:
    (tmp_path / "step.sh").write_text(RUNS[place])
    tell(TOOLS / "shellcheck", "-s", "bash", tmp_path / "step.sh")
