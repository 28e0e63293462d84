# SPDX-License-Identifier: Apache-2.0
"""A version says which code made it: by the commit, or, in an image without git, by the image's tag."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from beam_pipelines import steps
from dropfit import cli_models
from dropfit.settings import Settings

IMAGE = "europe-west1-docker.pkg.dev/acme-dev/dropfit/job:0123456789abcdef"


def settings(image: str) -> Settings:
    return Settings(project="p", landing_bucket="l", data_bucket="d", models_bucket="m", worker_image=image)


def test_in_a_repository_it_is_the_commit() -> None:
    assert re.fullmatch("[0-9a-f]{40}", steps.revision(settings(IMAGE)))


def test_in_the_image_it_is_the_tag(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert steps.revision(settings(IMAGE)) == "job:0123456789abcdef"
    assert steps.revision(settings("")) == ""


def test_people_are_told_how_to_come_from_a_tag_to_the_commit() -> None:
    assert "--find job:0123456789abcdef" in cli_models._where("job:0123456789abcdef")
    assert "--find" not in cli_models._where("0" * 40)
