# SPDX-License-Identifier: Apache-2.0
"""What Google alone would refuse or report, at the second apply and after: looked for in the text of infra/."""

from __future__ import annotations

import re
from itertools import chain
from pathlib import Path
from typing import Any

import pytest

from infra.deploy.tfvars import parsed

INFRA = Path(__file__).parents[2] / "infra"
ALERT = "google_monitoring_alert_policy"
CHANNEL = re.compile(r"google_monitoring_notification_channel\.\w+")
CHECK = re.compile(r"google_monitoring_uptime_check_config\.\w+")
NEEDED = re.compile(r"(?:data\.)?google_\w+\.\w+")
UNASKED = {
    "google_cloud_run_v2_service.on_upload": {"build_config[0].base_image", "scaling"},
    "google_cloud_run_v2_service.predict": {"build_config[0].base_image", "scaling"},
    "google_pubsub_topic.dead_letters": {"message_storage_policy[0].enforce_in_transit"},
}
"""Of each, what Google answers though nobody asked for it: left alone, else every plan has a change."""


@pytest.fixture(scope="module")
def files() -> list[dict[str, Any]]:
    return [parsed(path) for path in sorted(INFRA.glob("*.tf"))]


@pytest.fixture(scope="module")
def resources(files: list[dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """Every resource by its address."""
    blocks = chain.from_iterable(file.get("resource", []) for file in files)
    kinds = chain.from_iterable(block.items() for block in blocks)
    return {f"{kind}.{name}": body for kind, named in kinds for name, body in named.items()}


def lifecycle(resource: dict[str, Any]) -> dict[str, Any]:
    (found,) = resource.get("lifecycle", [{}])
    return dict(found)


def plain(references: list[str]) -> set[str]:
    return {each.removeprefix("${").removesuffix("}") for each in references}


def test_whoever_is_told_no_more_is_taken_off_the_alerts_first(
    files: list[dict[str, Any]], resources: dict[str, dict[str, Any]]
) -> None:
    """Google deletes no channel that a policy names, and Terraform deletes before it changes what depended on it.

    Unless it is to be made before the old one goes: then it goes last. All that it needs is made so too, however, and
    a service, a bucket or an account cannot be there twice: so it needs the APIs alone.
    """
    (channels,) = (local["channels"] for file in files for local in file.get("locals", []) if "channels" in local)
    named = set(CHANNEL.findall(str(channels)))
    first = {address for address, body in resources.items() if lifecycle(body).get("create_before_destroy")}
    assert named == first == {"google_monitoring_notification_channel.email"}
    assert {need for address in first for need in NEEDED.findall(str(resources[address]))} == {
        "google_project_service.apis"
    }
    alerts = [body for address, body in resources.items() if address.startswith(f"{ALERT}.")]
    assert len(alerts) > 5
    assert {body["notification_channels"] for body in alerts} == {"${local.channels}"}


def test_an_alert_goes_before_the_check_that_it_names(resources: dict[str, dict[str, Any]]) -> None:
    """Google deletes no uptime check that a policy names."""
    alerts = {address: body for address, body in resources.items() if address.startswith(f"{ALERT}.")}
    named = {address: set(CHECK.findall(str(body["conditions"]))) for address, body in alerts.items()}
    naming = {address: checks for address, checks in named.items() if checks}
    assert naming == {f"{ALERT}.not_ready": {"google_monitoring_uptime_check_config.ready"}}
    for address, checks in naming.items():
        assert plain(lifecycle(alerts[address])["replace_triggered_by"]) == {f"{c}.uptime_check_id" for c in checks}


@pytest.mark.parametrize("address", sorted(UNASKED))
def test_what_google_answers_unasked_is_left_alone(resources: dict[str, dict[str, Any]], address: str) -> None:
    assert plain(lifecycle(resources[address])["ignore_changes"]) == UNASKED[address]


def test_nothing_that_we_set_is_left_alone(resources: dict[str, dict[str, Any]]) -> None:
    """A block of the service's own scaling here would never arrive."""
    ours = [body for address, body in resources.items() if address.startswith("google_cloud_run_v2_service.")]
    assert len(ours) == 2
    assert [body for body in ours if "scaling" in body] == []
    assert {address for address, body in resources.items() if "ignore_changes" in lifecycle(body)} >= set(UNASKED)
