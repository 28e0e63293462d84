# SPDX-License-Identifier: Apache-2.0
"""infra/pipeline/: the accounts that redeploy can do what infra/ takes, and no more."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from planning import copied, planned

from infra.deploy.environment import Environment
from infra.deploy.needed import NEEDED, NEEDED_FOR_DATAFLOW

pytestmark = pytest.mark.infra

ROOT = Path(__file__).parents[2]
PIPELINE = ROOT / "infra" / "pipeline"
VARIABLES = {
    "project": "acme-dev",
    "region": "europe-west1",
    "environment": "dev",
    "github_repository": "acme/late-flights",
    "github_repository_id": "123456",
    "connection": "acme-github",
    "github_actions": True,
    "dataflow": True,
}
MAKES = {
    "google_artifact_registry_": "roles/artifactregistry.admin",
    "google_bigquery_dataset": "roles/bigquery.dataOwner",
    "google_billing_budget": None,
    "google_cloud_run_v2_": "roles/run.admin",
    "google_cloud_scheduler_": "roles/cloudscheduler.admin",
    "google_compute_": "roles/compute.networkAdmin",
    "google_compute_firewall": "roles/compute.securityAdmin",
    "google_eventarc_": "roles/eventarc.admin",
    "google_logging_": "roles/logging.configWriter",
    "google_monitoring_alert_policy": "roles/monitoring.alertPolicyEditor",
    "google_monitoring_dashboard": "roles/monitoring.dashboardEditor",
    "google_monitoring_notification_channel": "roles/monitoring.notificationChannelEditor",
    "google_monitoring_uptime_check_config": "roles/monitoring.uptimeCheckConfigEditor",
    "google_project_iam_member": "roles/resourcemanager.projectIamAdmin",
    "google_project_service": "roles/serviceusage.serviceUsageAdmin",
    "google_pubsub_": "roles/pubsub.admin",
    "google_service_account": "roles/iam.serviceAccountAdmin",
    "google_storage_": "roles/storage.admin",
    "terraform_data": None,
}
"""What a resource's type begins with -> the role that makes it. A budget is made on the billing account."""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return copied(PIPELINE, tmp_path_factory.mktemp("pipeline") / "pipeline")


@pytest.fixture(scope="module")
def document(folder: Path) -> dict[str, Any]:
    """The pipeline's plan."""
    return planned(folder, VARIABLES)


@pytest.fixture(scope="module")
def pipeline(document: dict[str, Any]) -> list[dict[str, Any]]:
    """Every resource of it."""
    return list(document["planned_values"]["root_module"]["resources"])


def roles(pipeline: list[dict[str, Any]], *names: str) -> set[str]:
    """The project roles that the resources of these names grant."""
    members = [r for r in pipeline if r["type"] == "google_project_iam_member" and r["name"] in names]
    return {member["values"]["role"] for member in members}


def test_the_deployer_can_make_each_kind_of_resource(
    pipeline: list[dict[str, Any]], resources: list[dict[str, Any]]
) -> None:
    given, lacking = roles(pipeline, "deploy", "deploy_grants"), set()
    for kind in {resource["type"] for resource in resources}:
        known = [start for start in MAKES if kind.startswith(start)]
        role = MAKES[max(known, key=len)] if known else "a role that nobody has thought of"
        if role is not None and role not in given:
            lacking.add((kind, role))
    assert lacking == set()


BESIDES = {
    "roles/bigquery.jobUser",  # the smoke test's rollback mends the view
    "roles/cloudbuild.builds.editor",  # has images built
    "roles/iam.serviceAccountUser",  # gives functions and jobs their accounts
    "roles/run.invoker",  # the smoke test calls predict
}
"""What the deployer does beside making resources."""


def test_the_deployer_has_no_role_that_nothing_needs(pipeline: list[dict[str, Any]]) -> None:
    assert roles(pipeline, "deploy", "deploy_grants") == BESIDES | {role for role in MAKES.values() if role}
    on_accounts = [r for r in pipeline if r["type"] == "google_service_account_iam_member"]
    assert {(r["name"], r["values"]["role"]) for r in on_accounts} == {
        ("deploy_identity", "roles/iam.serviceAccountOpenIdTokenCreator"),
        ("deploy_federated", "roles/iam.workloadIdentityUser"),
    }


READS = re.compile(r"([vV]iewer|[rR]eader|Reviewer|roles/serviceusage\.serviceUsageConsumer)$")


def test_the_account_of_pull_requests_changes_nothing(pipeline: list[dict[str, Any]]) -> None:
    given = roles(pipeline, "plan", "plan_source")
    assert len(given) > 10
    assert {role for role in given if not READS.search(role)} == set()
    on_project = [r for r in pipeline if r["type"] == "google_project_iam_member"]
    whole = {r["values"]["role"] for r in on_project if r["name"] == "plan"}
    assert not {role for role in whole if re.search(r"\.(object|data|secret)", role)}, "nobody's data"
    (state,) = [r["values"]["role"] for r in pipeline if r["name"] == "plan_state"]
    assert state == "roles/storage.objectViewer"


def test_each_right_is_that_accounts_which_it_is_named_for(document: dict[str, Any]) -> None:
    """Their members are known when they are made: the configuration says whose they are."""
    named, lent = {}, {}
    for resource in document["configuration"]["root_module"]["resources"]:
        if resource["type"].endswith("_iam_member"):
            expressions = resource["expressions"]
            for into, field in ((named, "member"), (lent, "service_account_id")):
                found = re.findall(r'builders\["(\w+)"\]', str(expressions.get(field)))
                into |= {resource["name"]: set(found)} if found else {}
    assert named == {name: {name.partition("_")[0]} for name in named}
    assert set(named) == {"deploy", "deploy_grants", "deploy_identity", "plan", "plan_source", "plan_state"}
    assert lent == {"deploy_identity": {"deploy"}, "deploy_federated": {"deploy"}}
    (logs,) = [
        resource["expressions"]
        for resource in document["configuration"]["root_module"]["resources"]
        if resource["address"] == "google_storage_bucket_iam_member.build_logs"
    ]
    for field in ("bucket", "member"):
        assert "each.value.action" in logs[field]["references"], "a build writes its own log"


def test_documents_alone_are_left_out_of_what_builds(pipeline: list[dict[str, Any]]) -> None:
    from test_workflows import FLOWS, ON

    ignored = [trigger["ignored_files"] for trigger in triggered(pipeline)]
    assert ignored == [["docs/**", "*.md"]] * 2
    assert FLOWS["deploy"][ON]["push"]["paths-ignore"] == ignored[0]


def test_the_deployer_has_the_roles_that_doctor_asks_for(pipeline: list[dict[str, Any]]) -> None:
    lacking = {*NEEDED, *NEEDED_FOR_DATAFLOW} - roles(pipeline, "deploy", "deploy_grants")
    assert lacking <= {"roles/monitoring.editor"}  # of which the deployer has the four parts that it uses


def test_it_may_grant_on_the_project_what_infra_grants_there(
    pipeline: list[dict[str, Any]], resources: list[dict[str, Any]]
) -> None:
    grants = next(r for r in pipeline if r["name"] == "deploy_grants")
    condition = grants["values"]["condition"][0]["expression"]
    granted = {r["values"]["role"] for r in resources if r["type"] == "google_project_iam_member"}
    assert {role for role in granted if f'"{role}"' not in condition} == set()


def test_there_is_no_key_no_basic_role_and_nobody_public(pipeline: list[dict[str, Any]]) -> None:
    assert not [r["address"] for r in pipeline if "key" in r["type"]]
    text = str(pipeline)
    for wrong in ("roles/owner", "roles/editor", "'roles/viewer'", "allUsers", "allAuthenticatedUsers"):
        assert wrong not in text


def test_names_are_those_that_cloudbuild_and_the_commands_make(pipeline: list[dict[str, Any]]) -> None:
    environment = Environment(key="dev", project="acme-dev", region="europe-west1")
    accounts = {r["values"]["account_id"] for r in pipeline if r["type"] == "google_service_account"}
    assert {f"{name}@acme-dev.iam.gserviceaccount.com" for name in accounts} == {
        environment.account(action) for action in ("plan", "deploy")
    }
    logs = {r["values"]["name"] for r in pipeline if r["type"] == "google_storage_bucket"}
    assert logs == {environment.bucket(f"{action}-logs") for action in ("plan", "deploy")}
    state = next(r for r in pipeline if r["name"] == "plan_state")
    assert state["values"]["bucket"] == environment.bucket("state")


def test_a_trigger_builds_as_the_account_and_into_the_bucket_that_cloudbuild_names(
    pipeline: list[dict[str, Any]],
) -> None:
    """Pull requests run the code of strangers: their account only reads."""
    from build_steps import BUILD, filled

    triggers = {t["substitutions"]["_ACTION"]: t for t in triggered(pipeline)}
    events = {action: t["repository_event_config"][0] for action, t in triggers.items()}
    assert {action: (bool(e["push"]), bool(e["pull_request"])) for action, e in events.items()} == {
        "deploy": (True, False),
        "plan": (False, True),
    }
    buckets = {r["values"]["name"] for r in pipeline if r["type"] == "google_storage_bucket"}
    accounts = {r["values"]["account_id"] for r in pipeline if r["type"] == "google_service_account"}
    for action, trigger in triggers.items():
        known = trigger["substitutions"] | {"PROJECT_ID": "acme-dev"}
        assert trigger["service_account"] == filled(BUILD["serviceAccount"], known)
        account = trigger["service_account"].removeprefix("projects/acme-dev/serviceAccounts/")
        assert account == f"dropfit-{action}@acme-dev.iam.gserviceaccount.com"
        assert account.partition("@")[0] in accounts
        assert filled(BUILD["logsBucket"], known).removeprefix("gs://") in buckets


def triggered(pipeline: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Cloud Build's triggers."""
    return [r["values"] for r in pipeline if r["type"] == "google_cloudbuild_trigger"]


def test_its_triggers_set_what_cloudbuild_takes(pipeline: list[dict[str, Any]]) -> None:
    from build_steps import BUILD

    triggers = triggered(pipeline)
    assert len(triggers) == 2
    for trigger in triggers:
        assert set(trigger["substitutions"]) == set(BUILD["substitutions"])
        assert (ROOT / trigger["filename"]).is_file()
