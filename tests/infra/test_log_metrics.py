# SPDX-License-Identifier: Apache-2.0
"""Whose lines are counted, and how large what is counted may be."""

from __future__ import annotations

from typing import Any

import entries
import filters
import pytest

pytestmark = pytest.mark.infra
Values = dict[str, Any]
LONGEST = {"dropfit/latency": 120_000, "dropfit/run_seconds": 86_400}
"""Metric -> what has to be told from more: predict's longest request in milliseconds, a job's in seconds."""


@pytest.fixture
def metrics(resources: list[Values]) -> dict[str, Values]:
    return {r["values"]["name"]: r["values"] for r in resources if r["type"] == "google_logging_metric"}


def elsewhere(entry: Values, label: str, name: str) -> Values:
    """The same line of another service or job."""
    return {**entry, "resource": {**entry["resource"], "labels": {label: name}}}


def test_a_line_of_another_service_or_job_is_neither_counted_nor_kept(
    metrics: dict[str, Values], resources: list[Values]
) -> None:
    strange = [
        elsewhere(entries.of_predict(), "service_name", "shop"),
        elsewhere(entries.of_upload("promoted"), "job_name", "shop"),
        elsewhere(entries.of_run("promoted"), "job_name", "shop"),
    ]
    told = {name: metric["filter"] for name, metric in metrics.items()}
    for kind in ("google_logging_project_sink", "google_logging_project_exclusion"):
        told |= {r["address"]: r["values"]["filter"] for r in resources if r["type"] == kind}
    assert len(told) > 8
    assert [name for name, text in told.items() if any(filters.holds(text, entry) for entry in strange)] == []


def test_an_outcome_that_the_sweep_settles_is_counted_too(metrics: dict[str, Values]) -> None:
    settled = elsewhere(entries.of_upload("promoted"), "job_name", "dropfit-sweep")
    assert [name for name, metric in metrics.items() if filters.holds(metric["filter"], settled)] == [
        "dropfit/uploads"
    ]


def test_the_longest_that_there_can_be_is_told_from_more(metrics: dict[str, Values]) -> None:
    spans = {}
    for name, metric in metrics.items():
        for options in metric["bucket_options"]:
            (grows,) = options["exponential_buckets"]
            spans[name] = grows["scale"] * grows["growth_factor"] ** grows["num_finite_buckets"]
            assert grows["growth_factor"] <= 1.25, "a percentile is right to a quarter of itself"
    assert set(spans) == set(LONGEST)
    assert {name: most for name, most in spans.items() if most < LONGEST[name]} == {}
