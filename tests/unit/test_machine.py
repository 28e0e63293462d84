# SPDX-License-Identifier: Apache-2.0
"""How many workers this machine is good for."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from dropfit import machine

AFFINE = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def test_without_a_quota_every_core_that_the_scheduler_allows_counts(tmp_path: Path) -> None:
    assert machine.cores(tmp_path) == AFFINE
    (tmp_path / "cpu.max").write_text("max 100000\n")
    assert machine.cores(tmp_path) == AFFINE


@pytest.mark.parametrize("quota", [5_000, 100_000])
def test_a_container_with_a_quota_of_one_core_or_less_gets_one(tmp_path: Path, quota: int) -> None:
    (tmp_path / "cpu.max").write_text(f"{quota} 100000\n")
    assert machine.cores(tmp_path) == 1


def test_the_older_kind_of_quota_counts_too(tmp_path: Path) -> None:
    (tmp_path / "cpu").mkdir()
    (tmp_path / "cpu/cpu.cfs_quota_us").write_text("100000\n")
    (tmp_path / "cpu/cpu.cfs_period_us").write_text("100000\n")
    assert machine.cores(tmp_path) == 1
    (tmp_path / "cpu/cpu.cfs_quota_us").write_text("-1\n")
    assert machine.cores(tmp_path) == AFFINE
