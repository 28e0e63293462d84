# SPDX-License-Identifier: Apache-2.0
"""What is kept of the logs, who reads it and what is billed are as was promised, unless asked otherwise."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from planning import VARIABLES, planned
from watched import Resource, named, passing

from dropfit.warehouse import TABLE

pytestmark = pytest.mark.infra


def test_a_budget_is_there_when_one_is_asked_for_and_only_then(infra: Path, resources: list[Resource]) -> None:
    (budget,) = named(resources, "google_billing_budget").values()
    assert budget["amount"][0]["specified_amount"][0]["units"] == "50"
    rules = [(rule["threshold_percent"], rule["spend_basis"]) for rule in budget["threshold_rules"]]
    assert rules == [(share, "CURRENT_SPEND") for share in (0.5, 0.9, 1)] + [(1, "FORECASTED_SPEND")]
    assert len(budget["all_updates_rule"][0]["monitoring_notification_channels"]) == 1
    assert len(budget["budget_filter"][0]["projects"]) == 1
    assert budget["budget_filter"][0]["calendar_period"] == "MONTH"
    many = planned(
        infra, VARIABLES | {"alert_emails": [f"{n}@acme.example" for n in range(6)], "monthly_budget": 12.5}
    )
    (other,) = named(many["planned_values"]["root_module"]["resources"], "google_billing_budget").values()
    assert len(other["all_updates_rule"][0]["monitoring_notification_channels"]) == 5, "Google takes no more"
    assert other["amount"][0]["specified_amount"][0] | {"currency_code": None} == {
        "currency_code": None,
        "units": "12",
        "nanos": 500_000_000,
    }
    without = planned(infra, VARIABLES | {"monthly_budget": None})
    assert named(without["planned_values"]["root_module"]["resources"], "google_billing_budget") == {}


def test_a_line_of_the_prediction_log_is_kept_once_where_bigquery_reads_it(resources: list[Resource]) -> None:
    (bucket,) = named(resources, "google_logging_project_bucket_config").values()
    assert (bucket["enable_analytics"], bucket["retention_days"], bucket["location"]) == (True, 30, "europe-west1")
    (sink,) = named(resources, "google_logging_project_sink").values()
    (exclusion,) = named(resources, "google_logging_project_exclusion").values()
    assert sink["filter"] == exclusion["filter"]
    assert {kind for kind, _ in passing(sink["filter"])} == {"prediction"}
    (linked,) = named(resources, "google_logging_linked_dataset").values()
    (job,) = [v for k, v in named(resources, "google_cloud_run_v2_job").items() if k == "retrain"]
    env = {e["name"]: e["value"] for e in job["template"][0]["template"][0]["containers"][0]["env"]}
    assert env["DROPFIT_LOG_TABLE"] == f"acme-dev.{linked['link_id']}._AllLogs"
    assert TABLE.match(env["DROPFIT_LOG_TABLE"])


def test_who_reads_the_log_is_the_job_and_the_operators_and_nobody_else(resources: list[Resource]) -> None:
    grants = named(resources, "google_bigquery_dataset_iam_member").values()
    readers = {(g["member"], g["role"]) for g in grants if g["dataset_id"] == "dropfit_logs"}
    members = {
        "serviceAccount:dropfit-retrain@acme-dev.iam.gserviceaccount.com",
        *VARIABLES["operators"],
    }
    assert readers == {(member, "roles/bigquery.dataViewer") for member in members}


def test_cloud_runs_own_entries_of_requests_are_kept_unless_asked_otherwise(infra: Path) -> None:
    def excluded(predict: dict[str, Any]) -> set[str]:
        found = planned(infra, VARIABLES | {"predict": predict})["planned_values"]["root_module"]["resources"]
        return {r["values"]["filter"] for r in found if r["type"] == "google_logging_project_exclusion"}

    assert len(excluded({})) == 1  # the prediction log, from the default bucket
    (requests,) = excluded({"request_log": False}) - excluded({})
    assert 'service_name="dropfit-predict"' in requests
    assert "httpRequest.status<500" in requests  # failures stay


def test_predict_is_billed_by_requests_unless_asked_otherwise(infra: Path) -> None:
    def idle(predict: dict[str, Any]) -> bool:
        found = planned(infra, VARIABLES | {"predict": predict})["planned_values"]["root_module"]["resources"]
        service = named(found, "google_cloud_run_v2_service")["predict"]
        return bool(service["template"][0]["containers"][0]["resources"][0]["cpu_idle"])

    assert idle({})
    assert not idle({"billing": "instances"})
    with pytest.raises(AssertionError, match=r"predict\.billing"):
        idle({"billing": "never"})


def test_the_log_is_kept_for_as_long_as_the_adopter_says(infra: Path) -> None:
    found = planned(infra, VARIABLES | {"log_retention_days": 90})["planned_values"]["root_module"]["resources"]
    (bucket,) = named(found, "google_logging_project_bucket_config").values()
    assert bucket["retention_days"] == 90


def test_a_log_that_forgets_before_its_requests_are_counted_is_refused(infra: Path) -> None:
    with pytest.raises(AssertionError, match="log_retention_days does not keep"):
        planned(infra, VARIABLES | {"log_retention_days": 7, "settings": {"frequency": "requests"}})
