# SPDX-License-Identifier: Apache-2.0
"""Load by the tools that everybody has: wrk as fast as the server goes, hey at a fixed rate."""

from __future__ import annotations

import csv
import math
import shutil
import subprocess
from pathlib import Path
from typing import NamedTuple

SCRIPT = Path(__file__).with_name("rotate.lua")
CONNECTIONS = 8
HEY_WORKERS = 10


class LoadError(RuntimeError):
    """A load tool is missing, or said something that is not understood."""


class Burst(NamedTuple):
    """What wrk saw.

    Attributes:
        requests: answered.
        seconds: how long it took.
        p99_ms: milliseconds that 99 of 100 stayed under, at full load.
        errors: connections that failed, time-outs, and statuses over 399.
    """

    requests: int
    seconds: float
    p99_ms: float
    errors: int


class Steady(NamedTuple):
    """What hey saw at its fixed rate.

    Attributes:
        sent: requests sent.
        p50_ms: the median, in milliseconds.
        p99_ms: milliseconds that 99 of 100 stayed under.
        rate: answers a second.
        errors: requests without an answer, or with another than 200.
    """

    sent: int
    p50_ms: float
    p99_ms: float
    rate: float
    errors: int


def missing() -> list[str]:
    """What is not installed, each with how to get it."""
    return [
        f"{tool} is not installed: apt-get install {tool}" for tool in ("wrk", "hey") if shutil.which(tool) is None
    ]


def flood(url: str, bodies: Path, seconds: float) -> Burst:
    """Send a file's bodies in turn over eight connections, each as soon as the one before is answered.

    Args:
        url: where to.
        bodies: one body a line.
        seconds: how long; wrk takes whole ones.
    """
    whole = max(1, round(seconds))
    command = ["wrk", "-t1", f"-c{CONNECTIONS}", f"-d{whole}s", "--timeout", "20s", "-s", str(SCRIPT), url]
    return parse_wrk(_said([*command, "--", str(bodies)], whole + 60))


def parse_wrk(text: str) -> Burst:
    """The line that rotate.lua prints.

    Raises:
        LoadError: when there is none.
    """
    line = next((line for line in text.splitlines() if line.startswith("WRK ")), None)
    if line is None:
        raise LoadError(f"wrk said: {text[-500:]}")
    requests, microseconds, p99, errors = (int(word) for word in line.split()[1:])
    return Burst(requests, microseconds / 1e6, p99 / 1e3, errors)


def fixed_rate(url: str, body: Path, rate: int, seconds: float) -> Steady:
    """Send one body at so many requests a second; hey's own limit is per worker.

    Args:
        url: where to.
        body: file that holds it.
        rate: requests a second, all workers together.
        seconds: how long.
    """
    number = round(rate * seconds / HEY_WORKERS) * HEY_WORKERS
    command = ["hey", "-n", str(number), "-c", str(HEY_WORKERS), "-q", str(rate / HEY_WORKERS), "-o", "csv"]
    command += ["-m", "POST", "-T", "application/json", "-D", str(body), url]
    return parse_hey(_said(command, seconds + 60), number)


def parse_hey(text: str, sent: int) -> Steady:
    """The CSV of `hey -o csv`: a line per request that was answered; one without an answer has none.

    Args:
        text: what hey printed.
        sent: how many requests it was told to send.

    Raises:
        LoadError: when nothing was answered.
    """
    rows = list(csv.DictReader(line for line in text.splitlines() if line.count(",") == 7))
    if not rows:
        raise LoadError(f"hey had no answer: {text[-500:]}")
    taken = sorted(1000 * float(row["response-time"]) for row in rows)
    good = sum(row["status-code"] == "200" for row in rows)
    last = max(float(row["offset"]) for row in rows) or 1.0
    return Steady(sent, percentile(taken, 0.5), percentile(taken, 0.99), len(rows) / last, sent - good)


def percentile(ordered: list[float], share: float) -> float:
    """The value that this share of an ascending list does not exceed (nearest rank)."""
    return ordered[max(0, math.ceil(share * len(ordered)) - 1)]


def _said(command: list[str], timeout: float) -> str:
    done = subprocess.run(command, capture_output=True, text=True, timeout=timeout, check=False)
    if done.returncode:
        raise LoadError(f"{command[0]} ended with {done.returncode}: {(done.stderr or done.stdout)[-500:]}")
    return done.stdout
