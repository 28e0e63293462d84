# SPDX-License-Identifier: Apache-2.0
"""Settings come from the environment, whole and typed, or the variable to fix is named."""

from __future__ import annotations

import re
from pathlib import Path

import msgspec
import pytest

from dropfit import settings
from dropfit.errors import SettingsError
from dropfit.settings import Settings

ENOUGH = {
    "GOOGLE_CLOUD_PROJECT": "p",
    "DROPFIT_LANDING_BUCKET": "l",
    "DROPFIT_DATA_BUCKET": "d",
    "DROPFIT_MODELS_BUCKET": "m",
}


def test_project_and_buckets_are_enough() -> None:
    found = settings.load(ENOUGH)
    assert (found.project, found.landing_bucket, found.data_bucket, found.models_bucket) == ("p", "l", "d", "m")
    assert found.problem == "dropfit.problem:problem"


def test_every_variable_that_is_missing_is_named_at_once_with_what_to_do() -> None:
    with pytest.raises(SettingsError) as refused:
        settings.load({"DROPFIT_DATA_BUCKET": "d"})
    said = str(refused.value)
    assert re.findall(r"[A-Z]+_[A-Z_]+", said)[:3] == [
        "GOOGLE_CLOUD_PROJECT",
        "DROPFIT_LANDING_BUCKET",
        "DROPFIT_MODELS_BUCKET",
    ]
    assert "dropfit up" in said


def test_a_variable_set_to_nothing_is_not_set() -> None:
    with pytest.raises(SettingsError, match="DROPFIT_LANDING_BUCKET"):
        settings.load({**ENOUGH, "DROPFIT_LANDING_BUCKET": ""})
    assert settings.load({**ENOUGH, "DROPFIT_MAX_INSTANCES": ""}) == settings.load(ENOUGH)


def test_numbers_are_read_as_numbers() -> None:
    found = settings.load({**ENOUGH, "DROPFIT_MAX_INSTANCES": "5", "DROPFIT_LEASE_SECONDS": "14.5"})
    assert (found.max_instances, found.lease_seconds) == (5, 14.5)


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("DROPFIT_MAX_INSTANCES", "many"),
        ("DROPFIT_TRAINING", "sometimes"),
        ("DROPFIT_LEASE_SECONDS", "1m"),
        ("DROPFIT_MAX_BAD_SHARE", "7"),
        ("DROPFIT_LEASE_SECONDS", "0"),
    ],
)
def test_a_malformed_variable_is_named(variable: str, value: str) -> None:
    with pytest.raises(SettingsError) as refused:
        settings.load({**ENOUGH, variable: value})
    assert variable in str(refused.value)


def test_every_field_has_a_variable_of_its_own_that_sets_it() -> None:
    strings = {f.name: settings.variable(f.name) for f in msgspec.structs.fields(Settings) if f.type is str}
    found = settings.load({variable: f"value of {field}" for field, variable in strings.items()})
    assert {field: getattr(found, field) for field in strings} == {field: f"value of {field}" for field in strings}
    assert len({settings.variable(f) for f in Settings.__struct_fields__}) == len(Settings.__struct_fields__)


def test_settings_cannot_be_changed_on_their_way_in() -> None:
    with pytest.raises(AttributeError):
        settings.load(ENOUGH).project = "other"  # type: ignore[misc]


def test_every_field_is_described() -> None:
    described = re.findall(r"^ {8}(\w+): ", Settings.__doc__ or "", re.MULTILINE)
    assert described == list(Settings.__struct_fields__)


def test_without_a_mapping_the_environment_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in ENOUGH.items():
        monkeypatch.setenv(name, value)
    assert settings.load() == settings.load(ENOUGH)


@pytest.fixture
def env_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """What `dropfit up` wrote, in a home of the test's own."""
    monkeypatch.setenv("DROPFIT_HOME", str(tmp_path))
    file = tmp_path / "env"
    file.write_text("".join(f"{name}='local {value}'\n" for name, value in ENOUGH.items()))
    return file


@pytest.mark.usefixtures("env_file")
def test_a_person_whose_environment_says_nothing_gets_the_local_cloud() -> None:
    assert settings.load_for_person().landing_bucket == "local l"


@pytest.mark.usefixtures("env_file")
def test_a_person_who_names_buckets_gets_those_and_nothing_of_the_local_cloud(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("DROPFIT_LANDING_BUCKET", "in the cloud")
    with pytest.raises(SettingsError, match="DROPFIT_DATA_BUCKET"):
        settings.load_for_person()
    for name, value in ENOUGH.items():
        monkeypatch.setenv(name, value)
    assert settings.load_for_person() == settings.load(ENOUGH)


@pytest.mark.usefixtures("env_file")
def test_the_local_clouds_settings_count_as_a_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GOOGLE_CLOUD_PROJECT", "somebodys-project")
    assert settings.load_for_person().project == "local p"


def test_without_a_local_cloud_a_person_is_told_what_to_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DROPFIT_HOME", str(tmp_path))
    with pytest.raises(SettingsError, match="dropfit up"):
        settings.load_for_person()


def test_the_local_clouds_home_is_beside_this_clones_pyproject_unless_told_otherwise(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert (settings.home().parent / "pyproject.toml").exists()
    monkeypatch.setenv("DROPFIT_HOME", "elsewhere")
    assert settings.home() == Path.cwd() / "elsewhere"
