# SPDX-License-Identifier: Apache-2.0
"""The bucket of Terraform's state: made safe, and nobody else's taken for ours."""

from __future__ import annotations

from typing import Any

import pytest
from google_api import Fault
from on_stage import STORAGE, Stage

pytestmark = pytest.mark.infra  # they start many processes: `make test` has no time for them
BUCKET = f"{STORAGE}/b/acme-dev-dropfit-state"


def test_it_is_made_private_versioned_and_in_the_region(stage: Stage) -> None:
    assert stage.type("deploy", "--yes").code == 0
    made = stage.google.things[BUCKET]
    assert made["location"] == "europe-west1"
    assert made["versioning"] == {"enabled": True}
    assert made["iamConfiguration"] == {
        "uniformBucketLevelAccess": {"enabled": True},
        "publicAccessPrevention": "enforced",
    }
    assert int(made["softDeletePolicy"]["retentionDurationSeconds"]) >= 7 * 86_400
    assert made["labels"] == {"app": "dropfit", "environment": "dev", "deployment": "dropfit"}
    assert all(rule["condition"]["isLive"] is False for rule in made["lifecycle"]["rule"])


def test_it_is_made_in_the_deployments_own_project(stage: Stage) -> None:
    stage.type("deploy", "--yes")
    inserts = [call for call in stage.google.calls if call.id == "storage.v1.buckets.insert"]
    assert [call.query["project"] for call in inserts] == ["acme-dev"]


def test_one_that_is_there_is_used_as_it_is(stage: Stage) -> None:
    stage.bucket()
    told = stage.type("deploy", "--yes")
    assert "gs://acme-dev-dropfit-state is there" in told.text
    assert "less than it should" not in told.text
    assert [call.id for call in stage.google.written() if call.id.startswith("storage.")] == []


@pytest.mark.parametrize(
    ("more", "says"),
    [
        ({"versioning": {"enabled": False}}, "no versioning"),
        ({"iamConfiguration": {"publicAccessPrevention": "inherited"}}, "public access is not prevented"),
        ({"iamConfiguration": {"publicAccessPrevention": "enforced"}}, "access by object lists"),
        ({"softDeletePolicy": {"retentionDurationSeconds": "0"}}, "no soft delete"),
        ({"location": "US"}, "it lies in US"),
    ],
)
def test_one_that_protects_less_is_told_with_the_command_and_not_changed(
    stage: Stage, more: dict[str, Any], says: str
) -> None:
    stage.bucket(**more)
    told = stage.type("deploy", "--yes")
    assert told.code == 0
    assert says in told.text
    assert "gcloud storage buckets update gs://acme-dev-dropfit-state --versioning" in told.text
    assert [call.id for call in stage.google.written() if call.id.startswith("storage.")] == []


@pytest.mark.parametrize("words", [("deploy", "--yes"), ("deploy", "--plan"), ("destroy", "--yes")])
def test_one_of_another_project_is_not_touched(stage: Stage, words: tuple[str, ...]) -> None:
    stage.bucket(projectNumber="999999999999")
    stage.google.things[f"{BUCKET}/o/dropfit%2Fdefault.tfstate"] = {"size": "1"}
    told = stage.type(*words)
    assert told.code == 1
    assert "belongs to another project than acme-dev" in told.text
    assert "set another `name`" in told.text
    assert "init" not in stage.terraform.verbs


def test_one_that_may_not_be_read_is_somebody_elses(stage: Stage) -> None:
    stage.google.denied = {"storage.v1.buckets.get"}
    told = stage.type("deploy", "--yes")
    assert told.code == 1
    assert "not for you to read" in told.text
    assert "storage.v1.buckets.insert" not in [call.id for call in stage.google.written()]


def test_one_whose_making_was_answered_by_a_break_is_taken_for_made(stage: Stage) -> None:
    make = stage.google.on["storage.v1.buckets.insert"]

    def answer_is_lost(call: Any) -> dict[str, Any]:
        make(call)
        raise Fault(503, "try again")

    stage.google.on["storage.v1.buckets.insert"] = lambda call: (
        make(call) if BUCKET in stage.google.things else answer_is_lost(call)
    )
    assert stage.type("deploy", "--yes").code == 0


def test_one_that_may_not_be_made_stops_it_with_googles_reason(stage: Stage) -> None:
    stage.google.denied = {"storage.v1.buckets.insert"}
    told = stage.type("deploy", "--yes")
    assert told.code == 1
    assert "bucket of Terraform's state, after" in told.text
    assert "Permission denied" in told.text
