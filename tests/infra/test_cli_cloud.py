# SPDX-License-Identifier: Apache-2.0
"""The three verbs about Google Cloud, as a person types them."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from on_stage import BAD, FINE, Stage

from infra.deploy import doctor

LOW = doctor.Finding("Quota", "CPU", "warn", "10 of 20 are in use", "ask for more")


@pytest.mark.parametrize("verb", ["doctor", "deploy", "destroy"])
def test_every_verb_explains_itself(stage: Stage, verb: str) -> None:
    told = stage.type(verb, "--help")
    assert told.code == 0
    assert f"dropfit {verb}" in told.text


@pytest.mark.parametrize("verb", ["doctor", "deploy", "destroy"])
def test_a_deployment_that_nobody_has_described_is_told_with_those_that_are(stage: Stage, verb: str) -> None:
    told = stage.type(verb, "staging")
    assert told.code == 1
    assert "there is no infra/staging.tfvars; there are: dev" in told.text


@pytest.mark.parametrize("verb", ["doctor", "deploy", "destroy"])
def test_the_examples_project_is_nobodys(stage: Stage, verb: str) -> None:
    tfvars = stage.infra / "dev.tfvars"
    tfvars.write_text(tfvars.read_text().replace("acme-dev", "your-project-dev"))
    told = stage.type(verb)
    assert told.code == 1
    assert "write your project's id there" in told.text
    assert stage.google.calls == []


@pytest.mark.parametrize("verb", ["doctor", "deploy", "destroy"])
def test_a_terminal_that_speaks_to_the_laptops_cloud_is_sent_to_another(
    stage: Stage, verb: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("STORAGE_EMULATOR_HOST", "http://127.0.0.1:4443")
    told = stage.type(verb)
    assert told.code == 1
    assert "open a new one" in told.text
    assert stage.google.calls == []


@pytest.mark.parametrize("missing", ["hcl2", "infra.deploy"])
def test_without_the_clones_packages_it_is_told_what_to_install(missing: str, clean: dict[str, str]) -> None:
    code = (
        f"import sys; sys.modules['{missing}'] = None; sys.argv = ['dropfit', 'deploy']\n"
        "from dropfit.cli import main; main()"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=clean, timeout=300)
    assert done.returncode == 1
    assert "make env" in done.stderr


def test_an_option_that_there_is_not_is_not_understood(stage: Stage) -> None:
    assert stage.type("deploy", "--force").code == 2


# dropfit doctor


def test_the_doctor_looks_at_the_project_alone_before_there_is_a_deployment(stage: Stage) -> None:
    stage.before = [FINE, LOW]
    told = stage.type("doctor", "dev")
    assert told.code == 0
    assert "10 of 20 are in use" in told.text
    assert "ask for more" in told.text
    assert stage.terraform.verbs == ["doctor before"]
    assert stage.google.written() == []


def test_the_doctor_looks_at_what_is_deployed_too(stage: Stage) -> None:
    stage.deployed()
    stage.after = [FINE, doctor.Finding("Trigger", "dead letters", "fail", "no policy", "dropfit deploy dev")]
    told = stage.type("doctor")
    assert told.code == 1
    assert told.text.count(FINE.says) == 1
    assert "dead letters" in told.text
    assert stage.terraform.verbs == ["doctor before", "doctor after"]


def test_the_doctor_goes_no_further_than_a_project_that_is_not_ready(stage: Stage) -> None:
    stage.deployed()
    stage.before = [BAD]
    told = stage.type("doctor")
    assert told.code == 1
    assert "link a billing account" in told.text
    assert stage.terraform.verbs == ["doctor before"]


def test_programs_read_the_doctors_findings_as_json(stage: Stage) -> None:
    stage.before = [LOW]
    told = stage.type("doctor", "--json")
    assert json.loads(told.text) == [
        {"group": "Quota", "check": "CPU", "verdict": "warn", "says": "10 of 20 are in use", "remedy": "ask for more"}
    ]


def test_no_path_of_this_machine_is_in_what_a_person_copies(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(stage.home.parent)
    monkeypatch.setenv("DROPFIT_HOME", ".dropfit")
    told = stage.type("deploy", "--yes")
    assert "set -a; . .dropfit/dev.env; set +a" in told.text
    assert Path(".dropfit/dev.env").is_file()
