# SPDX-License-Identifier: Apache-2.0
"""A tfvars file that will not do is refused where it is wrong, in words of whoever wrote it, before anything runs."""

from __future__ import annotations

import os
import shutil
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest
from google_api import Google
from healthy import ENVIRONMENT, empty
from on_stage import Stage
from planning import INFRA

from dropfit.errors import SettingsError
from dropfit.rest import Api
from infra.deploy import checks_laptop, checks_tfvars, doctor, environment, smoke
from infra.deploy.look import Finding, Look, made

TFVARS = 'project = "acme-dev"\nregion = "europe-west1"\nenvironment = "dev"\n'
POOL = "iam.googleapis.com/projects/1/locations/global/workloadIdentityPools/p"

Write = Callable[..., Path]


@pytest.fixture
def write(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Write:
    """Writes a tfvars file beside the real variables.tf."""
    shutil.copy(INFRA / "variables.tf", tmp_path)
    monkeypatch.setattr(environment, "INFRA", tmp_path)

    def written(more: str = "", text: str = TFVARS, key: str = "dev", encoding: str = "utf-8") -> Path:
        file = tmp_path / f"{key}.tfvars"
        file.write_text(text + more, encoding=encoding)
        return file

    return written


def refusal(key: str = "dev") -> str:
    with pytest.raises(SettingsError) as caught:
        environment.read(key)
    return str(caught.value)


# What is refused when a file is read


@pytest.mark.parametrize(
    ("more", "parts"),
    [
        ("invoker = []\n", ["`invoker`", "did you mean `invokers`?", "infra/variables.tf"]),
        ("predict = { min_instance = 1 }\n", ["`predict` has no `min_instance`", "did you mean `min_instances`?"]),
        ("job = { memroy = \"16Gi\" }\n", ["`job` has no `memroy`", "did you mean `memory`?"]),
        ("whatever = 1\n", ["no variable `whatever`", "infra/variables.tf"]),
        ('predict = { min_instances = "many" }\n', ['predict.min_instances must be a number, and is "many"']),
        ("predict = { min_instances = 1.5 }\n", ["predict.min_instances must be a whole number"]),
        ("predict = { request_log = 1 }\n", ["predict.request_log must be true or false"]),
        ("predict = 3\n", ["predict must be names and values", "and is 3"]),
        ('operators = "user:ada@acme.example"\n', ["operators must be a list of texts", "user:ada@acme.example"]),
        ("operators = [null]\n", ["operators[0] must be a text", "null"]),
        ('operators = concat(["user:a@b.example"], [])\n', ["operators = ", "write the list out"]),
        ('operators = [upper("a")]\n', ["operators[0] = ", "write the value out"]),
        ("settings = { mode = null }\n", ["settings.mode", "null", "leave the line out"]),
        ("settings = { mode = [] }\n", ["settings.mode must be a text", "a list"]),
        ("settings = []\n", ["settings must be names and values"]),
        ("log_retention_days = true\n", ["log_retention_days must be a number", "true"]),
        ('name = "ab"\n', ['name = "ab" will not do', "3 to 15 lower-case letters"]),
        ('name = "acme-"\n', ['name = "acme-" will not do']),
        ('sweep_schedule = "every day"\n', ['"every day" will not do', "five fields of cron"]),
        ('sweep_schedule = "every single day at noon"\n', ["five fields of cron"]),
    ],
)  # fmt: skip
def test_a_fault_is_told_with_its_file_its_variable_and_what_it_must_be(
    write: Write, more: str, parts: list[str]
) -> None:
    write(more)
    said = refusal()
    assert [part for part in [*parts, "infra/dev.tfvars"] if part not in said] == [], said
    assert "$." not in said


@pytest.mark.parametrize("line", ["project", "region", "environment"])
def test_what_is_missing_is_named_and_what_it_is_for_is_said(write: Write, line: str) -> None:
    write(text="".join(one for one in TFVARS.splitlines(True) if not one.startswith(line)))
    assert f"infra/dev.tfvars: `{line}` is missing. " in refusal()
    write(f"{line} = null\n", text="".join(one for one in TFVARS.splitlines(True) if not one.startswith(line)))
    assert f"infra/dev.tfvars: `{line}` is missing. " in refusal()


def test_all_faults_are_told_at_once(write: Write) -> None:
    write('invoker = []\npredict = { min_instance = 1, cpu = [] }\nname = "ab"\n')
    said = refusal()
    assert len(said.splitlines()) == 4
    assert all(line.startswith("infra/dev.tfvars: ") for line in said.splitlines())


def test_a_project_id_that_can_be_none_is_refused_before_anybody_is_told_to_make_it(stage: Stage) -> None:
    (stage.infra / "dev.tfvars").write_text(TFVARS.replace("acme-dev", "Acme-Dev"))
    told = stage.type("doctor", "dev")
    assert told.code == 1
    assert "6 to 30 lower-case letters" in told.text
    assert "gcloud projects create" not in told.text
    assert stage.google.calls == []


def test_what_terraform_takes_is_taken(write: Write) -> None:
    write(
        'predict = { min_instances = "1", max_instances = null, cpu = 2, request_log = "false" }\noperators = null\n'
        'name = null\nmonthly_budget = null\nlog_retention_days = "60"\n'
        'settings = { log_share = 0.5, mode = "static" }\n'
        "# a comment\n",
        encoding="utf-8-sig",
    )
    found = environment.read("dev")
    assert found.predict == environment.Size(min_instances=1, cpu="2", request_log=False)
    assert (found.operators, found.name, found.monthly_budget, found.log_retention_days) == ((), "dropfit", None, 60)
    assert found.settings == {"log_share": 0.5, "mode": "static"}


@pytest.mark.parametrize(
    ("text", "line"),
    [
        (TFVARS + 'operators = [\n  "user:a@b.example"\n  "user:b@b.example"\n]\n', "line 6"),
        (TFVARS + "name = ", "line 4"),
    ],
)
def test_what_is_no_hcl_is_told_by_its_line_and_not_by_a_parsers_tokens(write: Write, text: str, line: str) -> None:
    write(text=text)
    said = refusal()
    assert f"infra/dev.tfvars, {line} is not understood" in said
    assert "Token" not in said
    assert "Expected" not in said


def test_a_file_in_another_encoding_is_to_be_saved_as_utf_8(write: Write) -> None:
    write(encoding="utf-16")
    assert "infra/dev.tfvars cannot be read: save it as UTF-8" in refusal()


def test_a_file_whose_name_has_capitals_is_to_be_renamed(write: Write) -> None:
    write(key="Staging")
    write()
    said = refusal("Staging")
    assert "lower-case letters" in said
    assert "staging.tfvars" in said
    assert "did you mean `dev`?" in refusal("dve")
    assert "there are: dev" in refusal("../dev")


def test_the_environment_is_the_files_name(write: Write) -> None:
    write(text=TFVARS.replace('"dev"', '"prod"'))
    assert 'environment = "prod" will not do: it is the file\'s name, "dev"' in refusal()


@pytest.mark.parametrize("verb", ["doctor", "deploy", "destroy"])
def test_two_files_of_one_deployment_are_refused_by_every_verb_and_both_named(stage: Stage, verb: str) -> None:
    (stage.infra / "prod.tfvars").write_text(TFVARS.replace('"dev"', '"prod"') + 'name = "dropfit"\n')
    stage.deployed()
    for key in ("dev", "prod"):
        told = stage.type(verb, key, keyboard="acme-dev\ny\n")
        assert told.code == 1
        assert all(name in told.text for name in ("infra/dev.tfvars", "infra/prod.tfvars", "dropfit in acme-dev"))
    assert stage.google.calls == []
    (stage.infra / "prod.tfvars").write_text(TFVARS.replace('"dev"', '"prod"') + 'name = "other"\n')
    assert environment.read("prod").name == "other"


def test_another_file_that_is_broken_stands_in_nobodys_way(write: Write) -> None:
    write()
    write(text="nonsense [", key="prod")
    assert environment.read("dev").project == "acme-dev"


# What the doctor finds


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


# This machine


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (None, "there is no such file"),
        ("no json", "no JSON file of credentials"),
        ("[]", "no JSON file of credentials"),
    ],
)
def test_a_credentials_file_that_is_none_is_named_and_no_login_is_advised(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, content: str | None, says: str
) -> None:
    file = tmp_path / "key.json"
    if content is not None:
        file.write_text(content)
    monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", str(file))
    google = empty()
    one = next(one for one in doctor.before(ENVIRONMENT, Api("scope", google)) if one.group == "credentials")
    assert one.verdict == "fail"
    assert str(file) in one.says
    assert says in one.says
    assert "$ unset GOOGLE_APPLICATION_CREDENTIALS" in one.remedy
    assert "login\n" not in one.remedy
    assert google.calls == []


def test_a_credentials_file_that_does_not_work_is_told_in_a_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "key.json"
    file.write_text('{"type": "service_account", "project_id": "acme-dev"}')
    monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", str(file))
    one = next(one for one in doctor.before(ENVIRONMENT, Api("scope")) if one.group == "credentials")
    assert one.verdict == "fail"
    assert str(file) in one.says
    assert "('" not in one.says
    assert "$ unset GOOGLE_APPLICATION_CREDENTIALS" in one.remedy
    file.chmod(0)
    if not os.access(file, os.R_OK):  # root reads everything
        assert "cannot be read" in checks_laptop._wrong_file()
    file.chmod(stat.S_IRWXU)
    monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", str(tmp_path))
    assert "cannot be read" in checks_laptop._wrong_file()


def test_without_gcloud_one_is_told_where_it_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    look = Look(ENVIRONMENT, Api("scope", Google()))
    one = next(one for one in made(look, checks_laptop.TOOLS) if one.check == "gcloud")
    assert one.verdict == "warn"
    assert "https://cloud.google.com/sdk" in one.remedy


@pytest.mark.parametrize("name", ["STORAGE_EMULATOR_HOST", "BIGQUERY_EMULATOR_HOST"])
def test_doctor_and_smoke_run_as_modules_refuse_the_laptops_cloud(
    write: Write, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], name: str
) -> None:
    write()
    monkeypatch.setenv(name, "http://127.0.0.1:4443")
    google = empty()
    assert doctor.main(["dev"], Api("scope", google)) == 1
    assert "open a new one" in capsys.readouterr().err
    monkeypatch.setattr("sys.argv", ["smoke", "dev"])
    assert smoke.main() == 1
    assert "open a new one" in capsys.readouterr().err
    assert google.calls == []
