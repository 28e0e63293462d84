# SPDX-License-Identifier: Apache-2.0
"""What holds of everything that is made: it is closed, protected, labelled, and waits for its API."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from planned_resources import Resource, bucket, named
from planning import run_terraform

pytestmark = pytest.mark.infra


def test_no_bucket_can_be_made_public(resources: list[Resource]) -> None:
    buckets = named(resources, "google_storage_bucket")
    assert {b["values"]["name"] for b in buckets} >= {
        bucket(w) for w in ("landing", "data", "models", "source", "logs")
    }
    for made in buckets:
        assert made["values"]["public_access_prevention"] == "enforced", made["address"]
        assert made["values"]["uniform_bucket_level_access"] is True, made["address"]


def test_what_can_be_protected_from_deletion_is(resources: list[Resource]) -> None:
    can = [resource for resource in resources if "deletion_protection" in resource["values"]]
    assert {r["values"]["name"] for r in can} >= {
        f"dropfit-{r}" for r in ("on-upload", "predict", "retrain", "sweep")
    }
    assert [r["address"] for r in can if r["values"]["deletion_protection"] is not True] == []
    holders = {bucket("landing"), bucket("data"), bucket("models"), "dropfit"}
    data = [r for r in resources if r["values"].get("name", r["values"].get("dataset_id")) in holders]
    kept = {r["address"] for r in data if r["values"].get("deletion_policy") == "PREVENT"}
    assert kept >= {f"google_storage_bucket.{what}" for what in ("landing", "data", "models")}
    assert "google_bigquery_dataset.predictions" in kept


def test_everything_that_takes_labels_has_ours(plan: dict[str, Any], resources: list[Resource]) -> None:
    providers = plan["configuration"]["provider_config"]
    assert [name for name in providers if name not in ("google", "terraform")] == [], "each would need the labels"
    assert providers["google"]["expressions"]["default_labels"] == {"references": ["local.labels"]}
    # The provider's default labels do not reach these.
    beside = [r for r in resources if "user_labels" in r["values"]]
    assert [r["address"] for r in beside if (r["values"]["user_labels"] or {}).get("app") != "dropfit"] == []


# In which order

EDGE = re.compile(r'"([\w.]+)" -> "([\w.]+)"')
APIS = "google_project_service.apis"


def test_whatever_is_made_waits_for_its_api(infra: Path, resources: list[Resource]) -> None:
    waits: dict[str, set[str]] = {}
    for later, earlier in EDGE.findall(run_terraform(infra, "graph").stdout):
        waits.setdefault(later, set()).add(earlier)

    def reaches(node: str) -> bool:
        return node == APIS or any(reaches(before) for before in waits.get(node, ()))

    made = {f"{r['type']}.{r['name']}" for r in resources if r["mode"] == "managed"}
    assert len(made) > 30
    assert {node for node in made if not reaches(node)} == set()


def test_the_trigger_waits_for_googles_agents_and_only_at_its_first_deployment(
    infra: Path, resources: list[Resource]
) -> None:
    edges = EDGE.findall(run_terraform(infra, "graph").stdout)
    assert ("google_eventarc_trigger.uploads", "terraform_data.service_agents") in edges
    (wait,) = named(resources, "terraform_data")
    assert wait["values"].get("triggers_replace") is None, "nothing ever replaces it, so it sleeps once"
