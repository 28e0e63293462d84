# SPDX-License-Identifier: Apache-2.0
"""What a deployment uses in a month: a size of sizes.py in, quantities of what Google bills out.

What was measured says so; the rest is assumed.
"""

from __future__ import annotations

import math
from typing import NamedTuple

from .sizes import DAYS, Size

MONTH = DAYS * 86_400.0
"""Seconds."""
KIB, MIB, GIB = 2.0**10, 2.0**20, 2.0**30
ROUNDED = 0.1
"""Cloud Run bills the time in which an instance answers anything, rounded up to this: seconds."""
TASK = 60.0
"""Seconds that a job's task counts for at least."""
EVALUATED = MONTH / 30
"""Times a month that an alert condition is evaluated."""
QUERY = 10 * MIB
"""Bytes that a query of BigQuery counts for at least."""

# Measured in November 2026 with the flights' problem on the laptop's cloud, by counting its calls of storage.
RUN_WRITES, RUN_READS, RUN_QUERIES = 63, 115, 10
"""Of a training that ends with a promotion: class A and B operations, queries."""
SWEEP_WRITES, SWEEP_READS, SWEEP_QUERIES = 6, 9, 1
"""Of a sweep that finds nothing to do: lists count as writes."""
EVENT_WRITES, EVENT_READS = 2, 4
"""Of on_upload."""
START_READS = 13
"""Of an instance of predict that loads its first version."""
LINE = 664
"""Bytes of the prediction log's line: one instance, answered from the table, with a trace."""
ENVELOPE = 700
"""Bytes that Cloud Logging puts around a line: resource, labels, names, times. Assumed."""
REQUEST_LOG = 1_100
"""Bytes of the entry that Cloud Run itself writes for every request. Assumed."""
REPLY = 244 + 300
"""Bytes of a reply: 244 measured, headers of ours included; what Google's front adds is assumed."""
TABLE_ROW = 120
"""Bytes of a row in BigQuery: as in dropfit/costs.py."""
JOB_IMAGE, FUNCTION_IMAGE = 0.30, 0.15
"""GiB, compressed: requirements/jobs.txt is 0.94 GB installed and 0.25 packed, functions.txt 0.17 and 0.05."""


SERIES = 5
"""Time series of a log-based metric, one for each combination of its labels. Assumed."""
MACHINE = "E2_HIGHCPU_8"
"""Of cloudbuild.yaml."""


class Use(NamedTuple):
    """A quantity that Google bills.

    Attributes:
        item: of the bill.
        price: its name in prices.toml.
        quantity: in the price's units.
        how: the arithmetic, or what it is, for people.
    """

    item: str
    price: str
    quantity: float
    how: str


def uses(size: Size) -> list[Use]:
    """Everything that a month of this size uses, in the bill's order."""
    return [
        *_predict(size),
        *_training(size),
        *_sweeping(size),
        *_kept(size),
        *_logs(size),
        *_watching(size),
        *_code(size),
    ]


def instances(size: Size) -> int:
    """Instances of predict that its busiest second needs, and at least one while anything comes."""
    needed = _rate(size) * size.peak * size.cpu_us / 1e6 / size.busy / size.vcpu
    return max(size.min_instances, math.ceil(needed))


def _requests(size: Size) -> tuple[float, float]:
    """A month's predictions, and its checks of /ready, which are requests like others."""
    return size.predictions_per_day * DAYS, size.uptime_regions * MONTH / size.uptime_seconds


def _rate(size: Size) -> float:
    return sum(_requests(size)) / MONTH


def _predict(size: Size) -> list[Use]:
    predictions, checks = _requests(size)
    running = instances(size)
    rate = _rate(size) / running if running else 0.0
    # Requests come at random: an instance is billed while any of those of the last 0.1 s was there.
    share = 1 - math.exp(-rate * ROUNDED)
    active = running * MONTH * share + size.starts * size.start_seconds
    idle = min(size.min_instances, running) * MONTH * (1 - share)
    looks = running * MONTH * rate / (1 + rate * size.pointer_seconds)
    said = f"{running} x {MONTH:,.0f} s, {share:.1%} of them busy, and {size.starts:,.0f} starts"
    waits = f"{size.min_instances} that wait for {1 - share:.1%} of the month"
    if size.billing == "instances":
        whole, said = running * MONTH, f"{running} x {MONTH:,.0f} s, busy or not"
        compute = [
            Use("predict", "job_cpu", whole * size.vcpu, said),
            Use("predict", "job_memory", whole * size.gib, said),
        ]
    else:
        compute = [
            Use("predict", "run_cpu", active * size.vcpu, said),
            Use("predict", "run_memory", active * size.gib, said),
            Use(
                "requests",
                "run_requests",
                predictions + checks,
                f"{predictions:,.0f} predictions, {checks:,.0f} checks",
            ),
            Use("minimum instances", "idle_cpu", idle * size.vcpu, waits),
            Use("minimum instances", "idle_memory", idle * size.gib, waits),
        ]
    return [
        *compute,
        Use(
            "Cloud Storage",
            "storage_reads",
            looks + size.starts * START_READS,
            "looks at the pointer, loaded versions",
        ),
        Use("internet", "internet", predictions * size.outside * REPLY / GIB, f"{REPLY} bytes a reply"),
    ]


def _training(size: Size) -> list[Use]:
    runs = size.uploads
    billed = runs * max(TASK, size.retrain_seconds)
    said = f"{runs:.4g} x {max(TASK, size.retrain_seconds):g} s"
    scanned = runs * RUN_QUERIES * max(QUERY, size.table_rows * TABLE_ROW)
    answered = runs * (1 + size.start_seconds)
    return [
        Use("on_upload", "run_cpu", answered, f"{runs:.4g} uploads"),
        Use("on_upload", "run_memory", answered * 0.5, f"{runs:.4g} uploads"),
        Use("on_upload", "run_requests", runs, f"{runs:.4g} uploads"),
        Use("events", "messages", runs * 2 * 4 * KIB / GIB, "published and pushed, 4 KiB each"),
        Use("retrain job", "job_cpu", billed * size.retrain_vcpu, f"{said} x {size.retrain_vcpu:g} vCPU"),
        Use("retrain job", "job_memory", billed * size.retrain_gib, f"{said} x {size.retrain_gib:g} GiB"),
        Use(
            "Cloud Storage", "storage_writes", runs * (RUN_WRITES + EVENT_WRITES), f"{runs:.4g} trainings and events"
        ),
        Use("Cloud Storage", "storage_reads", runs * (RUN_READS + EVENT_READS), f"{runs:.4g} trainings and events"),
        Use("BigQuery", "queries", scanned / GIB, f"{runs:.4g} trainings x {RUN_QUERIES} queries"),
    ]


def _sweeping(size: Size) -> list[Use]:
    sweeps = size.sweeps_per_day * DAYS
    billed = sweeps * max(TASK, size.sweep_seconds)
    said = f"{sweeps:,.0f} x {max(TASK, size.sweep_seconds):g} s"
    return [
        Use("sweep job", "job_cpu", billed * size.sweep_vcpu, f"{said} x {size.sweep_vcpu:g} vCPU"),
        Use("sweep job", "job_memory", billed * size.sweep_gib, f"{said} x {size.sweep_gib:g} GiB"),
        Use("sweep job", "storage_writes", sweeps * SWEEP_WRITES, f"{sweeps:,.0f} x {SWEEP_WRITES} lists"),
        Use("sweep job", "storage_reads", sweeps * SWEEP_READS, f"{sweeps:,.0f} x {SWEEP_READS}"),
        Use(
            "sweep job",
            "queries",
            sweeps * SWEEP_QUERIES * QUERY / GIB,
            f"{sweeps:,.0f} x 10 MiB, the least of a query",
        ),
        Use("Cloud Scheduler", "schedules", size.schedules, "runs are not counted, jobs are"),
    ]


def _kept(size: Size) -> list[Use]:
    gathered = size.months * size.uploads
    # Beside the files a tenth of them, accepted and quarantined rows; soft-deleted for a week, a megabyte an upload.
    stored = gathered * (size.upload_mb * 1.1 + size.version_mb) + size.uploads / DAYS * 7 * 1.0
    tables = size.table_rows * TABLE_ROW * size.tables if gathered else 0.0
    return [
        Use(
            "Cloud Storage", "storage", stored * 1e6 / GIB, f"{size.months:g} months' files and versions, soft delete"
        ),
        Use("BigQuery", "tables", tables / GIB, f"{size.tables:g} tables of {size.table_rows:,.0f} rows"),
        Use("BigQuery", "queries", size.queried_gib, "analysts"),
    ]


def _logs(size: Size) -> list[Use]:
    predictions, checks = _requests(size)
    lines = predictions * size.log_share * (LINE + ENVELOPE) / GIB
    entries = (predictions + checks) * REQUEST_LOG / GIB * size.request_log
    later = max(0.0, size.log_days - 30) / 30
    return [
        Use("prediction log", "logs", lines, f"{LINE} + {ENVELOPE} bytes a request, log_share {size.log_share:g}"),
        Use("prediction log", "logs_kept", lines * later, f"{size.log_days:g} days, 30 are free"),
        Use("request log", "logs", entries, f"Cloud Run's own, {REQUEST_LOG} bytes a request"),
    ]


def _watching(size: Size) -> list[Use]:
    series = SERIES if size.predictions_per_day or size.uploads else 0  # they count entries, of which there are none
    points = MONTH / 60 * series * (8 * size.counters + 80 * size.distributions) / MIB
    _, checks = _requests(size)
    return [
        Use(
            "monitoring",
            "metrics",
            points,
            f"{size.counters} counters, {size.distributions} distributions, by the minute",
        ),
        Use("monitoring", "uptime_checks", checks, f"{size.uptime_regions} regions, every {size.uptime_seconds:g} s"),
        Use("alerts", "alert_conditions", size.conditions, "conditions on metrics"),
        Use("alerts", "alert_points", size.conditions * EVALUATED, f"{size.conditions} x every 30 s"),
    ]


def _code(size: Size) -> list[Use]:
    images = size.releases * (JOB_IMAGE + 2 * FUNCTION_IMAGE)
    built, run = size.deploys * size.build_minutes, size.builds * size.pipeline_minutes
    return [
        Use("images", "images", images, f"{size.releases:g} releases of a job and two functions"),
        Use("image builds", "build_minutes", built, f"{size.deploys:g} x {size.build_minutes:g} min"),
        Use("pipeline", "pipeline_minutes", run, f"{size.builds:g} x {size.pipeline_minutes:g} min on {MACHINE}"),
    ]
