# SPDX-License-Identifier: Apache-2.0
"""What a person reads of the doctor, and what a program gets; and the environment that it reads."""

from __future__ import annotations

import io
import json
import re
import shutil
from pathlib import Path

import msgspec
import pytest
from google_api import Google
from healthy import BILLING, ENVIRONMENT, empty, healthy, newborn
from rich.console import Console

from dropfit.errors import SettingsError
from dropfit.rest import Api
from infra.deploy import display, doctor, environment
from infra.deploy.look import Finding

INFRA = Path(__file__).parents[2] / "infra"
LONG = "$ gcloud projects add-iam-policy-binding acme-dev --member=user:ada@acme.example --role=roles/run.admin --x=y"
FINDINGS = [
    Finding("tools", "Terraform", "ok", "1.11.4"),
    Finding("project", "billing", "warn", "could not look, because [red]it[/] is off", "Look there."),
    Finding("project", "your rights", "fail", "you lack run.jobs.create", f"Somebody runs:\n{LONG}"),
    Finding("project", "APIs", "fail", "you lack it too", f"Somebody runs:\n{LONG}"),
]


@pytest.fixture
def dev(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """infra/dev.tfvars of acme; a Terraform beside it."""
    shutil.copy(INFRA / "variables.tf", tmp_path)
    shutil.copy(INFRA / "versions.tf", tmp_path)
    file = tmp_path / "dev.tfvars"
    file.write_text('project = "acme-dev"\nregion = "europe-west1"\nenvironment = "dev"\n')
    monkeypatch.setattr(environment, "INFRA", tmp_path)
    terraform = tmp_path / "terraform"
    terraform.write_text('#!/bin/sh\necho \'{"terraform_version": "1.11.4"}\'\n')
    terraform.chmod(0o755)
    monkeypatch.setenv("TERRAFORM", str(terraform))
    return file


def shown(findings: list[Finding], width: int = 80) -> str:
    stream = io.StringIO()
    display.show(findings, Console(file=stream, width=width, highlight=False, no_color=True))
    return stream.getvalue()


def test_without_colours_and_in_80_columns_words_say_what_is_wrong() -> None:
    text = shown(FINDINGS)
    assert [line.split()[0] for line in text.splitlines() if re.match(r" (ok|warn|FAIL) ", line)] == [
        "ok",
        "warn",
        "FAIL",
        "FAIL",
    ]
    assert all(len(line.rstrip()) <= 80 for line in text.splitlines() if "gcloud" not in line)


def test_a_command_stands_in_one_line_so_that_it_can_be_pasted() -> None:
    assert f"     {LONG[2:]}\n" in shown(FINDINGS)


def test_what_fails_comes_first_and_one_remedy_is_told_once() -> None:
    text = shown(FINDINGS)
    assert text.count("Somebody runs:") == 1
    assert text.index("1. FAIL project: your rights, APIs") < text.index("2. warn project: billing")
    assert text.rstrip().endswith("2 to mend, and 1 to know of: see above.")


def test_what_others_say_does_not_colour_the_terminal() -> None:
    assert "[red]it[/]" in shown(FINDINGS)


def test_a_deployment_that_is_well_says_so_in_its_last_line() -> None:
    assert shown(FINDINGS[:1]).rstrip().endswith("All is well: 1 looked at.")
    assert "Nothing stands in the way" in shown(FINDINGS[:2])


@pytest.mark.parametrize(("world", "status"), [(healthy, 0), (empty, 1)])
def test_the_command_ends_with_1_when_something_is_to_be_mended(
    dev: Path, capsys: pytest.CaptureFixture[str], world: object, status: int
) -> None:
    google: Google = world()  # type: ignore[operator]
    assert doctor.main(["dev", "--after"], Api("scope", google)) == status
    assert "predict" in capsys.readouterr().out


def test_a_warning_alone_is_no_failure(dev: Path, capsys: pytest.CaptureFixture[str]) -> None:
    google = empty()
    google.off.add("cloudquotas")
    assert doctor.main(["dev"], Api("scope", google)) == 0
    google.things[BILLING]["billingEnabled"] = False
    assert doctor.main(["dev"], Api("scope", google)) == 1


def test_a_program_gets_json_and_nothing_else(dev: Path, capsys: pytest.CaptureFixture[str]) -> None:
    google = healthy()
    newborn(google)
    assert doctor.main(["dev", "--after", "--json"], Api("scope", google)) == 1
    found = json.loads(capsys.readouterr().out)
    assert {"group", "check", "verdict", "says", "remedy"} == set(found[0])
    assert [one["check"] for one in found if one["verdict"] == "fail"] == ["dead letters"]


def test_the_example_is_nobodys_project_and_the_message_says_what_to_do(
    dev: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    dev.write_text(dev.read_text().replace("acme-dev", "your-project-dev"))
    google = healthy()
    assert doctor.main(["dev"], Api("scope", google)) == 1
    assert "infra/dev.tfvars" in capsys.readouterr().err
    assert google.calls == []


def test_the_size_of_predict_and_who_is_told_are_read_from_the_tfvars(dev: Path) -> None:
    assert environment.read("dev").predict == environment.Size()
    more = 'predict = {\n  max_instances = 3\n  cpu = "2"\n}\nalert_emails = ["ada@acme.example"]\n'
    dev.write_text(dev.read_text() + more)
    found = environment.read("dev")
    assert (found.predict.max_instances, found.predict.cpu, found.predict.memory) == (3, "2", "1Gi")
    assert found.alert_emails == ENVIRONMENT.alert_emails
    dev.write_text(dev.read_text().replace("= 3", '= "many"'))
    with pytest.raises(SettingsError, match="max_instances"):
        environment.read("dev")


def test_the_defaults_of_predicts_size_are_terraforms() -> None:
    declared = re.findall(r"(\w+)\s*= optional\(\w+, \"?([\w]+)\"?\)", _block("predict"))
    size = msgspec.structs.asdict(environment.Size())
    assert {name: value for name, value in declared if name in size} == {
        n: str(v).lower() if isinstance(v, bool) else str(v) for n, v in size.items()
    }


def _block(variable: str) -> str:
    text = (INFRA / "variables.tf").read_text()
    return text.partition(f'variable "{variable}" {{')[2].partition("\n}\n")[0]
