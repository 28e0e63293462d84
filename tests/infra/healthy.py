# SPDX-License-Identifier: Apache-2.0
"""A project in which all is well: everything is deployed, and delivers, answers and tells somebody."""

from __future__ import annotations

from typing import Any

from google_api import Google

from infra.deploy import dead_letter
from infra.deploy.checks_region import BUCKETS, SERVICES
from infra.deploy.environment import Environment

ENVIRONMENT = Environment(key="dev", project="acme-dev", region="europe-west1", alert_emails=("ada@acme.example",))
REGIONS = ("europe-north1", "europe-west1", "us-central1")
PUBSUB = "https://pubsub.googleapis.com/v1/projects/acme-dev"
RUN = "https://run.googleapis.com/v2/projects/acme-dev/locations/europe-west1"
PROJECT = "https://cloudresourcemanager.googleapis.com/v3/projects/acme-dev"
BILLING = "https://cloudbilling.googleapis.com/v1/projects/acme-dev/billingInfo"
ACCOUNT = "https://cloudbilling.googleapis.com/v1/billingAccounts/012345-6789AB-CDEF01"
QUOTAS = (
    "https://cloudquotas.googleapis.com/v1/projects/acme-dev/locations/global/services/run.googleapis.com/quotaInfos"
)
REGION = "https://compute.googleapis.com/compute/v1/projects/acme-dev/regions/europe-west1"
LOGS = "https://logging.googleapis.com/v2/projects/acme-dev/locations/europe-west1/buckets/dropfit"
DATASET = "https://bigquery.googleapis.com/bigquery/v2/projects/acme-dev/datasets/dropfit"
TRIGGER = "https://eventarc.googleapis.com/v1/projects/acme-dev/locations/europe-west1/triggers/dropfit-uploads"
OWN = f"{PUBSUB}/subscriptions/eventarc-europe-west1-dropfit-uploads-sub-123"
"""The subscription that the trigger made for itself."""
TOPIC = f"{PUBSUB}/topics/dropfit-dead-letters"
KEPT = f"{PUBSUB}/subscriptions/dropfit-dead-letters"
SCHEDULE = "https://cloudscheduler.googleapis.com/v1/projects/acme-dev/locations/europe-west1/jobs/dropfit-sweep"
SERIES = "https://monitoring.googleapis.com/v3/projects/acme-dev/timeSeries"
ALERTS = "https://monitoring.googleapis.com/v3/projects/acme-dev/alertPolicies"
AGENT = "serviceAccount:service-123456789012@gcp-sa-pubsub.iam.gserviceaccount.com"


def bucket(what: str) -> str:
    """Where a bucket is described."""
    return f"https://storage.googleapis.com/storage/v1/b/acme-dev-dropfit-{what}"


def empty() -> Google:
    """A new project with billing, in which every API is on and nothing is made."""
    google = Google()
    google.things[PROJECT] = {"name": "projects/123456789012", "projectId": "acme-dev", "state": "ACTIVE"}
    account = ACCOUNT.rpartition("v1/")[2]
    google.things[BILLING] = {"projectId": "acme-dev", "billingEnabled": True, "billingAccountName": account}
    places = [{"locationId": region} for region in REGIONS]
    for url in SERVICES.values():
        google.things[f"{url}/projects/acme-dev/locations"] = {"locations": places}
    for quota, value in (("CpuAllocPerProjectRegion", 20_000), ("MemAllocPerProjectRegion", 40 * 2**30)):
        entry = {"dimensions": {"region": "europe-west1"}, "details": {"value": str(value)}}
        other = {"dimensions": {"region": "us-central1"}, "details": {"value": "1"}}
        google.things[f"{QUOTAS}/{quota}"] = {"quotaId": quota, "dimensionsInfos": [other, entry]}
    limits = {"CPUS": 24, "N2_CPUS": 48, "INSTANCES": 24}
    quotas = [{"metric": metric, "limit": limit, "usage": 4} for metric, limit in limits.items()]
    google.things[REGION] = {"name": "europe-west1", "quotas": quotas}
    return google


def healthy() -> Google:
    """Everything deployed, and well."""
    google = empty()
    for what in BUCKETS:
        google.things[bucket(what)] = {"projectNumber": google.number, "location": "EUROPE-WEST1"}
    google.things[DATASET] = {"location": "europe-west1"}
    google.things[LOGS] = {"lifecycleState": "ACTIVE"}
    _delivers(google)
    _runs(google)
    return google


def newborn(google: Google) -> None:
    """The trigger's subscription as Eventarc makes it: with nothing about dead letters, and no rights on it."""
    for field in ("deadLetterPolicy", "retryPolicy"):
        google.things[OWN].pop(field, None)
    google.policies.pop(OWN, None)


def _delivers(google: Google) -> None:
    google.things[TRIGGER] = {
        "name": ENVIRONMENT.trigger,
        "eventFilters": [
            {"attribute": "type", "value": "google.cloud.storage.object.v1.finalized"},
            {"attribute": "bucket", "value": "acme-dev-dropfit-landing"},
        ],
        "destination": {"cloudRun": {"service": "dropfit-on-upload", "region": "europe-west1"}},
        "transport": {"pubsub": {"subscription": OWN.rpartition("v1/")[2], "topic": "projects/acme-dev/topics/t"}},
    }
    topic = TOPIC.rpartition("v1/")[2]
    google.things[TOPIC] = {"name": topic}
    google.things[OWN] = {
        "name": OWN.rpartition("v1/")[2],
        "topic": "projects/acme-dev/topics/t",
        "state": "ACTIVE",
        "deadLetterPolicy": {"deadLetterTopic": topic, "maxDeliveryAttempts": dead_letter.ATTEMPTS},
        "retryPolicy": dict(dead_letter.BACKOFF),
    }
    kept: dict[str, Any] = {"topic": topic, "messageRetentionDuration": "2678400s", "expirationPolicy": {}}
    google.things[KEPT] = {"name": KEPT.rpartition("v1/")[2], "state": "ACTIVE", **kept}
    google.policies[OWN] = {"etag": "a", "bindings": [{"role": "roles/pubsub.subscriber", "members": [AGENT]}]}
    google.policies[TOPIC] = {"etag": "b", "bindings": [{"role": "roles/pubsub.publisher", "members": [AGENT]}]}
    google.things[SERIES] = waiting(0)


def waiting(count: int) -> dict[str, Any]:
    """So many dead letters, as Cloud Monitoring tells it: the newest figure first."""
    points = [{"value": {"int64Value": str(one)}} for one in (count, 7)]
    return {"timeSeries": [{"metric": {"type": "pubsub.googleapis.com/..."}, "points": points}]}


def _runs(google: Google) -> None:
    ready = {"terminalCondition": {"type": "Ready", "state": "CONDITION_SUCCEEDED"}}
    callers = {"on-upload": AGENT, "predict": "group:shop@acme.example"}
    for name, ingress in (("on-upload", "INTERNAL_ONLY"), ("predict", "ALL")):
        google.things[f"{RUN}/services/dropfit-{name}"] = {**ready, "ingress": f"INGRESS_TRAFFIC_{ingress}"}
        invoker = {"role": "roles/run.invoker", "members": [callers[name]]}
        google.policies[f"{RUN}/services/dropfit-{name}"] = {"bindings": [invoker]}
    for name in ("retrain", "sweep"):
        last = {"name": f"dropfit-{name}-x1", "completionStatus": "EXECUTION_SUCCEEDED"}
        google.things[f"{RUN}/jobs/dropfit-{name}"] = {**ready, "latestCreatedExecution": last}
    google.things[SCHEDULE] = {
        "state": "ENABLED",
        "schedule": "*/15 * * * *",
        "lastAttemptTime": "2026-11-28T10:00:00Z",
    }
    alert = {"displayName": "Dropfit dev: dead letters", "enabled": True, "notificationChannels": ["projects/p/c/1"]}
    google.things[ALERTS] = {"alertPolicies": [alert, {"displayName": "somebody else's"}]}
