# SPDX-License-Identifier: Apache-2.0
"""What deploying needs of a project: which APIs, and which permissions by the role that has them."""

from __future__ import annotations

import re

from .environment import INFRA, Environment

ALWAYS = tuple(f"{api}.googleapis.com" for api in ("cloudresourcemanager", "iam", "serviceusage", "storage"))
BILLING = "cloudbilling.googleapis.com"

NEEDED = {
    "roles/serviceusage.serviceUsageAdmin": ["serviceusage.services.enable", "serviceusage.services.use"],
    "roles/resourcemanager.projectIamAdmin": ["resourcemanager.projects.setIamPolicy"],
    "roles/iam.serviceAccountAdmin": ["iam.serviceAccounts.create", "iam.serviceAccounts.setIamPolicy"],
    "roles/iam.serviceAccountUser": ["iam.serviceAccounts.actAs"],
    "roles/storage.admin": ["storage.buckets.create", "storage.buckets.setIamPolicy", "storage.objects.create"],
    "roles/artifactregistry.admin": [
        "artifactregistry.repositories.create",
        "artifactregistry.repositories.setIamPolicy",
    ],
    "roles/cloudbuild.builds.editor": ["cloudbuild.builds.create", "cloudbuild.builds.get"],
    "roles/run.admin": [
        "run.services.create",
        "run.services.setIamPolicy",
        "run.jobs.create",
        "run.jobs.setIamPolicy",
    ],
    "roles/eventarc.admin": ["eventarc.triggers.create"],
    "roles/pubsub.admin": [
        "pubsub.topics.create",
        "pubsub.topics.setIamPolicy",
        "pubsub.subscriptions.create",
        "pubsub.subscriptions.update",
        "pubsub.subscriptions.setIamPolicy",
    ],
    "roles/bigquery.dataOwner": ["bigquery.datasets.create", "bigquery.datasets.update"],
    "roles/cloudscheduler.admin": ["cloudscheduler.jobs.create"],
    "roles/logging.configWriter": [
        "logging.buckets.create",
        "logging.buckets.get",
        "logging.links.create",
        "logging.sinks.create",
    ],
    "roles/monitoring.editor": [
        "monitoring.alertPolicies.create",
        "monitoring.dashboards.create",
        "monitoring.notificationChannels.create",
        "monitoring.uptimeCheckConfigs.create",
    ],
}
"""Role -> what of it deploying needs. The role is the smallest of Google's own that has all of it."""
NEEDED_FOR_DATAFLOW = {
    "roles/compute.networkAdmin": ["compute.networks.create", "compute.subnetworks.create"],
    "roles/compute.securityAdmin": ["compute.firewalls.create"],
}


def first(environment: Environment) -> tuple[str, ...]:
    """The APIs without which Terraform cannot plan; a budget's plan names the account that pays."""
    return ALWAYS if environment.monthly_budget is None else (*ALWAYS, BILLING)


def services(environment: Environment) -> list[str]:
    """The APIs that a deployment needs: those of apis.tf, which switches them on, and those that come before it."""
    file = INFRA / "apis.tf"
    text = re.sub(r"#.*", "", file.read_text()) if file.is_file() else ""
    named = set(re.findall(r"\b[a-z]+\.googleapis\.com", text))
    unused = set() if environment.dataflow else {"compute.googleapis.com", "dataflow.googleapis.com"}
    unused |= {"billingbudgets.googleapis.com"} if environment.monthly_budget is None else set()
    return sorted({*named, *first(environment)} - unused)


def permissions(environment: Environment) -> dict[str, list[str]]:
    """Role -> the permissions of it that a deployment needs."""
    return NEEDED | (NEEDED_FOR_DATAFLOW if environment.dataflow else {})
