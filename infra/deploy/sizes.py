# SPDX-License-Identifier: Apache-2.0
"""How deployments are used, as inputs of their bill: hobby, team, large, and one that nobody uses."""

from __future__ import annotations

from typing import Literal

import msgspec

DAYS = 365.25 / 12
"""Of a month."""


class Size(msgspec.Struct, frozen=True, kw_only=True):
    """How a deployment is used.

    Attributes:
        predictions_per_day: requests of one instance each.
        peak: requests in the busiest second, beside the average's.
        cpu_us: processor time of a request: the model's, of docs/serving.md.
        busy: share of a vCPU that requests may take: Cloud Run aims at 0.6, and a vCPU is half a core.
        min_instances: of predict.
        vcpu, gib: of an instance of predict.
        billing: Cloud Run's, of predict: by `requests` or by `instances`.
        starts: of instances of predict in a month. Between two rounds of the uptime check one that waits may be gone.
        start_seconds: of such a start; it is billed.
        pointer_seconds: an instance looks for a new version at most this often.
        outside: share of the replies that leave Google Cloud or the region.
        uploads: a month.
        upload_mb: of a file.
        months: that files and versions have gathered.
        version_mb: of a model version with its head.
        retrain_seconds: of a training, its container's start included. On the laptop 5 s of it were work.
        retrain_vcpu, retrain_gib: of the job.
        table_rows: keys in the table.
        tables: of them that are kept.
        queried_gib: by analysts.
        sweeps_per_day: as sweep_schedule says.
        sweep_seconds: of a sweep; 0.3 s of it were work on the laptop.
        sweep_vcpu, sweep_gib: of its job.
        log_share: of the requests that the prediction log holds.
        request_log: whether Cloud Run's own entries of predict's requests are kept.
        log_days: that the log bucket keeps entries.
        uptime_seconds: between two checks of /ready from one region.
        uptime_regions: that check.
        conditions: of alerts that evaluate a metric.
        counters, distributions: log-based metrics.
        schedules: jobs of Cloud Scheduler.
        deploys: a month: three images each.
        build_minutes: of the three.
        builds: runs of cloudbuild.yaml, of pull requests too.
        pipeline_minutes: of one.
        releases: images of so many are kept.
    """

    predictions_per_day: float = 0.0
    peak: float = 3.0
    cpu_us: float = 149.0
    busy: float = 0.3
    min_instances: int = 0
    vcpu: float = 1.0
    gib: float = 1.0
    billing: Literal["requests", "instances"] = "requests"
    starts: float = 96 * DAYS
    start_seconds: float = 5.0
    pointer_seconds: float = 1.0
    outside: float = 1.0
    uploads: float = 0.0
    upload_mb: float = 2.5
    months: float = 12.0
    version_mb: float = 0.5
    retrain_seconds: float = 60.0
    retrain_vcpu: float = 2.0
    retrain_gib: float = 8.0
    table_rows: float = 15_188.0
    tables: float = 6.0
    queried_gib: float = 0.0
    sweeps_per_day: float = 96.0
    sweep_seconds: float = 20.0
    sweep_vcpu: float = 1.0
    sweep_gib: float = 1.0
    log_share: float = 1.0
    request_log: bool = True
    log_days: float = 30.0
    uptime_seconds: float = 900.0
    uptime_regions: int = 3
    conditions: int = 7
    counters: int = 4
    distributions: int = 2
    schedules: int = 1
    deploys: float = 0.0
    build_minutes: float = 15.0
    builds: float = 0.0
    pipeline_minutes: float = 20.0
    releases: float = 1.0


SIZES = {
    "idle": Size(),
    "hobby": Size(predictions_per_day=300, uploads=1, queried_gib=1, deploys=2, releases=10),
    "team": Size(
        predictions_per_day=100_000,
        min_instances=1,
        starts=120,
        uploads=DAYS,
        upload_mb=10,
        version_mb=5,
        retrain_seconds=300,
        table_rows=100_000,
        queried_gib=100,
        deploys=20,
        builds=60,
        releases=10,
    ),
    "large": Size(
        predictions_per_day=10_000_000,
        min_instances=2,
        starts=120,
        uploads=DAYS,
        upload_mb=500,
        version_mb=50,
        retrain_seconds=1_800,
        table_rows=1_000_000,
        queried_gib=2_000,
        deploys=40,
        builds=120,
        releases=10,
    ),
}
"""Those of docs/deploy.md; `idle` is deployed once, with one release, and nobody uses it."""


VARIANTS = {
    "team, no minimum of instances: cold starts": msgspec.structs.replace(SIZES["team"], min_instances=0),
    "team, deployed by `dropfit deploy` instead of Cloud Build's triggers": msgspec.structs.replace(
        SIZES["team"], builds=0
    ),
    "large, `DROPFIT_LOG_SHARE=0.1`": msgspec.structs.replace(SIZES["large"], log_share=0.1),
    "large, without Cloud Run's own request log": msgspec.structs.replace(SIZES["large"], request_log=False),
    "large, predict billed by instances": msgspec.structs.replace(SIZES["large"], billing="instances"),
    "large, all three of these": msgspec.structs.replace(
        SIZES["large"], log_share=0.1, request_log=False, billing="instances"
    ),
    "large, callers in the same region": msgspec.structs.replace(SIZES["large"], outside=0.0),
}
"""What a choice is worth: a name, and its size."""
