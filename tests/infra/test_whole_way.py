# SPDX-License-Identifier: Apache-2.0
"""The way that docs/deploy.md describes, with all of our own code: only Google and Terraform have stand-ins."""

from __future__ import annotations

import shutil
from pathlib import Path

from build_api import Google as Builds
from healthy import OWN, TOPIC, bucket, healthy, newborn
from on_stage import WANTED, Stage

ROOT = Path(__file__).parents[2]


def clone(folder: Path) -> Path:
    """As much of this repository as is bundled."""
    for place in ("functions", "beam_pipelines"):
        shutil.copytree(ROOT / place, folder / place, ignore=shutil.ignore_patterns("__pycache__"))
    for file in ("Dockerfile", "requirements/jobs.txt"):
        (folder / file).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / file, folder / file)
    (folder / "infra").mkdir()
    return folder


def test_from_an_empty_project_to_one_in_which_all_is_well_and_back(stage: Stage, tmp_path: Path) -> None:
    google, builds = healthy(), Builds()
    newborn(google)
    del google.things[bucket("state")]
    stage.whole(google, builds, clone(tmp_path / "clone"))

    told = stage.type("deploy", "dev", keyboard="y\n")
    assert told.code == 0, told.text
    assert set(stage.terraform.state) == set(WANTED)
    images = {image.partition(":")[0] for image in builds.bodies}
    assert images == {"on-upload", "predict", "job"}
    assert google.things[OWN]["deadLetterPolicy"]["deadLetterTopic"] == TOPIC.rpartition("v1/")[2]

    google.things[
        "https://storage.googleapis.com/storage/v1/b/acme-dev-dropfit-state/o/dropfit%2Fdefault.tfstate"
    ] = {}
    told = stage.type("doctor", "dev")
    assert told.code == 0, told.text
    stage.filled()
    told = stage.type("destroy", "dev", keyboard="acme-dev\n")
    assert told.code == 0, told.text
