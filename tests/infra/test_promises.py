# SPDX-License-Identifier: Apache-2.0
"""What holds of every resource of the plan, whatever it is called and whoever adds one: access, accounts, buckets."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from grants import Grant, allowed_prefixes, by_member, grants
from planned_resources import Resource, bucket, named
from planning import VARIABLES, planned

pytestmark = pytest.mark.infra

OPERATORS, UPLOADERS = "group:ml@acme.example", "group:data@acme.example"
INVOKER, ANALYSTS = "serviceAccount:shop@acme-shop.iam.gserviceaccount.com", "group:analysts@acme.example"
PUBLIC = ("allUsers", "allAuthenticatedUsers")
ON_PROJECTS = {
    "bigquery.jobUser",
    "dataflow.developer",
    "dataflow.worker",
    "eventarc.eventReceiver",
    "logging.logWriter",
    "pubsub.publisher",
}
"""Roles that Google grants on the project alone; everything else stands on its resource."""
READS = {"storage.objectViewer", "storage.legacyBucketReader"}
DEFAULT_ACCOUNT = re.compile(
    r"\d+-compute@developer|@appspot\.|@cloudbuild\.gserviceaccount|@cloudservices\.|@developer\.gserviceaccount"
)


def account(runtime: str) -> str:
    return f"serviceAccount:dropfit-{runtime}@acme-dev.iam.gserviceaccount.com"


MAY = {
    "predict": {"storage_bucket models: storage.objectViewer"},
    "on-upload": {
        "storage_bucket data: storage.legacyBucketReader",
        "storage_bucket data: storage.objectUser if ...",
        "storage_bucket data: storage.objectViewer if ...",
        "cloud_run_v2_job dropfit-retrain: run.invoker",
    },
    "retrain": {
        "storage_bucket landing: storage.objectViewer",
        "storage_bucket data: storage.legacyBucketReader",
        "storage_bucket data: storage.objectUser",
        "storage_bucket models: storage.objectUser",
        "bigquery_dataset dropfit: bigquery.dataEditor",
        "project acme-dev: bigquery.jobUser",
        "project acme-dev: dataflow.developer",
        "service_account dropfit-dataflow@acme-dev.iam.gserviceaccount.com: iam.serviceAccountUser",
    },
    "sweep": {
        "storage_bucket landing: storage.legacyBucketReader",
        "storage_bucket data: storage.legacyBucketReader",
        "storage_bucket data: storage.objectUser if ...",
        "storage_bucket data: storage.objectViewer if ...",
        "storage_bucket models: storage.objectViewer",
        "bigquery_dataset dropfit: bigquery.dataEditor",
        "project acme-dev: bigquery.jobUser",
        "cloud_run_v2_job dropfit-retrain: run.invoker",
    },
    "dataflow": {
        "storage_bucket data: storage.objectUser",
        "storage_bucket models: storage.objectViewer",
        "artifact_registry_repository dropfit: artifactregistry.reader",
        "project acme-dev: dataflow.worker if ...",
    },
    "trigger": {"cloud_run_v2_service dropfit-on-upload: run.invoker", "project acme-dev: eventarc.eventReceiver"},
    "scheduler": {"cloud_run_v2_job dropfit-sweep: run.invoker"},
    "build": {
        "storage_bucket source: storage.objectViewer",
        "artifact_registry_repository dropfit: artifactregistry.writer",
        "project acme-dev: logging.logWriter",
    },
}
"""All that each account may do."""
LOG = {"retrain": {"bigquery_dataset dropfit_logs: bigquery.dataViewer"}}
"""What it may do besides, where the prediction log has its linked dataset."""


@pytest.fixture(scope="session")
def found(resources: list[Resource]) -> list[Grant]:
    """Every right that the plan gives."""
    return grants(resources)


@pytest.fixture(scope="session")
def public(infra: Path) -> list[Resource]:
    """The resources of a deployment whose predict is public."""
    plan = planned(infra, VARIABLES | {"predict_public": True})
    return list(plan["planned_values"]["root_module"]["resources"])


# Who


def test_nothing_is_public(found: list[Grant], resources: list[Resource]) -> None:
    assert len(found) > 40
    assert [grant.address for grant in found if grant.member in PUBLIC] == []
    text = [r["address"] for r in resources if any(word in str(r["values"]) for word in PUBLIC)]
    assert text == [], "and no other argument says so either"


def test_where_predict_is_public_it_is_the_only_thing_that_is(public: list[Resource]) -> None:
    open_to_all = [grant for grant in grants(public) if grant.member in PUBLIC]
    assert [(g.told, g.member) for g in open_to_all] == [
        ("cloud_run_v2_service dropfit-predict: run.invoker", "allUsers")
    ]


def test_no_access_is_given_past_iam(resources: list[Resource]) -> None:
    past = re.compile(r"_acl$|_access_control$|_dataset_access$|_iam_(binding|policy|audit_config)$|_account_key$")
    assert [r["address"] for r in resources if past.search(r["type"])] == []
    assert [d["address"] for d in named(resources, "google_bigquery_dataset") if d["values"].get("access")] == []


def test_an_unauthenticated_call_is_refused_by_iam(resources: list[Resource], found: list[Grant]) -> None:
    services = named(resources, "google_cloud_run_v2_service")
    assert {s["values"]["name"] for s in services} == {"dropfit-on-upload", "dropfit-predict"}
    for service in services:
        assert service["values"]["invoker_iam_disabled"] is False, service["address"]
        assert not service["values"].get("iap_enabled")
    callers = {g.member for g in found if g.kind == "cloud_run_v2_service" and g.where == "dropfit-on-upload"}
    assert callers == {account("trigger")}
    ingress = {s["values"]["name"]: s["values"]["ingress"] for s in services}
    assert ingress == {
        "dropfit-on-upload": "INGRESS_TRAFFIC_INTERNAL_ONLY",
        "dropfit-predict": "INGRESS_TRAFFIC_ALL",  # IAM alone decides who calls it
    }


# What they may do


def test_there_is_no_basic_role_no_administrator_and_nobody_hands_out_rights(found: list[Grant]) -> None:
    great = re.compile(
        r"^(owner|editor|viewer|browser)$|admin|owner$|securityReviewer|serviceAccountTokenCreator", re.I
    )
    assert [grant.address for grant in found if great.search(grant.role)] == []


def test_on_the_project_there_are_only_roles_that_google_grants_nowhere_else(found: list[Grant]) -> None:
    on_project = [grant for grant in found if grant.kind == "project"]
    assert {grant.role for grant in on_project} == ON_PROJECTS
    assert [g.address for g in found if g.kind in ("folder", "organization", "billing_account")] == []
    publishers = [grant.member for grant in on_project if grant.role == "pubsub.publisher"]
    assert len(publishers) == 1
    assert publishers[0].endswith("@gs-project-accounts.iam.gserviceaccount.com"), "only Cloud Storage's own agent"


@pytest.mark.parametrize("runtime", sorted(MAY))
def test_an_account_may_do_this_and_nothing_else(runtime: str, found: list[Grant]) -> None:
    told = {may.replace("acme-dev-dropfit-", "") for may in by_member(found)[account(runtime)]}
    assert told - LOG.get(runtime, set()) == MAY[runtime]


def test_every_account_is_in_the_list_above(resources: list[Resource]) -> None:
    made = {r["values"]["account_id"] for r in named(resources, "google_service_account")}
    assert made == {f"dropfit-{runtime}" for runtime in MAY}


def test_only_the_job_and_the_operators_write_models(found: list[Grant]) -> None:
    on_models = [grant for grant in found if grant.kind == "storage_bucket" and grant.where == bucket("models")]
    assert {grant.member for grant in on_models if grant.role not in READS} == {account("retrain"), OPERATORS}


def test_only_people_write_uploads(found: list[Grant]) -> None:
    on_landing = [grant for grant in found if grant.kind == "storage_bucket" and grant.where == bucket("landing")]
    assert {grant.member for grant in on_landing if grant.role not in READS} == {UPLOADERS}


def test_googles_role_for_workers_reaches_no_bucket_but_the_data_bucket(found: list[Grant]) -> None:
    (worker,) = [grant for grant in found if grant.role == "dataflow.worker"]
    elsewhere, itself, objects = worker.condition.split(" || ")
    types = set(re.findall(r'resource\.type != "storage\.googleapis\.com/(\w+)"', elsewhere))
    assert (types, elsewhere.count("&&")) == ({"Bucket", "Object"}, 1)
    assert itself == f'resource.name == "projects/_/buckets/{bucket("data")}"'
    assert allowed_prefixes(objects, bucket("data")) == {""}


@pytest.mark.parametrize(
    ("member", "role", "names"),
    [
        (account("on-upload"), "storage.objectUser", {"receipts/", "leases/launch.json"}),
        (account("on-upload"), "storage.objectViewer", {"leases/retrain.json"}),
        (account("sweep"), "storage.objectUser", {"receipts/", "refreshes/", "leases/clock"}),
        (account("sweep"), "storage.objectViewer", {"leases/retrain.json"}),
        (UPLOADERS, "storage.objectViewer", {"receipts/", "runs/"}),
    ],
)
def test_in_the_data_bucket_it_reaches_these_names(
    member: str, role: str, names: set[str], found: list[Grant]
) -> None:
    (grant,) = [g for g in found if (g.where, g.member, g.role) == (bucket("data"), member, role)]
    assert allowed_prefixes(grant.condition, bucket("data")) == names


def test_people_may_do_what_the_variables_say_of_them(found: list[Grant]) -> None:
    table = {m: {may.replace("acme-dev-dropfit-", "") for may in told} for m, told in by_member(found).items()}
    assert table[INVOKER] == {"cloud_run_v2_service dropfit-predict: run.invoker"}
    assert table[ANALYSTS] - {"bigquery_dataset dropfit_logs: bigquery.dataViewer"} == {
        "bigquery_dataset dropfit: bigquery.dataViewer",
        "project acme-dev: bigquery.jobUser",
    }
    assert table[UPLOADERS] == {
        "storage_bucket landing: storage.objectUser",
        "storage_bucket data: storage.legacyBucketReader",
        "storage_bucket data: storage.objectViewer if ...",
    }
    assert table[OPERATORS] - {"bigquery_dataset dropfit_logs: bigquery.dataViewer"} == {
        "storage_bucket landing: storage.objectViewer",
        "storage_bucket data: storage.legacyBucketReader",
        "storage_bucket data: storage.objectUser",
        "storage_bucket models: storage.objectUser",
        "bigquery_dataset dropfit: bigquery.dataEditor",
        "project acme-dev: bigquery.jobUser",
        "cloud_run_v2_job dropfit-retrain: run.invoker",
        "cloud_run_v2_service dropfit-predict: run.invoker",
        "pubsub_subscription dropfit-dead-letters: pubsub.subscriber",
    }


AGENTS = {
    "gs-project-accounts": {"project acme-dev: pubsub.publisher"},
    "gcp-sa-pubsub": {"pubsub_topic dropfit-dead-letters: pubsub.publisher"},
    "gcp-sa-monitoring-notification": {"cloud_run_v2_service dropfit-predict: run.invoker"},
}
"""What Google's own agents may do: publish uploads, and dead letters, and ask predict whether it is ready."""


def test_who_has_no_address_can_be_an_operator_or_analyst(infra: Path) -> None:
    outside = {
        "principalSet://iam.googleapis.com/projects/1/locations/global/workloadIdentityPools/p/*",
        "serviceAccount:acme.svc.id.goog[shop/web]",
    }
    user = "user:ada@acme.example"
    found = planned(infra, VARIABLES | {"operators": [*outside, user], "analysts": [*outside]})
    made = found["planned_values"]["root_module"]["resources"]
    of = [r["values"] for r in made if r["type"] == "google_bigquery_dataset_iam_member"]
    others = {r["values"]["member"] for r in made if r["type"] == "google_storage_bucket_iam_member"}
    for dataset in {values["dataset_id"] for values in of}:
        members = {values["member"] for values in of if values["dataset_id"] == dataset}
        assert members > {f"iamMember:{one}" for one in outside}  # datasets call them so, and know no other name
        assert members & outside == set()
        assert user in members
    assert outside | {user} <= others


def test_whoever_else_gets_something_is_an_agent_of_googles(found: list[Grant]) -> None:
    ours = {account(runtime) for runtime in MAY} | {OPERATORS, UPLOADERS, INVOKER, ANALYSTS}
    others = {member: told for member, told in by_member(found).items() if member not in ours}
    agent = re.compile(r"serviceAccount:service-[\w-]+@([a-z-]+)\.iam\.gserviceaccount\.com")
    names = {member: match[1] if (match := agent.fullmatch(member)) else member for member in others}
    assert {"gs-project-accounts", "gcp-sa-pubsub"} <= set(names.values())
    assert {names[member]: told for member, told in others.items() if told != AGENTS.get(names[member])} == {}


# As whom


def test_no_default_account_is_used_or_granted_anything(found: list[Grant], resources: list[Resource]) -> None:
    assert [grant.address for grant in found if DEFAULT_ACCOUNT.search(grant.member)] == []
    assert [r["address"] for r in resources if DEFAULT_ACCOUNT.search(str(r["values"]))] == []


def runs_as(resource: Resource) -> str:
    """The account that a resource acts as; empty where it would be a default one."""
    values = resource["values"]
    match resource["type"]:
        case "google_cloud_run_v2_service":
            return str(values["template"][0]["service_account"] or "")
        case "google_cloud_run_v2_job":
            return str(values["template"][0]["template"][0]["service_account"] or "")
        case "google_eventarc_trigger":
            return str(values["service_account"] or "")
        case _:
            target = values["http_target"][0]
            return str((target["oauth_token"] or target["oidc_token"])[0]["service_account_email"] or "")


ACTING = ("google_cloud_run_v2_service", "google_cloud_run_v2_job", "google_eventarc_trigger")


def test_each_runtime_acts_as_an_account_of_its_own(resources: list[Resource]) -> None:
    acting = [runs_as(resource) for resource in named(resources, *ACTING, "google_cloud_scheduler_job")]
    assert all(email.endswith("@acme-dev.iam.gserviceaccount.com") for email in acting), acting
    assert len(set(acting)) == len(acting) == 6


def test_every_account_is_somebodys(resources: list[Resource]) -> None:
    made = {f"{r['values']['account_id']}@" for r in named(resources, "google_service_account")}
    used = str([r["values"] for r in resources if "_iam_" not in r["type"] and r["type"] != "google_service_account"])
    assert {account for account in made if account not in used} == set()
