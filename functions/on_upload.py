# SPDX-License-Identifier: Apache-2.0
"""A new object in the landing bucket: leave a receipt, launch the retraining job, return at once.

The receipt comes first. After this function's 2xx no event comes again, and what happens to the upload from then on
is told by its receipt: a launch that got lost is made up for by the sweeper.
"""

from __future__ import annotations

import logging
from functools import cache

import functions_framework
from cloudevents.http import CloudEvent
from werkzeug.exceptions import Forbidden, ServiceUnavailable

from dropfit import joblog, lease, settings, storage, summons
from dropfit.errors import BadRequest, Refused, Unavailable
from dropfit.events import uploaded_object
from dropfit.launch import Launcher, launcher
from dropfit.receipts import Receipts, UploadedObject
from dropfit.storage import Buckets

LOG = logging.getLogger("dropfit.on_upload")


@cache
def wired() -> tuple[settings.Settings, Buckets, Launcher]:
    """Settings, buckets and launcher, at the first event."""
    joblog.set_up_function()
    found = settings.load()
    return found, storage.connect(found), launcher(found)


def launch_one(buckets: Buckets, start: Launcher) -> None:
    """Launch the job; when that fails, the event that comes again must find nothing in its way."""
    try:
        start.launch()
    except (Unavailable, Refused):
        summons.give_back(buckets.data)
        raise


def take_in(uploaded: UploadedObject, seconds: float, buckets: Buckets, start: Launcher) -> str:
    """Leave a receipt and launch a job if none will come; returns `launched`, `waits` or `known`."""
    receipt, _ = Receipts(buckets.data).register(uploaded)
    if not receipt.is_open:
        return "known"
    # A job at work lists the receipts again after it gives its lease back, so it takes this one in.
    if lease.read(buckets.data)[0] is not None or not summons.claim(buckets.data, seconds):
        return "waits"
    launch_one(buckets, start)
    return "launched"


@functions_framework.cloud_event
def on_upload(event: CloudEvent) -> None:
    """Take in one `google.cloud.storage.object.v1.finalized` event of the landing bucket."""
    config, buckets, start = wired()
    name = ""
    try:
        uploaded = uploaded_object(event.get_attributes(), event.data, config.landing_bucket)
        name = uploaded.name
        outcome = take_in(uploaded, config.lease_seconds, buckets, start)
    except BadRequest as refused:
        LOG.warning("refused: %s", refused.detail, extra=joblog.fields("event", outcome="refused", object=name))
        raise Forbidden(refused.detail) from refused
    except (Unavailable, Refused) as fault:
        LOG.warning("%s: %s", name, fault, extra=joblog.fields("event", outcome="unavailable", object=name))
        # Rights may be mended while Eventarc still tries.
        raise ServiceUnavailable(str(fault)) from fault
    LOG.info("%s: %s", name, outcome, extra=joblog.fields("event", outcome=outcome, object=name))
