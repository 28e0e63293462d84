# SPDX-License-Identifier: Apache-2.0
"""In which order things are made: whatever needs an API, a right or an agent of Google's waits for it."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from grants import Grant, grants
from planning import INFRA, copied, run_terraform

pytestmark = pytest.mark.infra
Resource = dict[str, Any]
Waits = dict[str, set[str]]

EDGE = re.compile(r'"([\w.]+)" -> "([\w.]+)"')
APIS = "google_project_service.apis"
RUNS = {
    "google_cloud_run_v2_service.on_upload": "on-upload",
    "google_cloud_run_v2_service.predict": "predict",
    "google_cloud_run_v2_job.retrain": "retrain",
    "google_cloud_run_v2_job.sweep": "sweep",
    "google_eventarc_trigger.uploads": "trigger",
    "google_cloud_scheduler_job.sweep": "scheduler",
}
"""What acts, and as which account."""
LATER = {"google_bigquery_dataset_iam_member.prediction_log"}
"""A right that is missed by nobody for some minutes: the job mends the log's view with every run."""


def graph(folder: Path) -> Waits:
    """Node -> every node that is made before it."""
    direct: Waits = {}
    for later, earlier in EDGE.findall(run_terraform(folder, "graph").stdout):
        direct.setdefault(later, set()).add(earlier)

    def before(node: str) -> set[str]:
        found: set[str] = set()
        left = [node]
        while left:
            new = direct.get(left.pop(), set()) - found
            found |= new
            left += new
        return found

    return {node: before(node) for node in direct}


@pytest.fixture(scope="module")
def waits(infra: Path) -> Waits:
    return graph(infra)


@pytest.fixture(scope="module")
def pipeline_waits(tmp_path_factory: pytest.TempPathFactory) -> Waits:
    return graph(copied(INFRA / "pipeline", tmp_path_factory.mktemp("graph") / "pipeline"))


def node(address: str) -> str:
    """An address without its index, as the graph has it."""
    return address.partition("[")[0]


def test_whatever_is_made_waits_for_its_api(waits: Waits, resources: list[Resource]) -> None:
    made = {node(r["address"]) for r in resources if r["mode"] == "managed"} - {APIS}
    assert len(made) > 30
    assert {one for one in made if APIS not in waits.get(one, set())} == set()


@pytest.mark.parametrize("runtime", RUNS)
def test_what_acts_waits_for_the_rights_that_it_acts_by(
    runtime: str, waits: Waits, resources: list[Resource]
) -> None:
    member = f"serviceAccount:dropfit-{RUNS[runtime]}@acme-dev.iam.gserviceaccount.com"
    own: list[Grant] = [grant for grant in grants(resources) if grant.member == member]
    needs = {node(grant.address) for grant in own} - LATER
    assert needs
    assert needs - waits[runtime] == set()


def test_an_address_is_told_once_somebody_may_call_it(plan: dict[str, Any]) -> None:
    outputs = plan["configuration"]["root_module"]["outputs"]
    for function in ("predict", "on_upload"):
        told = outputs[f"{function}_url"]["depends_on"]
        assert told == [f"google_cloud_run_v2_service_iam_member.{function}"]


def test_an_agent_of_googles_is_granted_something_once_google_has_made_it(waits: Waits) -> None:
    made_by = {
        "google_project_iam_member.storage_agent": "data.google_storage_project_service_account.this",
        "google_pubsub_topic_iam_member.dead_letters": "google_eventarc_trigger.uploads",
        "google_cloud_run_v2_service_iam_member.uptime": "google_monitoring_uptime_check_config.ready",
    }
    assert {right: maker for right, maker in made_by.items() if maker not in waits[right]} == {}


def test_the_trigger_waits_for_googles_agents_and_only_at_its_first_deployment(
    waits: Waits, resources: list[Resource]
) -> None:
    assert "terraform_data.service_agents" in waits["google_eventarc_trigger.uploads"]
    rights = {"google_project_iam_member.storage_agent", "google_project_iam_member.trigger"}
    assert rights <= waits["terraform_data.service_agents"], "it waits until these hold everywhere"
    (wait,) = [r for r in resources if r["type"] == "terraform_data"]
    assert wait["values"].get("triggers_replace") is None, "nothing ever replaces it, so it sleeps once"


def test_the_wait_is_as_long_as_rights_take(plan: dict[str, Any]) -> None:
    (wait,) = [r for r in plan["configuration"]["root_module"]["resources"] if r["type"] == "terraform_data"]
    (provisioner,) = wait["provisioners"]
    seconds = int(provisioner["expressions"]["command"]["constant_value"].removeprefix("sleep "))
    assert 120 <= seconds <= 420, "Google says two minutes, and seven at times"


def test_no_line_of_the_log_is_left_out_before_somebody_keeps_it(waits: Waits) -> None:
    assert "google_logging_project_sink.predictions" in waits["google_logging_project_exclusion.predictions"]


def test_the_first_build_waits_for_all_that_its_account_may(
    pipeline_waits: Waits, pipeline_plan: dict[str, Any]
) -> None:
    made = pipeline_plan["planned_values"]["root_module"]["resources"]
    rights = {node(r["address"]) for r in made if r["type"].endswith("_iam_member")}
    of_github = {"google_service_account_iam_member.deploy_federated"}
    assert rights - of_github - pipeline_waits["google_cloudbuild_trigger.builds"] == set()
    outputs = pipeline_plan["configuration"]["root_module"]["outputs"]
    assert outputs["workload_identity_provider"]["depends_on"] == sorted(of_github)
