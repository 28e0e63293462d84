# SPDX-License-Identifier: Apache-2.0
"""What the doctor finds in a tfvars file that can be read: members, numbers or settings that will not do."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import msgspec
import pytest
from google_api import Google
from healthy import ENVIRONMENT, empty
from planning import INFRA

from dropfit.rest import Api
from infra.deploy import checks_tfvars, doctor, environment
from infra.deploy.look import Finding, Look, made

POOL = "iam.googleapis.com/projects/1/locations/global/workloadIdentityPools/p"


def found(**fields: Any) -> list[Finding]:
    look = Look(msgspec.structs.replace(ENVIRONMENT, **fields), Api("scope", Google()))
    return made(look, checks_tfvars.TFVARS)


def wrong(**fields: Any) -> list[Finding]:
    return [one for one in found(**fields) if one.verdict != "ok"]


MEMBERS = [
    "user:ada", "ada@acme.example", "everyone", "allUsers", "allAuthenticatedUsers", "user:ada@acme", "domain:acme",
    "principalSet://goog/public:all", "principal://goog/subject/ada@acme.example", "user:a b@acme.example",
    "principalSet://iam.googleapis.com/projects/p/x", "deleted:user:ada@acme.example?uid=1", "group:",
]  # fmt: skip


@pytest.mark.parametrize("member", MEMBERS)
@pytest.mark.parametrize("name", checks_tfvars.LISTS)
def test_members_that_are_none_or_everybody_are_found(name: str, member: str) -> None:
    (one,) = wrong(**{name: ("user:ada@acme.example", member)})
    assert (one.group, one.check, one.verdict) == ("tfvars", "members", "fail")
    assert member in one.says
    assert f"`{name}` of infra/dev.tfvars" in one.remedy


def test_members_of_every_kind_are_taken() -> None:
    every = (
        "user:ada@acme.example",
        "group:ml@acme.example",
        "domain:acme.example",
        "serviceAccount:a@p.iam.gserviceaccount.com",
        "serviceAccount:acme.svc.id.goog[shop/web]",
        f"principalSet://{POOL}/attribute.repository/acme/shop",
        f"principal://{POOL}/subject/x",
        "principal://iam.googleapis.com/locations/global/workforcePools/p/subject/ada",
    )
    assert wrong(operators=every) == []


@pytest.mark.parametrize(
    ("fields", "says"),
    [
        ({"predict": environment.Size(min_instances=3, max_instances=2)}, "min_instances = 3"),
        ({"predict": environment.Size(concurrency=0)}, "concurrency = 0"),
        ({"predict": environment.Size(billing="free")}, 'billing = "free"'),
        ({"predict": environment.Size(cpu="0.5")}, "1Gi of memory with 0.5 CPU: predict.cpu is 1, 2, 4, 6 or 8"),
        ({"predict": environment.Size(memory="256Mi")}, "256Mi of memory with 1 CPU: predict.cpu is 1"),
        ({"job": environment.JobSize(memory="16Gi")}, "16Gi of memory with 2 CPU: job.cpu is 1"),
        ({"job": environment.JobSize(cpu="4", memory="1Gi")}, "2Gi to 16Gi"),
        ({"job": environment.JobSize(memory="8G")}, "8G of memory"),
        ({"log_retention_days": 0}, "0 days"),
        ({"sweep_silent_hours": 24}, "24 hours"),
        ({"sweep_schedule": "every day"}, "five fields"),
        ({"alert_emails": ("ada@acme.example", "user:ada@acme.example")}, "'user:ada@acme.example' is no address"),
        ({"alert_emails": ("ada@acme",)}, "you@example.com"),
        ({"labels": {"Team": "ada"}}, "lower-case letters"),
        ({"labels": {"team": "Ada O"}}, "lower-case letters"),
        ({"labels": {"team": "a" * 64}}, "63"),
    ],
)
def test_values_that_google_would_refuse_are_found(fields: dict[str, Any], says: str) -> None:
    (one,) = wrong(**fields)
    assert (one.check, one.verdict) == ("values", "fail")
    assert says in one.says
    assert "infra/dev.tfvars" in one.remedy


def test_an_address_has_the_form_that_terraform_asks_for() -> None:
    (one,) = (text for text, _ in checks_tfvars._declared()["alert_emails"].rules)
    assert f'"{checks_tfvars.ADDRESS}"' in one


@pytest.mark.parametrize(
    ("cpu", "memory"),
    [("1", "512Mi"), ("1", "4Gi"), ("2", "8192Mi"), ("4", "2Gi"), ("4", "16Gi"), ("6", "24Gi"), ("8", "32Gi")],
)
def test_memory_that_cloud_run_gives_with_so_many_cpus_is_taken(cpu: str, memory: str) -> None:
    assert wrong(job=environment.JobSize(cpu=cpu, memory=memory)) == []
    assert wrong(predict=environment.Size(cpu=cpu, memory=memory)) == []


def test_labels_and_schedules_as_google_takes_them_are_taken() -> None:
    assert wrong(labels={"cost-center": "a_1", "empty": ""}, sweep_schedule="0 6-18/2 * JAN,6 MON-FRI") == []


@pytest.mark.parametrize(
    ("field", "value", "says"),
    [
        ("mode", "hybird", ['mode = "hybird" is malformed', "static, dynamic, hybrid"]),
        ("log_share", "lots", ['log_share = "lots" is malformed: it must be a number']),
        ("log_share", 2, ['log_share = "2" is malformed: it must be <= 1.0']),
        ("max_columns", "1.5", ["max_columns", "it must be a whole number"]),
        ("moed", "hybrid", ["moed is no setting", "did you mean `mode`?"]),
        ("data_bucket", "mine", ["data_bucket is set by Terraform itself"]),
    ],
)
def test_settings_are_tried_before_they_are_live(field: str, value: Any, says: list[str]) -> None:
    (one,) = wrong(settings={"publish": "hold", field: value})
    assert (one.check, one.verdict) == ("settings", "fail")
    assert [part for part in says if part not in one.says] == []
    assert "DROPFIT_" not in one.says
    assert "Expected" not in one.says
    assert f"`settings.{field}` of infra/dev.tfvars" in one.remedy


def test_each_setting_that_is_wrong_is_told() -> None:
    assert len(wrong(settings={"mode": "hybird", "log_share": "lots", "runner": "DataflowRunner"})) == 2


@pytest.mark.parametrize(
    "reference", ["nowhere:problem", "dropfit.problem:nothing", "dropfit", "dropfit.settings:load"]
)
def test_a_problem_that_cannot_be_loaded_is_found(reference: str) -> None:
    (one,) = wrong(settings={"problem": reference})
    assert (one.check, one.verdict) == ("problem", "fail")
    assert reference in one.says
    assert "\n" not in one.says
    assert "DROPFIT_PROBLEM" not in one.says


def test_a_problem_that_is_not_deployed_is_found_though_it_can_be_imported_here() -> None:
    right, said = checks_tfvars.loaded("dropfit.problem:problem", INFRA)
    assert not right
    assert "outside of functions/" in said or "No module" in said


def test_a_problem_with_a_slip_in_it_is_found(tmp_path: Path) -> None:
    shutil.copytree(checks_tfvars.FUNCTIONS, tmp_path / "functions", ignore=shutil.ignore_patterns("__pycache__"))
    file = tmp_path / "functions" / "dropfit" / "problem.py"
    for slip in ("def broken(:\n", "raise RuntimeError('not today')\n", "import sys\nsys.exit('gone')\n"):
        file.write_text(slip)
        checks_tfvars.loaded.cache_clear()
        right, said = checks_tfvars.loaded("dropfit.problem:problem", tmp_path / "functions")
        assert not right
        assert any(part in said for part in ("SyntaxError", "invalid syntax", "not today", "gone")), said
        assert "\n" not in said


def test_the_doctor_looks_at_the_tfvars_first_and_goes_on() -> None:
    looked = doctor.before(msgspec.structs.replace(ENVIRONMENT, operators=("user:ada",)), Api("scope", empty()))
    assert looked[0].group == "tfvars"
    assert [one.check for one in looked if one.verdict == "fail"] == ["members"]
    assert "quotas" in {one.group for one in looked}
