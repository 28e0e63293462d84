# SPDX-License-Identifier: Apache-2.0
"""Each thing that can be wrong with a project, what the doctor says of it, and the remedy it tells."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec
from google_api import Fault, Google
from healthy import BILLING, DATASET, ENVIRONMENT, LOGS, PROJECT, QUOTAS, REGION, bucket

from dropfit.rest import Api
from infra.deploy import doctor, needed
from infra.deploy.checks_region import SERVICES
from infra.deploy.environment import Environment
from infra.deploy.look import Finding

Sickness = Callable[[Google], Any]


def before(google: Google, environment: Environment = ENVIRONMENT) -> list[Finding]:
    """What the doctor finds; what is uncommitted here is not the project's fault."""
    found = doctor.before(environment, Api("scope", google))
    return [one for one in found if one.check != "git"]


def sick(google: Google, environment: Environment = ENVIRONMENT) -> Finding:
    """The one finding that is not well."""
    bad = [one for one in before(google, environment) if one.verdict != "ok"]
    assert len(bad) == 1, bad
    return bad[0]


def changed(**fields: Any) -> Environment:
    return msgspec.structs.replace(ENVIRONMENT, **fields)


DATAFLOW = changed(settings={"runner": "DataflowRunner", "max_workers": 4})
BUDGET = changed(monthly_budget=50.0)


def _set(url: str, **fields: Any) -> Sickness:
    return lambda google: google.things[url].update(fields)


def _quota(value: int, of: str = "Cpu") -> Sickness:
    entry = {"dimensions": {"region": "europe-west1"}, "details": {"value": str(value)}}
    return _set(f"{QUOTAS}/{of}AllocPerProjectRegion", dimensionsInfos=[entry])


def lacks(*permissions: str) -> Sickness:
    everything = {one for many in needed.NEEDED.values() for one in many}
    return lambda google: setattr(google, "granted", everything - set(permissions))


def denied(*methods: str) -> Sickness:
    return lambda google: google.denied.update(methods)


def off(*apis: str) -> Sickness:
    return lambda google: google.off.update(apis)


def _places(service: str, *regions: str) -> Sickness:
    url = f"{SERVICES[service]}/projects/acme-dev/locations"
    return _set(url, locations=[{"locationId": region} for region in regions])


def _foreign_bucket(google: Google) -> None:
    google.on["storage.v1.buckets.get"] = lambda call: _refuse(call.url == bucket("data"))


def _refuse(really: bool) -> dict[str, Any]:
    raise Fault(403, "ada does not have storage.buckets.get access") if really else Fault(404, "no such bucket")


NOT_YOURS = Fault(403, "Caller does not have required permission to use project acme-dev", "USER_PROJECT_DENIED")
TFVARS = "infra/dev.tfvars"
SICK: dict[str, tuple[Sickness, Environment, tuple[str, str], str, list[str], list[str]]] = {
    "the project is being deleted": (
        _set(PROJECT, state="DELETE_REQUESTED"),
        ENVIRONMENT, ("project", "exists"), "fail", ["being deleted"], ["gcloud projects undelete acme-dev"],
    ),
    "the project cannot be seen": (
        denied("cloudresourcemanager.v3.projects.get"),
        ENVIRONMENT, ("project", "exists"), "fail", ["acme-dev", "ada@acme.example"],
        [TFVARS, "gcloud projects create acme-dev", "--member=user:ada@acme.example"],
    ),
    "the project may not be used": (
        lambda google: google.faults.update({"cloudresourcemanager.v3.projects.get": [NOT_YOURS]}),
        ENVIRONMENT, ("project", "exists"), "fail", ["acme-dev", "ada@acme.example"],
        ["--role=roles/serviceusage.serviceUsageConsumer"],
    ),
    "nobody pays": (
        lambda google: google.things[BILLING].update(billingEnabled=False),
        ENVIRONMENT, ("project", "billing"), "fail", ["no billing account"],
        ["gcloud billing projects link acme-dev", "console.cloud.google.com/billing/linkedaccount?project=acme-dev"],
    ),
    "billing cannot be looked at": (
        off("cloudbilling"),
        ENVIRONMENT, ("project", "billing"), "warn", ["could not look", "cloudbilling.googleapis.com is off"],
        ["gcloud billing projects describe acme-dev"],
    ),
    "no right to make the budget": (
        lambda google: google.on.update({"cloudbilling.v1.billingAccounts.testIamPermissions": lambda call: {}}),
        BUDGET, ("project", "budget"), "fail", ["012345-6789AB-CDEF01"],
        ["gcloud billing accounts add-iam-policy-binding 012345-6789AB-CDEF01", "roles/billing.costsManager", TFVARS],
    ),
    "an API that comes before Terraform is off": (
        off("iam"),
        ENVIRONMENT, ("project", "APIs"), "warn", ["iam.googleapis.com"],
        ["gcloud services enable iam.googleapis.com --project=acme-dev"],
    ),
    "rights are missing": (
        lacks("run.jobs.create", "run.services.create"),
        ENVIRONMENT, ("project", "your rights"), "fail", ["run.services.create", "run.jobs.create"],
        ["--role=roles/run.admin", "--member=user:ada@acme.example"],
    ),
    "rights cannot be looked at": (
        denied("cloudresourcemanager.v3.projects.testIamPermissions"),
        ENVIRONMENT, ("project", "your rights"), "warn", ["could not look", "Permission denied"], ["roles/viewer"],
    ),
    "a service is not in the region": (
        _places("Eventarc", "europe-north1", "us-central1"),
        ENVIRONMENT, ("region", "services"), "fail", ["Eventarc has no region europe-west1"],
        ["europe-north1", f"`region` of {TFVARS}"],
    ),
    "the dataset is elsewhere": (
        lambda google: google.things.update({DATASET: {"location": "US"}}),
        ENVIRONMENT, ("region", "dataset"), "fail", ["dataset dropfit is in us"], ['region = "us"', TFVARS],
    ),
    "a bucket is somebody else's": (
        _foreign_bucket,
        ENVIRONMENT, ("names", "buckets"), "fail", ["gs://acme-dev-dropfit-data", "somebody else's"],
        [f"`name` in {TFVARS}", "roles/storage.admin"],
    ),
    "a bucket is another project's": (
        lambda google: google.things.update({bucket("data"): {"projectNumber": "7", "location": "EUROPE-WEST1"}}),
        ENVIRONMENT, ("names", "buckets"), "fail", ["gs://acme-dev-dropfit-data", "number 7"],
        [f"`name` in {TFVARS}"],
    ),
    "a bucket is elsewhere": (
        lambda google: google.things.update({bucket("data"): {"projectNumber": "123456789012", "location": "US"}}),
        ENVIRONMENT, ("names", "buckets"), "fail", ["gs://acme-dev-dropfit-data is in us"], ['region = "us"', TFVARS],
    ),
    "the log bucket is being deleted": (
        lambda google: google.things.update({LOGS: {"lifecycleState": "DELETE_REQUESTED"}}),
        ENVIRONMENT, ("names", "log bucket"), "fail", ["dropfit is being deleted", "7 days"],
        ["gcloud logging buckets undelete dropfit --location=europe-west1 --project=acme-dev", f"`name` in {TFVARS}"],
    ),
    "a name is too long": (
        lambda google: None,
        changed(name="a-very-long-name-indeed"), ("names", "valid"), "fail",
        ["service account a-very-long-name-indeed-on-upload"], [f"`name` of {TFVARS}"],
    ),
    "Cloud Run has no room": (
        _quota(4_000),
        ENVIRONMENT, ("quotas", "Cloud Run"), "fail", ["10 instances of 1 CPU", "enough for 4"],
        ["predict = { max_instances = 4 }", "console.cloud.google.com/iam-admin/quotas?project=acme-dev"],
    ),
    "Cloud Run has no memory": (
        _quota(3 * 2**30, "Mem"),
        ENVIRONMENT, ("quotas", "Cloud Run"), "fail", ["10 instances of 1 CPU", "enough for 3"],
        ["predict = { max_instances = 3 }", "console.cloud.google.com/iam-admin/quotas?project=acme-dev"],
    ),
    "Cloud Run's quota is not told": (
        _set(f"{QUOTAS}/CpuAllocPerProjectRegion", dimensionsInfos=[]),
        ENVIRONMENT, ("quotas", "Cloud Run"), "warn", ["could not look"], ["iam-admin/quotas"],
    ),
    "the API of quotas is off": (
        off("cloudquotas"),
        ENVIRONMENT, ("quotas", "Cloud Run"), "warn", ["could not look", "cloudquotas.googleapis.com is off"],
        ["gcloud services enable cloudquotas.googleapis.com --project=acme-dev"],
    ),
    "Dataflow has no room": (
        _set(REGION, quotas=[{"metric": m, "limit": 24, "usage": 12} for m in ("N2_CPUS", "CPUS", "INSTANCES")]),
        DATAFLOW, ("quotas", "Dataflow"), "warn", ["16 N2_CPUS", "12 of 24 are free"],
        ["max_workers", TFVARS, "iam-admin/quotas"],
    ),
    "Dataflow has no such region": (
        lambda google: google.things.pop(REGION),
        DATAFLOW, ("quotas", "Dataflow"), "fail", ["no region europe-west1"], [TFVARS],
    ),
    "Dataflow has no such machine": (
        lambda google: None,
        changed(settings={"runner": "DataflowRunner", "worker_machine": "big"}),
        ("quotas", "Dataflow"), "fail", ["'big'"], ["settings.worker_machine", TFVARS],
    ),
}  # fmt: skip
