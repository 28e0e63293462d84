# SPDX-License-Identifier: Apache-2.0
"""What a batch prediction costs: arithmetic on inputs, and the arithmetic is shown."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import msgspec
import pytest
from typer.testing import CliRunner

from dropfit import cli, costs
from dropfit.costs import Prices, Work
from dropfit.errors import BadRequest

FREE = Prices(**dict.fromkeys(Prices.__struct_fields__, 0.0))


def amount(what: str, work: Work, **prices: float) -> float:
    """One line of the bill, where nothing else costs anything."""
    made = costs.bill(work, msgspec.structs.replace(FREE, **prices))
    [line] = [line for line in made.lines if line.what == what]
    assert made.total == line.amount
    return line.amount


def work(**changes: Any) -> Work:
    return Work(rows=72_000_000, rate=1000.0, machine="n2-standard-4", **changes)


def test_workers_are_paid_for_their_work_and_their_start() -> None:
    busy = 72_000_000 / 1000 / 3600  # vCPU-hours
    assert amount("vCPUs", work(workers=5, start_seconds=0), vcpu_hour=0.5) == pytest.approx(busy * 0.5)
    started = 5 * 4 * 180 / 3600
    assert amount("vCPUs", work(workers=5), vcpu_hour=0.5) == pytest.approx((busy + started) * 0.5)
    assert amount("memory", work(workers=5), gb_hour=0.5) == pytest.approx((busy + started) * 4 * 0.5)
    assert amount("disks", work(workers=5), disk_gb_hour=0.5) == pytest.approx((busy + started) / 4 * 25 * 0.5)


def test_requests_are_paid_for_by_bytes_and_shards() -> None:
    some = work(bytes_read=80 * costs.READ, shard_rows=1_000_000)
    assert amount("reads", some, read_1000=1000) == 80 + 72
    assert amount("writes", some, write_1000=1000) == 2 * 72


def test_what_is_kept_is_paid_for_by_the_month() -> None:
    some = work(months=3, shard_row_bytes=10, table_row_bytes=100)
    assert amount("shards", some, storage_gb_month=2) == pytest.approx(0.72 * 3 * 2)
    assert amount("table", some, table_gb_month=2) == pytest.approx(7.2 * 3 * 2)


def test_the_total_is_the_sum_of_its_lines() -> None:
    made = costs.bill(work(), Prices())
    assert made.total == pytest.approx(sum(line.amount for line in made.lines))
    assert made.total > 0


def test_without_a_number_there_is_a_worker_for_every_five_minutes_of_work_and_not_too_many() -> None:
    assert costs.bill(work(), Prices()).workers == 10
    assert costs.bill(work(most=1000), Prices()).workers == 60
    assert costs.bill(work(most=1000), Prices()).seconds == 180 + 300
    assert costs.bill(msgspec.structs.replace(work(), rows=0), Prices()).workers == 1


@pytest.mark.parametrize(
    ("machine", "shape"),
    [
        ("n2-standard-4", (4, 16)),
        ("n1-standard-1", (1, 3.75)),
        ("e2-highmem-8", (8, 64)),
        ("n2d-highcpu-16", (16, 16)),
        ("n2-custom-6-20480", (6, 20)),
        ("custom-2-4096", (2, 4)),
    ],
)
def test_a_machines_name_says_its_vcpus_and_memory(machine: str, shape: tuple[int, float]) -> None:
    assert costs.shape(machine) == shape


@pytest.mark.parametrize("changes", [{"rows": -1}, {"rate": 0}, {"machine": "f1-micro"}, {"shard_rows": 0}])
def test_what_makes_no_sense_is_refused(changes: dict[str, Any]) -> None:
    with pytest.raises(BadRequest):
        costs.bill(msgspec.structs.replace(work(), **changes), Prices())


def test_the_command_prints_the_arithmetic_with_its_numbers() -> None:
    done = CliRunner().invoke(
        cli.app, ["batch", "cost", "--rows", "1000000000", "--workers", "2", "--vcpu-hour", "0.1"]
    )
    assert done.exit_code == 0, done.output
    assert "1,000,000,000 rows / 376,000 rows a vCPU-second / (2 x 4 vCPU) + 180 s to start = 512 s" in done.output
    assert "2 x 512 s x 4 vCPU x 0.1/h" in done.output
    assert "total" in done.output


def test_the_commands_defaults_are_the_modules() -> None:
    done = CliRunner().invoke(cli.app, ["batch", "cost", "--rows", "1000", "--json"])
    assert json.loads(done.output)["total"] == pytest.approx(costs.bill(Work(rows=1000), Prices()).total)


def test_programs_get_plain_json_also_where_a_build_forces_colours(clean: dict[str, str]) -> None:
    dropfit = Path(sys.executable).with_name("dropfit")
    command = [str(dropfit), "batch", "cost", "--rows", "1000", "--json"]
    environ = clean | {"FORCE_COLOR": "1", "GITHUB_ACTIONS": "true"}
    done = subprocess.run(command, env=environ, capture_output=True, text=True, timeout=300, check=True)
    assert json.loads(done.stdout)["total"] > 0
