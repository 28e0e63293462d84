# SPDX-License-Identifier: Apache-2.0
"""The APIs that a deployment needs are switched on, waited for, or named with the command for an owner."""

from __future__ import annotations

import pytest
from deploy_verbs import written
from google_api import Fault
from on_stage import Stage

from infra.deploy import apis


@pytest.mark.infra
def test_apis_that_nobody_here_may_switch_on_are_named_with_the_command_for_an_owner(stage: Stage) -> None:
    stage.google.off = {"cloudresourcemanager"}
    stage.google.denied = {"serviceusage.v1.services.enable"}
    told = stage.type("deploy", "--yes")
    assert told.code == 1
    assert "gcloud services enable cloudresourcemanager.googleapis.com" in told.text
    assert "storage.v1.buckets.insert" not in written(stage)


def test_a_single_api_is_switched_on_in_the_way_that_google_takes_for_one(stage: Stage) -> None:
    stage.google.off = {"iam"}
    told = stage.type("deploy", "--yes")
    assert told.code == 0, told.text
    assert written(stage)[0] == "serviceusage.v1.services.enable"
    assert stage.google.off == set()


BILLING = "https://cloudbilling.googleapis.com/v1/projects/acme-dev/billingInfo"


def test_with_a_budget_it_is_waited_until_google_says_who_pays(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(apis, "PAUSE", 0.01)
    (stage.infra / "dev.tfvars").write_text((stage.infra / "dev.tfvars").read_text() + "monthly_budget = 50\n")
    stage.google.off = {"cloudbilling"}
    stage.google.things[BILLING] = {"billingEnabled": True, "billingAccountName": "billingAccounts/1"}
    stage.google.faults["cloudbilling.v1.projects.getBillingInfo"] = [Fault(403, "disabled")] * 3
    told = stage.type("deploy", "--yes")
    assert told.code == 0, told.text
    assert "switching on cloudbilling.googleapis.com" in told.text
    assert stage.google.faults["cloudbilling.v1.projects.getBillingInfo"] == []
    asked = [h for call, h in zip(stage.google.calls, stage.google.headers, strict=True) if call.url == BILLING]
    assert len(asked) == 4
    assert {headers["x-goog-user-project"] for headers in asked} == {"acme-dev"}


@pytest.mark.infra
def test_without_a_budget_nobody_asks_who_pays(stage: Stage) -> None:
    stage.google.off = {"cloudbilling", "iam"}
    assert stage.type("deploy", "--yes").code == 0
    assert "cloudbilling" in stage.google.off
    assert BILLING not in [call.url for call in stage.google.calls]


@pytest.mark.infra
def test_an_api_that_answers_late_is_waited_for(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(apis, "PAUSE", 0.01)
    stage.google.off = {"cloudresourcemanager"}
    stage.google.faults["cloudresourcemanager.v3.projects.get"] = [Fault(403, "disabled")] * 3
    assert stage.type("deploy", "--yes").code == 0
