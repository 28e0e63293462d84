# SPDX-License-Identifier: Apache-2.0
"""What holds of everything that is made: it is closed, protected and labelled."""

from __future__ import annotations

from typing import Any

import pytest
from planned_resources import Resource, bucket, named

from infra.deploy.holdings import DATA

pytestmark = pytest.mark.infra


def test_no_bucket_can_be_made_public(resources: list[Resource]) -> None:
    buckets = named(resources, "google_storage_bucket")
    assert {b["values"]["name"] for b in buckets} >= {bucket(w) for w in ("landing", "data", "models", "source")}
    for made in buckets:
        assert made["values"]["public_access_prevention"] == "enforced", made["address"]
        assert made["values"]["uniform_bucket_level_access"] is True, made["address"]


def test_what_can_be_protected_from_deletion_is(resources: list[Resource]) -> None:
    can = [resource for resource in resources if "deletion_protection" in resource["values"]]
    assert {r["values"]["name"] for r in can} >= {
        f"dropfit-{r}" for r in ("on-upload", "predict", "retrain", "sweep")
    }
    assert [r["address"] for r in can if r["values"]["deletion_protection"] is not True] == []
    kept = {r["address"] for r in resources if r["values"].get("deletion_policy") == "PREVENT"}
    assert kept == DATA, "`dropfit destroy` and Terraform hold the same for data"
    assert kept == {
        *(f"google_storage_bucket.{what}" for what in ("landing", "data", "models")),
        "google_bigquery_dataset.predictions",
        "google_logging_project_bucket_config.predictions",
    }


def test_everything_that_takes_labels_has_ours(plan: dict[str, Any], resources: list[Resource]) -> None:
    providers = plan["configuration"]["provider_config"]
    assert [name for name in providers if name not in ("google", "terraform")] == [], "each would need the labels"
    assert providers["google"]["expressions"]["default_labels"] == {"references": ["local.labels"]}
    # The provider's default labels do not reach these.
    beside = [r for r in resources if "user_labels" in r["values"]]
    ours = {"app": "dropfit", "environment": "dev", "deployment": "dropfit"}
    assert [r["address"] for r in beside if r["values"]["user_labels"] != ours] == []
