# SPDX-License-Identifier: Apache-2.0
"""A new object in the landing bucket: leave a receipt, launch the retraining job, return at once.

The receipt comes first. After this function's 2xx no event comes again, and what happens to the upload from then on
is told by its receipt: a launch that got lost is made up for by the sweeper.
"""

from __future__ import annotations

from functools import cache

import functions_framework
from cloudevents.http import CloudEvent
from werkzeug.exceptions import Forbidden, ServiceUnavailable

from dropfit import lease, settings, storage, summons
from dropfit.errors import BadRequest, Refused, Unavailable
from dropfit.events import uploaded_object
from dropfit.launch import Launcher, launcher
from dropfit.receipts import Receipts
from dropfit.storage import Buckets


@cache
def wired() -> tuple[settings.Settings, Buckets, Launcher]:
    """Settings, buckets and launcher, at the first event."""
    found = settings.load()
    return found, storage.connect(found), launcher(found)


def launch_one(buckets: Buckets, start: Launcher) -> None:
    """Launch the job; when that fails, the event that comes again must find nothing in its way."""
    try:
        start.launch()
    except (Unavailable, Refused):
        summons.give_back(buckets.data)
        raise


@functions_framework.cloud_event
def on_upload(event: CloudEvent) -> None:
    """Take in one `google.cloud.storage.object.v1.finalized` event of the landing bucket."""
    config, buckets, start = wired()
    try:
        uploaded = uploaded_object(event.get_attributes(), event.data, config.landing_bucket)
        receipt, _ = Receipts(buckets.data).register(uploaded)
        # A job at work lists the receipts again after it gives its lease back, so it takes this one in.
        if (
            receipt.is_open
            and lease.read(buckets.data)[0] is None
            and summons.claim(buckets.data, config.lease_seconds)
        ):
            launch_one(buckets, start)
    except BadRequest as refused:
        raise Forbidden(refused.detail) from refused
    except (Unavailable, Refused) as fault:
        # Rights may be mended while Eventarc still tries.
        raise ServiceUnavailable(str(fault)) from fault
