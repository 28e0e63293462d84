# SPDX-License-Identifier: Apache-2.0
"""A deployment that broke off, met a fault that passes, or left something unready goes on with the same command."""

from __future__ import annotations

import pytest
from deploy_verbs import written
from on_stage import WANTED, Stage

from infra.deploy import deploy


def test_after_a_stage_broke_off_the_same_command_goes_on(stage: Stage) -> None:
    stage.terraform.tell(breaks={"apply": [], "plan": []})
    stage.on_images(lambda: _build_fails())
    told = stage.type("deploy", "--yes")
    assert told.code == 1
    assert "images, after" in told.text
    assert "`dropfit deploy dev` goes on from here" in told.text
    done = set(stage.terraform.state)
    assert done
    stage.on_images(lambda: None)
    told = stage.type("deploy", "--yes")
    assert told.code == 0, told.text
    assert "foundation" not in told.text
    assert set(stage.terraform.state) == set(WANTED) > done


def _build_fails() -> None:
    from dropfit.errors import DeployError

    raise DeployError("the image did not build: see https://its.log")


def test_an_apply_that_broke_off_half_way_is_gone_on_with(stage: Stage) -> None:
    stage.terraform.tell(breaks={"apply": ["Quota exceeded for quota metric 'CPU'"]})
    told = stage.type("deploy", "--yes")
    assert told.code == 1
    assert "Quota exceeded" in told.text
    assert "`dropfit doctor dev` shows which" in told.text
    half = set(stage.terraform.state)
    assert set(WANTED) > half != set()
    assert stage.type("deploy", "--yes").code == 0
    assert set(stage.terraform.state) == set(WANTED)


@pytest.mark.infra
@pytest.mark.parametrize(
    "says",
    [
        "Permission denied while using the Eventarc Service Agent",
        "Error 403: Cloud Run Admin API has not been used in project 1 before or it is disabled",
    ],
)
def test_what_google_has_not_yet_heard_of_everywhere_is_tried_again(stage: Stage, says: str) -> None:
    stage.terraform.tell(breaks={"apply": [says] * (deploy.TRIES - 1)})
    told = stage.type("deploy", "--yes")
    assert told.code == 0, told.text
    assert "Once more in" in told.text
    assert set(stage.terraform.state) == set(WANTED)


@pytest.mark.parametrize("first", [True, False], ids=["named first", "named last"])
def test_one_error_that_passes_is_enough_wherever_it_stands(stage: Stage, first: bool) -> None:
    errors = ["Error 404: Cannot find metric(s) that match type", "googleapi: Error 400: this will never do"]
    stage.terraform.tell(breaks={"apply": [errors if first else errors[::-1]]})
    told = stage.type("deploy", "--yes")
    assert told.code == 0, told.text
    assert "Once more in" in told.text


@pytest.mark.infra
def test_it_is_not_tried_again_for_ever(stage: Stage) -> None:
    stage.terraform.tell(breaks={"apply": ["Permission denied while using the Eventarc Service Agent"] * 99})
    told = stage.type("deploy", "--yes")
    assert told.code == 1
    assert stage.terraform.verbs.count("apply") == deploy.TRIES


PREDICT, RETRAIN = "google_cloud_run_v2_service.predict", "google_cloud_run_v2_job.retrain"


def test_what_did_not_become_ready_is_made_anew_in_the_same_run_without_another_question(stage: Stage) -> None:
    stage.terraform.tell(stillborn=[PREDICT, RETRAIN])
    told = stage.type("deploy", keyboard="y\n")
    assert told.code == 0, told.text
    assert f"never became ready, and may be made anew: {RETRAIN}, {PREDICT}" in told.text
    assert stage.terraform.state == WANTED
    assert stage.terraform.world["tainted"] == []


@pytest.mark.infra
def test_what_did_not_become_ready_yesterday_is_made_anew_and_the_rest_stays_protected(stage: Stage) -> None:
    stage.deployed()
    stage.terraform.tell(tainted=[RETRAIN])
    states = []
    stage.on_images(lambda: states.append(stage.terraform.state))
    told = stage.type("deploy", keyboard="y\n")
    assert told.code == 0, told.text
    assert f"made anew: {RETRAIN}\n" in told.text
    assert "0 to add, 0 to change, 1 to replace, 0 to destroy" in told.text
    assert states == [WANTED | {RETRAIN: {"deletion_protection": False}}]
    assert stage.terraform.state == WANTED


@pytest.mark.infra
def test_only_what_runs_is_released_when_it_is_tainted(stage: Stage) -> None:
    stage.deployed()
    stage.terraform.tell(tainted=["google_storage_bucket.models"])
    told = stage.type("deploy", "--yes")
    assert told.code == 1
    assert "cannot destroy google_storage_bucket.models" in told.text
    assert stage.terraform.state == WANTED


def test_a_plan_tells_of_what_did_not_become_ready_and_writes_nothing(stage: Stage) -> None:
    stage.deployed()
    stage.terraform.tell(tainted=[PREDICT])
    told = stage.type("deploy", "--plan")
    assert (told.code, written(stage)) == (0, [])
    assert f"{PREDICT} never became ready: `dropfit deploy` takes its protection off" in told.text
    assert stage.terraform.state == WANTED
    assert "state push" not in stage.terraform.verbs
