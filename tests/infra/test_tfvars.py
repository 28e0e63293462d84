# SPDX-License-Identifier: Apache-2.0
"""A tfvars file that will not do is refused where it is wrong, in words of whoever wrote it, before anything runs."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from healthy import empty
from on_stage import Stage
from planning import INFRA

from dropfit.errors import SettingsError
from dropfit.rest import Api
from infra.deploy import doctor, environment, smoke

TFVARS = 'project = "acme-dev"\nregion = "europe-west1"\nenvironment = "dev"\n'

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
