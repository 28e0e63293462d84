# SPDX-License-Identifier: Apache-2.0
"""What watches: every alert that was promised, over numbers made of lines that our code really writes."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import filters
import msgspec
import pytest
from planning import ROOT, VARIABLES, planned
from watched import WRITTEN, Resource, named, passing

from dropfit.answers import SOURCES
from dropfit.settings import Settings

pytestmark = pytest.mark.infra
ALERTS = {
    "not_ready",
    "errors",
    "unanswered",
    "slow",
    "quarantined",
    "failed_uploads",
    "failed_runs",
    "failed_executions",
    "silent_sweep",
    "dead_letters",
}
BUILT_IN = {
    "monitoring.googleapis.com/uptime_check/check_passed": {"check_id"},
    "pubsub.googleapis.com/subscription/num_undelivered_messages": set(),
    "run.googleapis.com/container/instance_count": {"state"},
    "run.googleapis.com/job/completed_execution_count": {"result"},
    "run.googleapis.com/request_count": {"response_code_class"},
}
"""Google's own metrics that are used, with their labels: cloud.google.com/monitoring/api/metrics_gcp."""
RESOURCES = {
    "cloud_run_revision": {"service_name"},
    "cloud_run_job": {"job_name"},
    "pubsub_subscription": {"subscription_id"},
    "uptime_url": {"host"},
}
AGENT = "@gcp-sa-monitoring-notification.iam.gserviceaccount.com"


@pytest.fixture
def alerts(resources: list[Resource]) -> dict[str, Resource]:
    return named(resources, "google_monitoring_alert_policy")


@pytest.fixture
def metrics(resources: list[Resource]) -> dict[str, Resource]:
    """Our metrics by the type that Cloud Monitoring gives them."""
    ours = named(resources, "google_logging_metric").values()
    return {f"logging.googleapis.com/user/{metric['name']}": metric for metric in ours}


def labels(metric: Resource) -> set[str]:
    (descriptor,) = metric["metric_descriptor"]
    return {label["key"] for label in descriptor["labels"]}


def test_every_alert_that_was_promised_is_there_and_says_what_to_do(alerts: dict[str, Resource]) -> None:
    assert set(alerts) == ALERTS
    for name, alert in alerts.items():
        (text,) = alert["documentation"]
        assert text["subject"].startswith("[dev] dropfit: "), name
        assert "\n1. " in text["content"], name
        assert text["content"].rstrip().endswith('More: docs/operate.md, "Alerts, and what each one asks of you".')
        assert alert["severity"] in ("CRITICAL", "ERROR", "WARNING")
        assert alert["enabled"] is not False


def test_every_alert_reaches_everybody_who_is_to_be_told(
    resources: list[Resource], alerts: dict[str, Resource]
) -> None:
    channels = named(resources, "google_monitoring_notification_channel").values()
    assert [c["labels"]["email_address"] for c in channels] == VARIABLES["alert_emails"]
    assert {name for name, alert in alerts.items() if len(alert["notification_channels"]) != 1} == set()


def test_the_guide_names_every_alert_as_the_email_does(alerts: dict[str, Resource]) -> None:
    guide = (ROOT / "docs/operate.md").read_text()
    section = guide.split("## Alerts, and what each one asks of you\n")[1].split("\n## ")[0]
    titles = {alert["display_name"].removeprefix("dropfit: ") for alert in alerts.values()}
    assert titles == set(re.findall(r"^\| \*\*([^*]+)\*\*", section, re.M))


def test_a_policy_over_logs_or_in_promql_has_that_one_condition_as_google_wants_it(
    alerts: dict[str, Resource],
) -> None:
    for alert in alerts.values():
        kinds = [kind for c in alert["conditions"] for kind in c if kind.startswith("condition_") and c[kind]]
        if {"condition_matched_log", "condition_prometheus_query_language"} & set(kinds):
            assert len(kinds) == 1
        if "condition_matched_log" in kinds:
            assert alert["alert_strategy"][0]["notification_rate_limit"]


def test_each_metric_counts_the_lines_it_is_named_for(metrics: dict[str, Resource]) -> None:
    counted = {name.rsplit("/user/", 1)[1]: passing(metric["filter"]) for name, metric in metrics.items()}
    requests = [("prediction", 200)] * len(SOURCES) + [("prediction", 400), ("prediction", 503)]
    uploads = [("upload", o) for o in ("promoted", "kept", "superseded", "quarantined", "failed")]
    runs = [("run", outcome) for outcome in ("promoted", "nothing", "failed")]
    assert counted == {
        "dropfit/requests": requests,
        "dropfit/latency": requests,
        **{f"dropfit/answers/{source}": [("prediction", 200)] for source in SOURCES},
        "dropfit/uploads": uploads,
        "dropfit/runs": runs,
        "dropfit/run_seconds": runs,
    }


def test_every_field_that_is_extracted_stands_in_every_line_that_is_counted(metrics: dict[str, Resource]) -> None:
    for metric in metrics.values():
        extractors = metric["label_extractors"] or {}
        assert set(extractors) == labels(metric)
        taken = [*extractors.values(), *filter(None, [metric["value_extractor"]])]
        for entry in WRITTEN:
            if filters.holds(metric["filter"], entry):
                values = [filters.extracted(text, entry) for text in taken]
                assert not metric["value_extractor"] or isinstance(values[-1], float)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("quarantined", [("upload", "quarantined")]),
        ("failed_uploads", [("upload", "failed")]),
        ("failed_runs", [("run", "failed")]),
    ],
)
def test_an_alert_over_lines_fires_for_those_that_it_means_and_names_them(
    alerts: dict[str, Resource], name: str, expected: list[tuple[str, str]]
) -> None:
    (condition,) = alerts[name]["conditions"]
    (matched,) = condition["condition_matched_log"]
    assert passing(matched["filter"]) == expected
    (entry,) = [entry for entry in WRITTEN if filters.holds(matched["filter"], entry)]
    said = {key: filters.extracted(text, entry) for key, text in matched["label_extractors"].items()}
    assert all(said.values())
    text = alerts[name]["documentation"][0]
    shown = re.findall(r"\$\{log\.extracted_label\.(\w+)\}", text["subject"] + text["content"])
    assert set(shown) == set(said)


def monitored(value: Any) -> Iterator[str]:
    """Every filter of Cloud Monitoring in a resource."""
    if isinstance(value, dict):
        for key, inner in value.items():
            if isinstance(inner, str) and key in ("filter", "denominator_filter") and "metric.type=" in inner:
                yield inner
            else:
                yield from monitored(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from monitored(inner)


def known(text: str, metrics: dict[str, Resource]) -> None:
    """Fail when a filter of Cloud Monitoring names a metric, a resource or a label that there is not."""
    (kind,), (resource,) = re.findall(r'metric\.type="([^"]+)"', text), re.findall(r'resource\.type="([^"]+)"', text)
    assert kind in BUILT_IN or kind in metrics, text
    assert resource in RESOURCES, text
    used = set(re.findall(r"metric\.labels?\.(\w+)", text))
    assert used <= (labels(metrics[kind]) if kind in metrics else BUILT_IN[kind]), text
    assert set(re.findall(r"resource\.labels?\.(\w+)", text)) <= RESOURCES[resource], text


def test_every_filter_of_an_alert_names_what_there_is(
    alerts: dict[str, Resource], metrics: dict[str, Resource]
) -> None:
    found = [text for alert in alerts.values() for text in monitored(alert["conditions"])]
    assert len(found) == 5  # that of the uptime check is known after its id is
    for text in found:
        known(text, metrics)


def test_every_query_names_metrics_and_labels_of_ours(
    alerts: dict[str, Resource], metrics: dict[str, Resource]
) -> None:
    mapped = {"logging_googleapis_com:user_" + re.sub(r"\W", "_", m["name"]): m for m in metrics.values()}
    for name in ("errors", "slow"):
        (condition,) = alerts[name]["conditions"]
        (promql,) = condition["condition_prometheus_query_language"]
        assert promql["disable_metric_validation"] is True
        used = re.findall(r"(logging_googleapis_com:\w+)\{([^}]*)\}", promql["query"])
        assert len(used) == promql["query"].count("increase(") >= 2
        for metric, matchers in used:
            there = mapped[re.sub(r"_(bucket|count)\Z", "", metric)]
            distribution = there["metric_descriptor"][0]["value_type"] == "DISTRIBUTION"
            assert distribution == metric.endswith(("_bucket", "_count"))
            assert set(re.findall(r"(\w+)=", matchers)) - {"monitored_resource"} <= labels(there)


def test_an_error_of_ours_is_what_the_query_takes_for_one(alerts: dict[str, Resource]) -> None:
    (condition,) = alerts["errors"]["conditions"]
    (pattern,) = set(re.findall(r'status=~"([^"]+)"', condition["condition_prometheus_query_language"][0]["query"]))
    statuses = [str(e["jsonPayload"]["status"]) for e in WRITTEN if e["jsonPayload"]["kind"] == "prediction"]
    assert [s for s in statuses if re.fullmatch(pattern, s)] == ["503"]


def slowness(resources: list[Resource]) -> str:
    (condition,) = named(resources, "google_monitoring_alert_policy")["slow"]["conditions"]
    return str(condition["condition_prometheus_query_language"][0]["query"])


def test_slow_is_what_is_beyond_the_deadline(infra: Path, resources: list[Resource]) -> None:
    default = {field.name: field.default for field in msgspec.structs.fields(Settings)}["deadline_ms"]
    assert f"> {default:.0f} and" in slowness(resources)
    other = planned(infra, VARIABLES | {"settings": {"deadline_ms": "250"}})
    assert "> 250 and" in slowness(other["planned_values"]["root_module"]["resources"])


def test_readiness_is_asked_with_a_token_of_the_agent_that_may_call(resources: list[Resource]) -> None:
    (check,) = named(resources, "google_monitoring_uptime_check_config").values()
    (asked,) = check["http_check"]
    assert (asked["path"], asked["use_ssl"], asked["validate_ssl"]) == ("/ready", True, True)
    assert asked["service_agent_authentication"] == [{"type": "OIDC_TOKEN"}]
    assert asked["accepted_response_status_codes"] == [{"status_class": None, "status_value": 200}]
    assert (check["period"], check["selected_regions"]) == ("900s", ["USA"])
    grants = named(resources, "google_cloud_run_v2_service_iam_member").values()
    (grant,) = [g for g in grants if AGENT in str(g["member"])]
    assert (grant["name"], grant["role"]) == ("dropfit-predict", "roles/run.invoker")
    assert re.fullmatch(r"serviceAccount:service-[\w-]+" + re.escape(AGENT), grant["member"])


def test_a_deployment_that_tells_nobody_can_be_planned(infra: Path) -> None:
    found = planned(infra, VARIABLES | {"alert_emails": []})["planned_values"]["root_module"]["resources"]
    assert set(named(found, "google_monitoring_alert_policy")) == ALERTS


def empty(document: Any) -> Iterator[Any]:
    """Zeros and empty lists in it, at whatever depth."""
    if isinstance(document, dict | list):
        if not document:
            yield document
        for inner in document.values() if isinstance(document, dict) else document:
            yield from empty(inner)
    elif document in (0, "", None):
        yield document


def test_the_dashboard_says_nothing_that_google_leaves_out_of_its_answer(resources: list[Resource]) -> None:
    (dashboard,) = named(resources, "google_monitoring_dashboard").values()
    assert list(empty({"tiles": [{"xPos": 0}], "thresholds": []})) == [0, []]
    assert list(empty(json.loads(dashboard["dashboard_json"]))) == []  # it would differ with every plan


def test_the_dashboard_shows_every_number_of_ours_and_names_none_that_there_is_not(
    resources: list[Resource], metrics: dict[str, Resource]
) -> None:
    (dashboard,) = named(resources, "google_monitoring_dashboard").values()
    page = json.loads(dashboard["dashboard_json"])
    shown = list(monitored(page))
    for text in shown:
        known(text, metrics)
    kinds = {re.findall(r'metric\.type="([^"]+)"', text)[0] for text in shown}
    assert set(metrics) <= kinds
    layout = page["mosaicLayout"]
    cells = [
        (tile.get("xPos", 0) + x, tile.get("yPos", 0) + y)
        for tile in layout["tiles"]
        for x in range(tile["width"])
        for y in range(tile["height"])
    ]
    assert len(cells) == len(set(cells))
    assert max(x for x, _ in cells) < layout["columns"]
    grouped = re.findall(r'"metric\.label\.(\w+)"', dashboard["dashboard_json"])
    assert set(grouped) <= {"status", "outcome", "code", "state", "response_code_class"}


def test_what_our_code_names_its_sources_is_what_is_counted(metrics: dict[str, Resource]) -> None:
    answers = {name.rsplit("/", 1)[1] for name in metrics if "/answers/" in name}
    assert answers == set(SOURCES)
