# SPDX-License-Identifier: Apache-2.0
"""Terraform as a child: its words, its faults, and what becomes of it when a person says stop."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest
from fake_terraform import FakeTerraform
from on_stage import WANTED, Stage

from dropfit.errors import DeployError, SettingsError
from infra.deploy import advice, environment
from infra.deploy.plans import read_plan
from infra.deploy.terraform import Terraform, apart

pytestmark = pytest.mark.infra  # they start many processes: `make test` has no time for them
APPLY = """
import sys
from infra.deploy.environment import Environment
from infra.deploy.terraform import Terraform
environment = Environment(key="dev", project="acme-dev", region="europe-west1")
terraform = Terraform(environment, lambda text: print(text, flush=True))
terraform.apply(terraform.plan())
"""
ENVIRONMENT = environment.Environment(key="dev", project="acme-dev", region="europe-west1")


@pytest.fixture
def program(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FakeTerraform:
    made = FakeTerraform(tmp_path / "program")
    made.tell(wanted=dict(list(WANTED.items())[:5]))
    monkeypatch.setenv("TERRAFORM", str(made.path))
    monkeypatch.setenv("DROPFIT_HOME", str(tmp_path / "home"))
    return made


@pytest.fixture
def said() -> list[str]:
    return []


@pytest.fixture
def terraform(program: FakeTerraform, said: list[str]) -> Terraform:
    return Terraform(ENVIRONMENT, said.append)


def applying(program: FakeTerraform, slow: float = 1.0) -> subprocess.Popen[str]:
    """A slow apply in a process of its own, at its first resource."""
    program.tell(slow=slow)
    process = subprocess.Popen(
        [sys.executable, "-c", APPLY],
        stdout=subprocess.PIPE,
        text=True,
        # A shell starts what runs in the background with interrupts ignored, and children inherit that.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )
    assert process.stdout is not None
    for line in process.stdout:
        if "working" in line:
            break
    return process


def test_an_interrupt_reaches_terraform_once_and_it_ends_cleanly(program: FakeTerraform) -> None:
    process = applying(program)
    process.send_signal(signal.SIGINT)
    told, _ = process.communicate(timeout=300)
    assert process.returncode != 0
    assert "interrupted: Terraform ends what it is at and saves its state, please wait" in told
    assert "Gracefully shutting down" in told
    assert "Terraform has ended and saved its state" in told
    assert 1 <= len(program.state) < 5


def test_ctrl_c_at_a_terminal_does_not_reach_terraform_a_second_time(program: FakeTerraform) -> None:
    process = applying(program)
    child = psutil.Process(process.pid).children()[0]
    assert os.getpgid(child.pid) != os.getpgid(process.pid)
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=300)


def test_terraform_ends_its_work_when_this_process_is_killed(program: FakeTerraform) -> None:
    process = applying(program)
    child = psutil.Process(process.pid).children()[0]
    program_state = program.state
    process.kill()  # even so: Terraform writes into a file, which does not break as a pipe would
    process.communicate(timeout=300)
    deadline = time.monotonic() + 300
    with contextlib.suppress(psutil.NoSuchProcess):
        while child.status() != psutil.STATUS_ZOMBIE:  # nobody may be there to reap it
            assert time.monotonic() < deadline, "Terraform does not end"
            time.sleep(0.05)
    assert program_state == {}
    assert len(program.state) == 5


def test_an_interrupted_deployment_says_how_to_go_on(stage: Stage) -> None:
    def stop() -> None:
        raise KeyboardInterrupt

    stage.on_images(stop)
    told = stage.type("deploy", "--yes")
    assert told.code == 130
    assert "interrupted in: images" in told.text
    assert "`dropfit deploy dev` goes on from here" in told.text
    stage.on_images(lambda: None)
    assert stage.type("deploy", "--yes").code == 0


def test_what_an_apply_says_is_read_along_and_kept_in_a_log(terraform: Terraform, said: list[str]) -> None:
    terraform.apply(terraform.plan())
    assert "    google_storage_bucket.source: working ..." in said
    assert "google_storage_bucket.source: working ..." in terraform.log.read_text()
    assert not [line for line in said if "following actions" in line]


def test_a_plan_file_is_nobody_elses_to_read_and_gone_once_it_is_done(terraform: Terraform) -> None:
    plan = terraform.plan()
    assert plan.file.parent.stat().st_mode & 0o077 == 0
    terraform.apply(plan)
    assert not plan.file.exists()


def test_each_call_is_for_this_deployment_alone(
    program: FakeTerraform, terraform: Terraform, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TF_WORKSPACE", "my-own")
    terraform.init()
    terraform.plan(["google_storage_bucket.data"], {"delete_data": "true"}, destroy=True)
    init, plan = program.arguments("init")[0], program.arguments("plan")[0]
    assert {"-input=false", "-backend-config=bucket=acme-dev-dropfit-state", "-backend-config=prefix=dropfit"} <= set(
        init
    )
    assert {"-destroy", "-target=google_storage_bucket.data", "-var=delete_data=true", "-var-file=dev.tfvars"} <= set(
        plan
    )
    assert "-lock-timeout=60s" in plan
    environ = program.calls[0]["environ"]
    assert (environ["TF_IN_AUTOMATION"], environ["TF_WORKSPACE"]) == ("1", "default")
    assert environ["TF_DATA_DIR"].endswith("/terraform/dev")
    assert program.calls[0]["chdir"] == f"-chdir={environment.INFRA}"


def test_what_a_shell_says_to_terraform_changes_no_deployment(
    program: FakeTerraform, terraform: Terraform, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("TF_VAR_name", "TF_VAR_predict_public", "TF_CLI_ARGS", "TF_CLI_ARGS_plan"):
        monkeypatch.setenv(name, "other")
    monkeypatch.setenv("TF_LOG_PATH", "of-no-harm")
    terraform.init()
    terraform.plan()
    for call in program.calls:
        assert not [name for name in call["environ"] if name.startswith(("TF_VAR_", "TF_CLI_ARGS"))]
        assert call["environ"]["TF_LOG_PATH"] == "of-no-harm"


def test_a_plan_apart_sees_every_file_and_another_state(program: FakeTerraform, said: list[str]) -> None:
    with apart(ENVIRONMENT, said.append) as terraform:
        terraform.init()
        folder = Path(program.calls[0]["chdir"].partition("=")[2])
        assert {file.name for file in environment.INFRA.glob("*.tf")} < {file.name for file in folder.iterdir()}
        assert 'backend "local"' in (folder / "state_override.tf").read_text()
    assert not folder.exists()


def test_without_terraform_it_is_told_what_to_install(terraform: Terraform, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERRAFORM", "/nowhere/terraform")
    for call in (terraform.init, terraform.state):
        with pytest.raises(SettingsError, match=r"Install 1\.11 or newer"):
            call()


@pytest.mark.parametrize(
    ("says", "helps"),
    [
        ("could not find default credentials", "gcloud auth application-default login"),
        ("oauth2: invalid_grant: reauth related error", "Your login has expired"),
        ("Error acquiring the state lock", "force-unlock"),
        ("googleapi: Error 409: already exists, alreadyExists", "import -var-file=dev.tfvars ADDRESS ID"),
        ("googleapi: Error 403: caller lacks permission", "`dropfit doctor dev` says which role"),
        ("Failed to query available provider packages", "registry.terraform.io"),
        ("billing account for project is closed", "gcloud billing projects link"),
        ("cannot destroy service without setting deletion_protection=false", "`dropfit destroy dev`"),
        ("cannot destroy service without setting deletion_protection=false", "`dropfit deploy dev` takes its"),
        ("Error 400: One or more users named in the policy do not belong to a permitted customer", "`predict_public"),
        ("Error 412: 'us-east4' violates constraint 'constraints/gcp.resourceLocations'", "names the constraint"),
        ("Error 403: Request is prohibited by organization's policy. permission", "exception for this project"),
        ("googleapi: Error 429: rateLimitExceeded", "fewer requests a minute"),
        ("something nobody has met", "goes on where it was"),
    ],
)
def test_a_fault_says_what_terraform_said_and_what_to_do(
    program: FakeTerraform, terraform: Terraform, says: str, helps: str
) -> None:
    program.tell(breaks={"plan": [says]})
    with pytest.raises(DeployError) as told:
        terraform.plan()
    assert says in str(told.value)
    assert helps in str(told.value)
    assert str(terraform.log) in str(told.value)


def test_of_many_errors_the_first_is_shown_and_the_others_are_counted() -> None:
    box = "╷\n│ Error: {}\n│ \n│   with a.b,\n│   on x.tf line 3\n╵\n"
    told = advice.of("Refreshing ...\n" + "".join(box.format(f"number {n}") for n in range(3)), "dev")
    assert told.startswith("number 0\nwith a.b,\non x.tf line 3\n(2 more errors.)")


PASSES = [
    "googleapi: Error 403: Cloud Run Admin API has not been used in project 1 before or it is disabled",
    "Error 400: Permission denied while using the Eventarc Service Agent. If you recently started to use Eventarc",
    "Service account dropfit-build@acme-dev.iam.gserviceaccount.com does not exist., badRequest",
    "Error 404: Permission 'run.services.get' denied on resource (or it may not exist)",
    "Error 403: it may take a few minutes for the permissions to propagate",
    "Error 404: Cannot find metric(s) that match type",
    "If a metric was created recently, it could take up to 10 minutes to become available",
    "Error 404: The metric referenced by the provided filter is unknown. Check the metric name and labels.",
    "Error creating UptimeCheckConfig: Error 404: Error while retrieving Metrics Scope settings for project",
    "googleapi: Error 404: Not found: Dataset acme-dev:dropfit_logs, notFound",
    "googleapi: Error 403: Exceeded rate limits: too many dataset metadata update operations, rateLimitExceeded",
    "The Cloud Storage service account for your bucket is unable to publish to Cloud Pub/Sub topics",
]
STAYS = [
    "Error 409: already exists",
    "Error 403: caller lacks run.services.create",
    "Quota exceeded for 'CPU'",
    "Error 400: One or more users named in the policy do not belong to a permitted customer.",
]


@pytest.mark.parametrize("says", PASSES)
def test_what_a_new_project_says_for_some_minutes_passes(says: str) -> None:
    assert advice.passes(f"Error: {says}\n\n  with a.b,\n")
    assert advice.passes(f"╷\n│ Error: {STAYS[0]}\n│ \n│   with a.b\n╵\n╷\n│ Error: {says.upper()}\n╵\n")


def test_what_time_does_not_mend_stays() -> None:
    assert not advice.passes("".join(f"Error: {one}\n\n  with a.b,\n\n" for one in STAYS))


def test_what_is_no_error_decides_nothing() -> None:
    assert not advice.passes(f"Warning: {PASSES[0]}\n\nError: {STAYS[0]}\n\nWarning: {PASSES[1]}\n")


def test_an_error_of_many_lines_is_read_to_its_end_and_across_them() -> None:
    details = "\n".join(f'    "detail": {n}' for n in range(40))
    assert advice.passes(f"Error: Error creating\n\n{details}\nIf you recently started, wait for it to\npropagate\n")


def test_a_short_command_that_fails_says_why(program: FakeTerraform, terraform: Terraform) -> None:
    program.tell(serial=9)
    with pytest.raises(DeployError, match="cannot import state"):
        terraform.push({"serial": 3, "resources": []})


def test_a_plan_tells_replacing_from_changing_and_reading() -> None:
    actions = [
        ["create"],
        ["update"],
        ["delete"],
        ["delete", "create"],
        ["create", "delete"],
        ["no-op"],
        ["read"],
        ["forget"],
    ]
    changes = [{"address": f"a.x[{n}]", "mode": "managed", "change": {"actions": a}} for n, a in enumerate(actions)]
    plan = read_plan(
        Path("p"),
        {"resource_changes": [*changes, {"address": "data.a", "mode": "data", "change": {"actions": ["read"]}}]},
    )
    assert plan.summary() == "1 to add, 1 to change, 2 to replace, 1 to destroy"
    assert plan.removed == {"a.x[2]", "a.x[3]", "a.x[4]"}
    assert plan.touches({"a.x"})
    assert not plan.touches({"a.y"})
    assert plan.applyable


def test_a_changed_output_alone_is_something_to_apply() -> None:
    assert read_plan(Path("p"), {"resource_changes": [], "applyable": True}).applyable
    assert not read_plan(Path("p"), {"resource_changes": []}).applyable


def test_nothing_waits_for_ever_on_a_program_that_ended(terraform: Terraform) -> None:
    start = time.monotonic()
    terraform.init()
    assert time.monotonic() - start < 60
