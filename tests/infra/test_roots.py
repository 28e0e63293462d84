# SPDX-License-Identifier: Apache-2.0
"""Both roots of Terraform: where their state lies, what makes their resources, which APIs they switch on."""

from __future__ import annotations

from typing import Any

import pytest
from planning import INFRA

from infra.deploy import tfvars
from infra.deploy.terraform import PREFIX

API_OF = {
    "google_artifact_registry_": {"artifactregistry"},
    "google_bigquery_": {"bigquery"},
    "google_billing_": {"billingbudgets", "cloudbilling"},
    "google_cloud_run_": {"run", "cloudbuild"},  # what runs is built
    "google_cloud_scheduler_": {"cloudscheduler"},
    "google_cloudbuild": {"cloudbuild"},
    "google_compute_": {"compute", "dataflow"},
    "google_eventarc_": {"eventarc"},
    "google_iam_workload_": {"iam", "iamcredentials", "sts"},
    "google_logging_": {"logging"},
    "google_monitoring_": {"monitoring"},
    "google_project_iam_": {"cloudresourcemanager"},
    "google_project_service": {"serviceusage"},
    "google_pubsub_": {"pubsub"},
    "google_service_account": {"iam"},
    "google_storage_": {"storage"},
    "terraform_data": set(),
}
"""What a resource's type begins with -> what Google needs switched on for it."""
ROOTS = {"infra": INFRA, "pipeline": INFRA / "pipeline"}


@pytest.fixture
def plans(plan: dict[str, Any], pipeline_plan: dict[str, Any]) -> dict[str, dict[str, Any]]:
    return {"infra": plan, "pipeline": pipeline_plan}


def block(root: str) -> dict[str, Any]:
    """`terraform { ... }` of a root."""
    (said,) = tfvars.parsed(ROOTS[root] / "versions.tf")["terraform"]
    return dict(said)


def test_their_states_lie_in_a_bucket_and_not_over_each_other() -> None:
    kept = {root: {kind.strip('"'): body for kind, body in block(root)["backend"][0].items()} for root in ROOTS}
    assert set(kept["infra"]) == set(kept["pipeline"]) == {"gcs"}
    assert not kept["infra"]["gcs"].get("prefix"), "`terraform init` is told"
    assert kept["pipeline"]["gcs"]["prefix"].strip('"') not in ("", PREFIX)


@pytest.mark.parametrize("root", ROOTS)
def test_what_makes_it_is_of_a_version_that_is_known(root: str) -> None:
    said = block(root)
    assert said["required_version"].strip('"') == ">= 1.11"
    (providers,) = said["required_providers"]
    assert set(providers) == {"google"}
    assert {
        name: value.strip('"') for name, value in providers["google"].items() if name in ("source", "version")
    } == {
        "source": "hashicorp/google",
        "version": "~> 8.0",
    }


@pytest.mark.infra
@pytest.mark.parametrize("root", ROOTS)
def test_everything_is_labelled_and_billed_to_its_own_project(root: str, plans: dict[str, Any]) -> None:
    said = plans[root]["configuration"]["provider_config"]["google"]["expressions"]
    assert said["default_labels"] == {"references": ["local.labels"]}
    assert said["billing_project"] == {"references": ["var.project"]}
    assert said["user_project_override"] == {"constant_value": True}


@pytest.mark.infra
@pytest.mark.parametrize("root", ROOTS)
def test_every_api_that_a_resource_needs_is_switched_on_and_stays_so(root: str, plans: dict[str, Any]) -> None:
    made = plans[root]["planned_values"]["root_module"]["resources"]
    services = [r["values"] for r in made if r["type"] == "google_project_service"]
    on = {service["service"].removesuffix(".googleapis.com") for service in services}
    needed = set()
    for kind in {r["type"] for r in made}:
        known = [start for start in API_OF if kind.startswith(start)]
        assert known, f"{kind}: which API makes it?"
        needed |= API_OF[max(known, key=len)]
    assert needed - on == set()
    assert [service["service"] for service in services if service["disable_on_destroy"]] == []


@pytest.mark.parametrize("name", ["dev", "prod"])
def test_the_tfvars_that_come_with_it_are_careful(name: str) -> None:
    """As they come: what is somebody's own says what they want."""
    values, _ = tfvars.said(INFRA / f"{name}.tfvars", tfvars.declared(INFRA / "variables.tf"))
    if not str(values["project"]).startswith("your-project"):
        return
    assert values["environment"] == name
    assert not values.get("predict_public")
    assert all(values[people] in ([], ()) for people in ("operators", "uploaders", "invokers", "analysts"))
    if name == "prod":
        assert values["settings"] == {"publish": "hold"}, "a person approves what users get"
        assert values["predict"]["min_instances"] == 1, "no user waits for a cold start"
    else:
        assert not values.get("predict"), "dev costs nothing while nobody calls"
