# SPDX-License-Identifier: Apache-2.0
"""The job's loop around its rounds: who works, who leaves, and when."""

from __future__ import annotations

import datetime as dt
from typing import Any

from fakes import settings, tea

from beam_pipelines import retrain
from beam_pipelines.intake import Services
from dropfit import orders
from dropfit.lease import Lease
from dropfit.receipts import Receipts
from dropfit.registry import Registry
from dropfit.storage import Buckets


def services(buckets: Buckets) -> Services:
    return Services(settings(), tea(), buckets, Receipts(buckets.data), Registry(buckets.models))


def test_a_job_whose_clock_is_ahead_leaves_a_living_one_alone_and_does_not_turn_in_circles(buckets: Buckets) -> None:
    data: Any = buckets.data
    orders.ask(data, ())
    data.clock = lambda: dt.datetime.now(dt.UTC) - dt.timedelta(minutes=10)  # storage's clock is the right one
    with Lease(data, "living", 60):
        retrain.work(services(buckets), "ahead")
    assert orders.waiting(data)
