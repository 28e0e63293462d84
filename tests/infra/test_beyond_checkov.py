# SPDX-License-Identifier: Apache-2.0
"""What checkov does not look at: Cloud Run v2, Eventarc, Cloud Build, Cloud Scheduler, log sinks, members of IAM.

Who may do what is in test_promises.py; this is about the rest of those resources.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

import pytest

pytestmark = pytest.mark.infra
Resource = dict[str, Any]

PROJECT, REGION = "acme-dev", "europe-west1"
MEMBER = re.compile(
    r"(user|group|serviceAccount):[^@\s]+@[a-z0-9.-]+\.[a-z]+"
    r"|principalSet://iam\.googleapis\.com/.+/attribute\.repository_id/[0-9]+"
)
"""One person, one group, one account, one repository: no domain, no `projectEditor:`, no special group."""
AGENT = re.compile(r"service-[\w-]+@(gcp-sa-[a-z-]+|gs-project-accounts)\.iam\.gserviceaccount\.com")
"""Google's own accounts in this project."""
SECRET_NAME = re.compile(r"PASSWORD|PASSWD|SECRET|TOKEN|CREDENTIAL|PRIVATE|API_?KEY|ACCESS_?KEY", re.IGNORECASE)
SECRET_VALUE = re.compile(
    r"-----BEGIN|\bAIza[\w-]{30,}|\bya29\.|\bgh[pousr]_\w{20,}|\bAKIA[A-Z0-9]{12,}|\bxox[abp]-|\beyJ[\w-]{20,}\."
    r"|\"private_key\"|://[^/\s:@]+:[^/\s:@]+@"
)
HASH = r"[0-9a-f]{16}"


def of(resources: list[Resource], *types: str) -> list[Resource]:
    """The resources of these types, of which there has to be one."""
    found = [resource for resource in resources if resource["type"] in types]
    assert {resource["type"] for resource in found} == set(types), "none of a type is planned"
    return found


def parts(value: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    """Everything in a nested value, with its path."""
    yield path, value
    nested = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, each in nested:
        yield from parts(each, f"{path}.{key}")


def tasks(resources: list[Resource]) -> list[tuple[Resource, Resource]]:
    """Each service and job with the template of what runs in it."""
    services = [(r, r["values"]["template"][0]) for r in of(resources, "google_cloud_run_v2_service")]
    jobs = [(r, r["values"]["template"][0]["template"][0]) for r in of(resources, "google_cloud_run_v2_job")]
    return services + jobs


@pytest.fixture(scope="session")
def pipeline(pipeline_plan: dict[str, Any]) -> list[Resource]:
    """Every resource of infra/pipeline/'s plan."""
    return list(pipeline_plan["planned_values"]["root_module"]["resources"])


# ---- members


def test_every_member_is_somebody(resources: list[Resource], pipeline: list[Resource]) -> None:
    said = [
        (r["address"], r["values"].get("member"))
        for r in [*resources, *pipeline]
        if r["type"].endswith("_iam_member")
    ]
    unknown = [address for address, member in said if member is None]
    # The pipeline's accounts are known when they are made; whose they are, the plan's references say.
    assert all(address in {r["address"] for r in pipeline} for address in unknown), unknown
    nobody = [(address, member) for address, member in said if member and not MEMBER.fullmatch(member)]
    assert not nobody
    assert sum(member is not None for _, member in said) > 40


def test_no_account_of_another_project_may_anything_unless_a_variable_names_it(resources: list[Resource]) -> None:
    named = {"serviceAccount:shop@acme-shop.iam.gserviceaccount.com"}  # VARIABLES' invoker
    members = {r["values"]["member"] for r in resources if r["type"].endswith("_iam_member")}
    accounts = {m for m in members if m.startswith("serviceAccount:")} - named
    ours = re.compile(rf"serviceAccount:dropfit-[a-z-]+@{PROJECT}\.iam\.gserviceaccount\.com")
    strangers = {m for m in accounts if not ours.fullmatch(m) and not AGENT.fullmatch(m.partition(":")[2])}
    assert not strangers
    assert len(accounts) >= 8


# ---- Cloud Run


def test_no_secret_is_given_to_what_runs(resources: list[Resource]) -> None:
    count = 0
    for resource, template in tasks(resources):
        assert not template.get("volumes"), f"{resource['address']} mounts something"
        for container in template["containers"]:
            for env in container["env"]:
                count += 1
                where = f"{resource['address']} {env['name']}"
                assert not env.get("value_source"), f"{where}: nothing needs Secret Manager"
                assert not SECRET_NAME.search(env["name"]), where
                assert not SECRET_VALUE.search(env.get("value") or ""), where
            assert not [a for a in container.get("args") or [] if SECRET_VALUE.search(a)]
    assert count > 40


def test_what_a_secret_looks_like_is_known() -> None:
    for text in (
        "-----BEGIN " + "PRIVATE KEY-----",
        "AIza" + "S" * 35,
        "ghp_" + "a1" * 18,
        "AKIA" + "Q" * 16,
        "postgres://joe:" + "hunter2@db",
    ):
        assert SECRET_VALUE.search(text), text
    assert not SECRET_VALUE.search("https://run.googleapis.com/v2/projects/acme-dev")
    assert SECRET_NAME.search("DB_PASSWORD")


def test_nothing_in_either_plan_looks_like_a_secret(plan: dict[str, Any], pipeline_plan: dict[str, Any]) -> None:
    for each in (plan, pipeline_plan):
        text = json.dumps(each["planned_values"])
        found = SECRET_VALUE.search(text)
        assert not found, text[max(0, found.start() - 100) : found.end()] if found else ""


def test_what_runs_is_an_image_of_our_own_repository_named_by_its_content(resources: list[Resource]) -> None:
    ours = re.compile(rf"{REGION}-docker\.pkg\.dev/{PROJECT}/dropfit/(on-upload|predict|job):{HASH}")
    for resource, template in tasks(resources):
        images = [container["image"] for container in template["containers"]]
        assert len(images) == 1, f"{resource['address']} has a sidecar"
        assert ours.fullmatch(images[0]), resource["address"]


def test_what_runs_ends_and_there_is_a_bound_to_how_much_of_it_runs(resources: list[Resource]) -> None:
    for resource, template in tasks(resources):
        seconds = float(template["timeout"].removesuffix("s"))
        limits = template["containers"][0]["resources"][0]["limits"]
        assert set(limits) == {"cpu", "memory"}, resource["address"]
        if resource["type"] == "google_cloud_run_v2_service":
            assert 0 < seconds <= 120, resource["address"]
            assert 1 <= template["scaling"][0]["max_instance_count"] <= 100
        else:
            assert 0 < seconds <= 86_400, resource["address"]
            assert template["max_retries"] in (0, 1), "the sweep tries again, with a bound of its own"
            execution = resource["values"]["template"][0]
            assert execution.get("task_count") in (None, 1), "a lease is for one"
            assert execution.get("parallelism") in (None, 1)


def test_a_job_runs_a_module_and_no_shell(resources: list[Resource]) -> None:
    for job in of(resources, "google_cloud_run_v2_job"):
        container = job["values"]["template"][0]["template"][0]["containers"][0]
        assert container["command"][:2] == ["python", "-m"], job["address"]
        assert not container.get("args")
        assert not job["values"].get("start_execution_token"), "an apply starts no training"
        assert not job["values"].get("run_execution_token")


def test_no_service_has_another_door(resources: list[Resource]) -> None:
    """All traffic goes to the newest revision, at the one address that IAM guards."""
    for service in of(resources, "google_cloud_run_v2_service"):
        values = service["values"]
        assert not values.get("custom_audiences"), service["address"]
        assert not [t for t in values.get("traffic") or [] if t.get("tag")], "a tagged address"
        assert values["build_config"][0]["function_target"] in ("on_upload", "predict")


# ---- ways in and out


def test_there_is_one_trigger_of_one_kind_of_event_and_nothing_pushes(resources: list[Resource]) -> None:
    [trigger] = of(resources, "google_eventarc_trigger")
    criteria = {c["attribute"]: (c["value"], c.get("operator") or "") for c in trigger["values"]["matching_criteria"]}
    assert set(criteria) == {"type", "bucket"}
    assert criteria["type"] == ("google.cloud.storage.object.v1.finalized", "")
    [destination] = trigger["values"]["destination"]
    assert [kind for kind, value in destination.items() if value] == ["cloud_run_service"]
    assert destination["cloud_run_service"][0].get("path") in (None, "", "/")
    assert not [s["address"] for s in of(resources, "google_pubsub_subscription") if s["values"].get("push_config")]
    others = {r["type"] for r in resources if re.search(r"storage_notification|cloudfunctions|workflows_", r["type"])}
    assert not others


def test_the_schedule_calls_the_sweep_over_https_with_a_token_and_says_nothing_else(
    resources: list[Resource],
) -> None:
    [job] = of(resources, "google_cloud_scheduler_job")
    [target] = job["values"]["http_target"]
    [token] = target["oauth_token"]
    assert token["service_account_email"] == f"dropfit-scheduler@{PROJECT}.iam.gserviceaccount.com"
    assert not target.get("oidc_token"), "Google's own API takes OAuth"
    assert token.get("scope") in (None, "", "https://www.googleapis.com/auth/cloud-platform")
    assert (target["http_method"], target.get("headers") or {}, target.get("body") or "") == ("POST", {}, "")
    started = re.fullmatch(
        r"https://run\.googleapis\.com/v2/(projects/[^/]+/locations/[^/]+)/jobs/(.+):run", target["uri"]
    )
    assert started
    assert started[1] == f"projects/{PROJECT}/locations/{REGION}"
    assert started[2] in {j["values"]["name"] for j in of(resources, "google_cloud_run_v2_job")}
    assert not job["values"].get("paused")


def test_logs_and_alerts_stay_in_the_project_but_for_the_emails_that_are_named(resources: list[Resource]) -> None:
    for sink in of(resources, "google_logging_project_sink"):
        destination = sink["values"].get("destination")  # unknown until its bucket is made
        assert destination is None or f"/projects/{PROJECT}/" in destination, sink["address"]
    channels = [c["values"] for c in of(resources, "google_monitoring_notification_channel")]
    assert {c["type"] for c in channels} == {"email"}
    assert {c["labels"]["email_address"] for c in channels} == {"oncall@acme.example"}
    outward = {r["type"] for r in resources if re.search(r"_transfer_|_export|analytics_hub|connection$", r["type"])}
    assert not outward


def test_every_place_is_the_region(resources: list[Resource]) -> None:
    places = {
        (resource["address"], key, resource["values"][key].lower())
        for resource in resources
        for key in ("location", "region")
        if isinstance(resource["values"].get(key), str)
    }
    (topic,) = of(resources, "google_pubsub_topic")
    (kept,) = topic["values"]["message_storage_policy"]
    assert kept["allowed_persistence_regions"] == [REGION]
    assert {place for *_, place in places} == {REGION}
    assert len(places) > 20


def test_nothing_is_executed_where_terraform_runs_but_a_wait(
    plan: dict[str, Any], pipeline_plan: dict[str, Any]
) -> None:
    commands = [
        provisioner["expressions"]["command"].get("constant_value", "")
        for each in (plan, pipeline_plan)
        for resource in each["configuration"]["root_module"]["resources"]
        for provisioner in resource.get("provisioners", ())
    ]
    assert all(re.fullmatch(r"sleep \d{1,3}", command) for command in commands), commands


# ---- Cloud Build's triggers and federation


def test_a_trigger_builds_the_file_in_the_repository_and_listens_to_nobody_else(pipeline: list[Resource]) -> None:
    for trigger in of(pipeline, "google_cloudbuild_trigger"):
        values = trigger["values"]
        assert values["filename"] == "cloudbuild.yaml", trigger["address"]
        for elsewhere in ("build", "git_file_source", "source_to_build", "webhook_config", "pubsub_config", "github"):
            assert not values.get(elsewhere), f"{trigger['address']} has {elsewhere}"
        [event] = values["repository_event_config"]
        kinds = [kind for kind in ("push", "pull_request") if event.get(kind)]
        assert len(kinds) == 1
        branch = event[kinds[0]][0]["branch"]
        assert re.fullmatch(r"\^[\w./-]+\$", branch), f"{branch} is more than one branch"
        if kinds == ["pull_request"]:
            assert event["pull_request"][0]["comment_control"].startswith("COMMENTS_ENABLED")
        for name, value in values["substitutions"].items():
            assert not SECRET_NAME.search(name), name
            assert not SECRET_VALUE.search(value), name


def test_only_githubs_own_issuer_is_believed_and_only_for_one_repository(pipeline: list[Resource]) -> None:
    [provider] = of(pipeline, "google_iam_workload_identity_pool_provider")
    assert provider["values"]["oidc"][0]["issuer_uri"] == "https://token.actions.githubusercontent.com"
    assert not provider["values"]["oidc"][0].get("jwks_json"), "keys of our own would be believed too"
    condition = provider["values"]["attribute_condition"]
    assert "||" not in condition
    assert "assertion.repository_id == '123456789'" in condition.split(" && ")
    assert not provider["values"].get("disabled")
    mapped = provider["values"]["attribute_mapping"]
    assert mapped["google.subject"] == "assertion.sub"
    for name in ("ref", "repository", "repository_id"):
        assert mapped[f"attribute.{name}"] == f"assertion.{name}", "whom the deployer is lent to is told by it"
