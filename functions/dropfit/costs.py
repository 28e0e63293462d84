# SPDX-License-Identifier: Apache-2.0
"""What a batch prediction on Dataflow costs: rows, bytes and prices in, a bill and its arithmetic out.

The prices are inputs. Their defaults are Google's list prices for us-central1 as of November 2025, for a first guess:
check them against cloud.google.com/dataflow/pricing, /storage/pricing and /bigquery/pricing.
"""

from __future__ import annotations

import math
import re
from typing import NamedTuple

import msgspec

from .errors import BadRequest

MEMORY = {"standard": 4.0, "highmem": 8.0, "highcpu": 1.0}
"""GB for each vCPU of the n2, n2d and e2 machines."""
OLD = {"standard": 3.75, "highmem": 6.5, "highcpu": 0.9}
"""Of the n1 machines."""
GB = 1e9
READ = 8 * 1024**2
"""Bytes that one request reads."""
SOON = 300.0
"""Seconds of work for which another worker is worth its start, where their number is not given."""


class Prices(msgspec.Struct, frozen=True, kw_only=True):
    """What a unit costs, in one currency.

    Attributes:
        vcpu_hour: of a Dataflow batch worker.
        gb_hour: of its memory.
        disk_gb_hour: of its boot disk.
        shuffle_gb: of data that Dataflow Shuffle processes.
        write_1000: class A operations of Cloud Storage.
        read_1000: class B operations.
        storage_gb_month: of Cloud Storage.
        table_gb_month: of BigQuery's storage. Loading is free.
    """

    vcpu_hour: float = 0.056
    gb_hour: float = 0.003557
    disk_gb_hour: float = 0.000054
    shuffle_gb: float = 0.011
    write_1000: float = 0.005
    read_1000: float = 0.0004
    storage_gb_month: float = 0.020
    table_gb_month: float = 0.023


class Work(msgspec.Struct, frozen=True, kw_only=True):
    """What is to be predicted, and with what.

    Attributes:
        rows: how many.
        bytes_read: of the input; 0: 20 a row, as compressed Parquet has them.
        rate: rows that one vCPU predicts in a second, reading and writing included. Measured in November 2026 with
            the flights' model, each row asked for: 10,000,000 in 13.3 s on 2 cores. Where inputs come again, more.
        machine: type of the workers.
        workers: how many; 0: one for every five minutes of work, at most `most`.
        most: the most that autoscaling may start.
        start_seconds: of a worker, until it predicts; they are paid for.
        disk_gb: of a worker.
        shard_rows: rows of one written piece, each a shard and a marker.
        shard_row_bytes: of a row in a shard.
        table_row_bytes: of a row in BigQuery, uncompressed.
        months: how long shards and table are kept.
    """

    rows: int
    bytes_read: int = 0
    rate: float = 376_000.0
    machine: str = "n2-standard-4"
    workers: int = 0
    most: int = 10
    start_seconds: float = 180.0
    disk_gb: float = 25.0
    shard_rows: int = 250_000
    shard_row_bytes: float = 16.0
    table_row_bytes: float = 120.0
    months: float = 1.0


class Line(NamedTuple):
    """One line of the bill.

    Attributes:
        what: is paid for.
        how: the arithmetic, with its numbers.
        amount: in the prices' currency.
    """

    what: str
    how: str
    amount: float


class Bill(NamedTuple):
    """What it comes to.

    Attributes:
        lines: one for each thing that is paid for.
        workers: how many work.
        seconds: from the first worker's start to the end.
        total: of the lines.
    """

    lines: list[Line]
    workers: int
    seconds: float
    total: float


def shape(machine: str) -> tuple[int, float]:
    """vCPUs and GB of memory that a machine type's name says.

    Raises:
        BadRequest: when it does not say them.
    """
    found = re.fullmatch(r"(\w+)-(standard|highmem|highcpu)-(\d+)", machine)
    if found:
        family, kind, vcpus = found.groups()
        return int(vcpus), int(vcpus) * (OLD if family == "n1" else MEMORY)[kind]
    custom = re.fullmatch(r"(?:\w+-)?custom-(\d+)-(\d+)(?:-ext)?", machine)
    if custom:
        return int(custom[1]), int(custom[2]) / 1024
    raise BadRequest(f"{machine!r} does not say its vCPUs: n2-standard-4 and n2-custom-4-8192 do")


def bill(work: Work, prices: Prices) -> Bill:
    """What the work costs.

    Raises:
        BadRequest: when the machine's name does not say its vCPUs, or a number makes no sense.
    """
    given = [v for each in (work, prices) for v in msgspec.structs.astuple(each) if not isinstance(v, str)]
    if not all(math.isfinite(v) and v >= 0 for v in given) or not (work.rate and work.shard_rows):
        raise BadRequest("numbers and prices must be 0 or more; rate and rows of a shard more than 0")
    vcpus, memory = shape(work.machine)
    busy = work.rows / work.rate
    workers = work.workers or max(1, min(work.most, math.ceil(busy / vcpus / SOON)))
    seconds = work.start_seconds + busy / vcpus / workers
    hours = workers * seconds / 3600
    disks = hours * work.disk_gb
    pieces = math.ceil(work.rows / work.shard_rows)
    read = work.bytes_read or 20 * work.rows
    reads, writes = math.ceil(read / READ) + pieces, 2 * pieces
    shards, table = work.rows * work.shard_row_bytes / GB, work.rows * work.table_row_bytes / GB
    spent = f"{workers} x {seconds:,.0f} s"
    lines = [
        Line("vCPUs", f"{spent} x {vcpus} vCPU x {prices.vcpu_hour}/h", hours * vcpus * prices.vcpu_hour),
        Line("memory", f"{spent} x {memory:g} GB x {prices.gb_hour}/h", hours * memory * prices.gb_hour),
        Line("disks", f"{spent} x {work.disk_gb:g} GB x {prices.disk_gb_hour:f}/h", disks * prices.disk_gb_hour),
        # Elements are descriptions of work: a kilobyte a piece goes through the one shuffle.
        Line("shuffle", f"{pieces:,} kB x {prices.shuffle_gb}/GB", pieces * 1000 / GB * prices.shuffle_gb),
        Line("reads", f"{reads:,} x {prices.read_1000}/1000", reads / 1000 * prices.read_1000),
        Line("writes", f"{writes:,} x {prices.write_1000}/1000", writes / 1000 * prices.write_1000),
        Line("shards", *_kept(shards, work.months, prices.storage_gb_month)),
        Line("table", *_kept(table, work.months, prices.table_gb_month)),
        Line("load job", "free", 0.0),
    ]
    return Bill(lines, workers, seconds, sum(line.amount for line in lines))


def _kept(size: float, months: float, price: float) -> tuple[str, float]:
    return f"{size:,.3f} GB x {months:g} months x {price}/GB", size * months * price


def told(work: Work, made: Bill) -> str:
    """The bill for people."""
    vcpus, _ = shape(work.machine)
    head = (
        f"{work.rows:,} rows / {work.rate:,.0f} rows a vCPU-second / ({made.workers} x {vcpus} vCPU) + "
        f"{work.start_seconds:g} s to start = {made.seconds:,.0f} s on {made.workers} x {work.machine}"
    )
    body = [f"{line.what:9} {line.amount:10.4f}  = {line.how}" for line in made.lines]
    return "\n".join([head, *body, f"{'total':9} {made.total:10.4f}  (check the prices: they are inputs)"])
