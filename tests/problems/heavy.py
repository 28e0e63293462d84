# SPDX-License-Identifier: Apache-2.0
"""The unit tests' cup of tea as a module, so that a server can serve it; and one whose derive function is slow.

Tests select it with DROPFIT_PROBLEM=heavy:problem or heavy:stubborn.
"""

from __future__ import annotations

import time

from fakes import GROUPS, derive, tea

from dropfit.contract import Columns

ROW_SECONDS = 0.02
REQUEST = 64
"""Larger batches are a job's, which need not wait."""


def slow(features: Columns) -> Columns:
    """20 ms of pure Python for each row of a request, in which no other thread runs Python."""
    rows = len(features["minutes"])
    until = time.thread_time() + ROW_SECONDS * rows * (rows <= REQUEST)
    while time.thread_time() < until:
        pass
    return derive(features)


problem = tea(backoff=GROUPS)
stubborn = tea(derive=slow, backoff=GROUPS)
