# SPDX-License-Identifier: Apache-2.0
"""What each alert waits for: of which thing, of which sort, how much of it, and for how long."""

from __future__ import annotations

import json
import re
from typing import Any, NamedTuple

import pytest

pytestmark = pytest.mark.infra
Values = dict[str, Any]

LABEL = re.compile(r'(metric|resource)\.labels\.(\w+)=(?:one_of\(([^)]*)\)|"([^"]*)")')


class Waits(NamedTuple):
    """What a condition over one of Google's metrics waits for."""

    metric: str
    of: dict[str, set[str]]
    above: float | None
    seconds: int


CONDITIONS = {
    "unanswered": Waits(
        "run.googleapis.com/request_count",
        {"service_name": {"dropfit-predict"}, "response_code_class": {"5xx"}},
        0.1,
        1800,
    ),
    "failed_executions": Waits(
        "run.googleapis.com/job/completed_execution_count",
        {"job_name": {"dropfit-retrain", "dropfit-sweep"}, "result": {"failed"}},
        0,
        0,
    ),
    "silent_sweep": Waits(
        "run.googleapis.com/job/completed_execution_count", {"job_name": {"dropfit-sweep"}}, None, 2 * 3600
    ),
    "dead_letters": Waits(
        "pubsub.googleapis.com/subscription/num_undelivered_messages",
        {"subscription_id": {"dropfit-dead-letters"}},
        0,
        0,
    ),
}
"""Alert -> its condition; `above` is None where it waits for silence."""


def named(resources: list[Values], kind: str) -> dict[str, Values]:
    return {r["name"]: r["values"] for r in resources if r["type"] == kind}


@pytest.fixture
def alerts(resources: list[Values]) -> dict[str, Values]:
    return named(resources, "google_monitoring_alert_policy")


def labels(text: str) -> dict[str, set[str]]:
    """Label -> the values that a filter of Cloud Monitoring lets pass."""
    return {name: set(re.findall(r'"([^"]+)"', many)) or {one} for _, name, many, one in LABEL.findall(text)}


def metric(text: str) -> str:
    (kind,) = re.findall(r'metric\.type="([^"]+)"', text)
    return str(kind)


@pytest.mark.parametrize("name", CONDITIONS)
def test_an_alert_waits_for_this_and_for_so_long(name: str, alerts: dict[str, Values]) -> None:
    (condition,) = alerts[name]["conditions"]
    silence = CONDITIONS[name].above is None
    (asked,) = condition["condition_absent" if silence else "condition_threshold"]
    if not silence:
        assert asked["comparison"] == "COMPARISON_GT"
    found = Waits(
        metric(asked["filter"]),
        labels(asked["filter"]),
        asked.get("threshold_value"),
        int(asked["duration"].removesuffix("s")),
    )
    assert found == CONDITIONS[name]


def test_a_share_is_of_all_requests_to_the_same_function(alerts: dict[str, Values]) -> None:
    (condition,) = alerts["unanswered"]["conditions"]
    (asked,) = condition["condition_threshold"]
    assert metric(asked["denominator_filter"]) == metric(asked["filter"])
    assert labels(asked["denominator_filter"]) == {"service_name": {"dropfit-predict"}}
    (above,), (below,) = asked["aggregations"], asked["denominator_aggregations"]
    assert above == below, "both are counted alike"


def test_predictions_fail_when_more_than_one_in_a_hundred_and_more_than_one_do(alerts: dict[str, Values]) -> None:
    query = promql(alerts["errors"])
    failed = r'sum\(increase\(\S+\{monitored_resource="cloud_run_revision", status=~"5\.\."\}\[10m\]\)\)'
    every = r'sum\(increase\(\S+\{monitored_resource="cloud_run_revision"\}\[10m\]\)\)'
    assert re.fullmatch(rf"{failed} > 1\.5 and {failed} / {every} > 0\.01", query)


def test_predictions_are_slow_when_one_in_a_hundred_is_for_a_quarter_of_an_hour(alerts: dict[str, Values]) -> None:
    query = promql(alerts["slow"])
    latency = r'increase\(\S+_bucket\{monitored_resource="cloud_run_revision"\}\[5m\]\)'
    count = r'sum\(increase\(\S+_count\{monitored_resource="cloud_run_revision"\}\[5m\]\)\)'
    assert re.fullmatch(rf"histogram_quantile\(0\.99, sum by \(le\) \({latency}\)\) > 100 and {count} > 20", query)
    assert alerts["slow"]["conditions"][0]["condition_prometheus_query_language"][0]["duration"] == "900s"


def promql(alert: Values) -> str:
    (condition,) = alert["conditions"]
    return str(condition["condition_prometheus_query_language"][0]["query"])


def test_predict_is_not_ready_when_two_places_or_more_say_so(plan: Values, alerts: dict[str, Values]) -> None:
    (condition,) = alerts["not_ready"]["conditions"]
    (asked,) = condition["condition_threshold"]
    assert (asked["comparison"], asked["threshold_value"], asked["duration"]) == ("COMPARISON_GT", 1, "60s")
    (how,) = asked["aggregations"]
    assert (how["per_series_aligner"], how["cross_series_reducer"]) == ("ALIGN_NEXT_OLDER", "REDUCE_COUNT_FALSE")
    configured = plan["configuration"]["root_module"]["resources"]
    (said,) = [r for r in configured if r["address"] == "google_monitoring_alert_policy.not_ready"]
    names = said["expressions"]["conditions"][0]["condition_threshold"][0]["filter"]["references"]
    assert "google_monitoring_uptime_check_config.ready.uptime_check_id" in names, "it looks at our own check"


def test_readiness_is_asked_of_predict(plan: Values) -> None:
    configured = plan["configuration"]["root_module"]["resources"]
    (check,) = [r for r in configured if r["type"] == "google_monitoring_uptime_check_config"]
    names = check["expressions"]["monitored_resource"][0]["labels"]["references"]
    assert "google_cloud_run_v2_service.predict.uri" in names


def test_what_happens_once_is_not_told_of_for_ever(alerts: dict[str, Values]) -> None:
    for name in ("quarantined", "failed_uploads", "failed_runs", "failed_executions"):
        (strategy,) = alerts[name]["alert_strategy"]
        assert strategy["auto_close"] == "86400s", f"{name}: nothing more may come for a long time"


def test_everything_that_a_chart_or_an_alert_names_is_planned(
    resources: list[Values], alerts: dict[str, Values]
) -> None:
    there = {
        "service_name": {v["name"] for v in named(resources, "google_cloud_run_v2_service").values()},
        "job_name": {v["name"] for v in named(resources, "google_cloud_run_v2_job").values()},
        "subscription_id": {v["name"] for v in named(resources, "google_pubsub_subscription").values()},
    }
    (dashboard,) = named(resources, "google_monitoring_dashboard").values()
    text = json.dumps([alerts, json.loads(dashboard["dashboard_json"])]).replace('\\"', '"').replace('\\\\"', '"')
    for name, known in there.items():
        named_so = labels(text).get(name, set()) | set(re.findall(rf'resource\.labels\.{name}="([^"]+)"', text))
        assert named_so, name
        assert named_so <= known, name


CHARTS = {
    "Share of requests with an error of ours": 'metric.labels.status=starts_with("5")',
    "Quarantine: uploads by why": 'metric.labels.outcome="quarantined"',
    "Executions of the jobs that failed": 'metric.labels.result="failed"',
    "Dead letters that wait for somebody": 'resource.labels.subscription_id="dropfit-dead-letters"',
}
"""Chart -> what its lines are narrowed to."""


def test_a_chart_shows_what_it_is_called(resources: list[Values]) -> None:
    (dashboard,) = named(resources, "google_monitoring_dashboard").values()
    tiles = json.loads(dashboard["dashboard_json"])["mosaicLayout"]["tiles"]
    charts = {tile["widget"]["title"]: tile["widget"]["xyChart"]["dataSets"] for tile in tiles}
    for title, narrowed in CHARTS.items():
        (line,) = charts[title]
        query = line["timeSeriesQuery"]
        filters = query.get("timeSeriesFilter") or query["timeSeriesFilterRatio"]["numerator"]
        assert narrowed in filters["filter"], title
