# SPDX-License-Identifier: Apache-2.0
"""A credentials file that is none, and a gcloud that is not there, are told in a sentence."""

from __future__ import annotations

import os
import stat
import subprocess
from pathlib import Path

import pytest
from google_api import Google
from healthy import ENVIRONMENT, empty

from dropfit.rest import Api
from infra.deploy import checks_laptop, doctor
from infra.deploy.look import Look, made


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


def test_what_is_not_committed_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "infra").mkdir()
    for number in range(7):
        (tmp_path / "infra" / f"{number}.tf").touch()
    for command in (["git", "init", "-q"], ["git", "add", "infra"]):
        subprocess.run(command, cwd=tmp_path, check=True)
    monkeypatch.setattr(checks_laptop, "ROOT", tmp_path)
    look = Look(ENVIRONMENT, Api("scope", Google()))
    (one,) = checks_laptop.git(look)
    assert (one.verdict, one.says.split(":")[0]) == ("warn", "7 files differ from the last commit")
    assert one.remedy.startswith("infra/0.tf, infra/1.tf, infra/2.tf, infra/3.tf, infra/4.tf ...: commit first")


def test_without_gcloud_one_is_told_where_it_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    look = Look(ENVIRONMENT, Api("scope", Google()))
    one = next(one for one in made(look, checks_laptop.TOOLS) if one.check == "gcloud")
    assert one.verdict == "warn"
    assert "https://cloud.google.com/sdk" in one.remedy
