# SPDX-License-Identifier: Apache-2.0
"""One launch for a burst of uploads: a job that was launched and has not begun yet will take in what comes meanwhile.

A job needs seconds to start. Without the mark every upload of those seconds would launch another one, which finds the
lease taken and ends: measured, 62 jobs for 60 uploads.
"""

from __future__ import annotations

import datetime as dt
import secrets

from . import documents, lease
from .errors import Conflict
from .storage import Bucket

NAME = "leases/launch.json"


def claim(bucket: Bucket, seconds: float) -> bool:
    """Whether the caller is to launch a job; to be asked after its receipt was written.

    No, when somebody launched one less than so many seconds ago that has not taken the lease since: it lists the
    receipts after it takes the lease, and finds the caller's. Should it die before, the sweeper launches another.

    Args:
        bucket: the data bucket.
        seconds: how long a launched job may take to begin.
    """
    mark, taken = bucket.stat(NAME), bucket.stat(lease.NAME)
    if mark is not None and (taken is None or taken.updated < mark.updated):
        age = dt.datetime.now(dt.UTC) - mark.updated
        if age < dt.timedelta(seconds=seconds):
            return False
    payload = documents.encode({"nonce": secrets.token_hex(8)})
    try:
        bucket.replace(NAME, payload, mark.generation if mark else 0)
    except Conflict:
        return False  # another one claims it now, and launches after our receipt was written
    return True


def give_back(bucket: Bucket) -> None:
    """The launch failed: whoever comes next tries again."""
    bucket.delete(NAME)
