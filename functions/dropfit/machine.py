# SPDX-License-Identifier: Apache-2.0
"""How many cores of this machine are for us: what the scheduler allows, and what the container's quota allows."""

from __future__ import annotations

import math
import os
from pathlib import Path

CGROUP = Path("/sys/fs/cgroup")


def cores(cgroup: Path = CGROUP) -> int:
    """Cores this process may use, at least 1.

    Args:
        cgroup: where the kernel tells this container's quota, of version 2 or 1.
    """
    affine = getattr(os, "sched_getaffinity", None)  # Linux alone has it
    allowed = len(affine(0)) if affine else os.cpu_count() or 1
    return max(1, min(allowed, math.ceil(_quota(cgroup))))


def _quota(cgroup: Path) -> float:
    """Cores' worth of time that the container gets, infinite without a limit."""
    told = _words(cgroup / "cpu.max")
    if len(told) != 2:
        told = _words(cgroup / "cpu/cpu.cfs_quota_us") + _words(cgroup / "cpu/cpu.cfs_period_us")
    try:
        quota, period = (float(word) for word in told)
    except ValueError:  # "max", or nothing told
        return 2.0**16
    return quota / period if quota > 0 and period > 0 else 2.0**16


def _words(file: Path) -> list[str]:
    try:
        return file.read_text().split()
    except OSError:
        return []
