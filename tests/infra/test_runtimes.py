# SPDX-License-Identifier: Apache-2.0
"""What runs, as it has to be run: which code, how it is probed, how many things at a time, for how long."""

from __future__ import annotations

from typing import Any

import pytest
from planning import INFRA

from infra.deploy import tfvars

pytestmark = pytest.mark.infra
Values = dict[str, Any]
STARTS = {"dropfit-on-upload", "dropfit-predict"}


@pytest.fixture
def templates(resources: list[dict[str, Any]]) -> dict[str, Values]:
    """Service or job -> the template of what runs in it."""
    found = {}
    for resource in resources:
        values = resource["values"]
        if resource["type"] == "google_cloud_run_v2_service":
            found[values["name"]] = values["template"][0]
        elif resource["type"] == "google_cloud_run_v2_job":
            found[values["name"]] = values["template"][0]["template"][0]
    assert len(found) == 4
    return found


def container(template: Values) -> Values:
    (only,) = template["containers"]
    return dict(only)


def environ(template: Values) -> dict[str, str]:
    return {said["name"]: said["value"] for said in container(template)["env"]}


def test_each_job_runs_the_module_that_it_is_named_for(templates: dict[str, Values]) -> None:
    commands = {name: container(t)["command"] for name, t in templates.items() if container(t).get("command")}
    assert commands == {
        "dropfit-retrain": ["python", "-m", "beam_pipelines.retrain"],
        "dropfit-sweep": ["python", "-m", "dropfit.sweep"],
    }


def test_a_start_is_waited_for_as_long_as_a_slow_one_takes(templates: dict[str, Values]) -> None:
    for name in STARTS:
        (probe,) = container(templates[name])["startup_probe"]
        assert probe["period_seconds"] * probe["failure_threshold"] >= 60, name
        assert probe["period_seconds"] <= 5, f"{name}: a quick start is noticed late"


def test_predict_is_asked_at_health_which_looks_at_no_model(templates: dict[str, Values]) -> None:
    asked = container(templates["dropfit-predict"])
    for probe in ("startup_probe", "liveness_probe"):
        assert asked[probe][0]["http_get"][0]["path"] == "/health", "at /ready it would be killed for want of a model"
    (alive,) = asked["liveness_probe"]
    assert alive["period_seconds"] * alive["failure_threshold"] >= 60, "one slow answer is no death"


def test_on_upload_which_answers_no_get_is_probed_at_the_port_that_it_listens_to(
    templates: dict[str, Values],
) -> None:
    asked = container(templates["dropfit-on-upload"])
    assert asked["startup_probe"][0]["tcp_socket"] == [{"port": 8080}]  # Cloud Run's own, as none is named
    assert not [port for port in asked.get("ports") or () if port["container_port"] not in (None, 8080)]
    assert not asked.get("liveness_probe")


def test_a_function_takes_as_much_at_a_time_as_it_can_work_on(templates: dict[str, Values]) -> None:
    on_upload = templates["dropfit-on-upload"]
    assert environ(on_upload)["THREADS"] == str(on_upload["max_instance_request_concurrency"])
    assert environ(templates["dropfit-predict"])["OMP_NUM_THREADS"] == "1", "requests share the machine, not one"


def test_a_function_costs_nothing_while_nobody_calls_and_starts_with_the_boost(templates: dict[str, Values]) -> None:
    for name in STARTS:
        (given,) = container(templates[name])["resources"]
        assert (given["cpu_idle"], given["startup_cpu_boost"]) == (True, True), name
        assert templates[name]["scaling"][0]["min_instance_count"] == 0, name


def test_a_bound_of_instances_is_one_that_a_new_projects_quota_allows(templates: dict[str, Values]) -> None:
    for name in STARTS:
        assert 1 <= templates[name]["scaling"][0]["max_instance_count"] <= 10, name


def test_all_of_it_runs_in_the_second_generation(templates: dict[str, Values]) -> None:
    of = {name: template["execution_environment"] for name, template in templates.items()}
    assert set(of.values()) == {"EXECUTION_ENVIRONMENT_GEN2"}, of


def test_the_job_may_take_the_day_that_dataflow_may_take_and_the_sweep_ends_before_the_next(
    templates: dict[str, Values],
) -> None:
    assert templates["dropfit-retrain"]["timeout"] == "86400s"
    assert templates["dropfit-retrain"]["max_retries"] == 1, "a job that was killed starts once more"
    assert float(templates["dropfit-sweep"]["timeout"].removesuffix("s")) <= 900
    assert templates["dropfit-sweep"]["max_retries"] == 0, "the next one comes soon enough"


@pytest.mark.parametrize("function", ["predict", "on_upload"])
def test_no_plan_differs_for_another_name_of_the_base_image(function: str) -> None:
    blocks = [block for each in tfvars.parsed(INFRA / f"{function}.tf")["resource"] for block in each.items()]
    (service,) = [
        body
        for kind, named in blocks
        for body in named.values()
        if "cloud_run_v2_service" in kind and "template" in body
    ]
    assert "build_config[0].base_image" in str(service["lifecycle"])


def test_dataflows_workers_reach_google_and_each_other_and_nobody_reaches_them(
    resources: list[dict[str, Any]],
) -> None:
    made = {r["type"]: r["values"] for r in resources if r["type"].startswith("google_compute_")}
    network, subnetwork, firewall = (made[f"google_compute_{k}"] for k in ("network", "subnetwork", "firewall"))
    assert network["auto_create_subnetworks"] is False, "one subnetwork, in the region"
    assert subnetwork["private_ip_google_access"] is True, "workers have no public address"
    assert (firewall["direction"], firewall["source_tags"], firewall["target_tags"]) == (
        "INGRESS",
        ["dataflow"],
        ["dataflow"],
    )
    assert not firewall["source_ranges"]
    assert [(each["protocol"], each["ports"]) for each in firewall["allow"]] == [("tcp", ["12345-12346"])]
