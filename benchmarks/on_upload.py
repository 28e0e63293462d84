# SPDX-License-Identifier: Apache-2.0
"""How soon on_upload answers: the first event of a process, events that launch a job, events while a job is at work.

    .venv/bin/python -m benchmarks.on_upload            # about 2 minutes

Events are real CloudEvents, sent over HTTP to the function in its own process; the receipts are written to the
storage emulator and the jobs are started for real. Between two launching events the machine is left to come to rest.
"""

from __future__ import annotations

import itertools
import os
import tempfile
import time
from pathlib import Path

import httpx
import numpy as np
from rich.console import Console
from rich.progress import track

from dropfit import display, events, settings, storage
from dropfit.lease import Lease
from dropfit.settings import Settings
from localcloud.cloud import LocalCloud

LAUNCHING = 30
AT_WORK = 200
NUMBERS = itertools.count(1)


def send(client: httpx.Client, config: Settings) -> float:
    """Send one event of an upload nobody has seen; returns milliseconds to the answer."""
    number = next(NUMBERS)
    name = f"file {number}.csv"
    headers = {
        "ce-specversion": "1.0",
        "ce-id": str(number),
        "ce-type": events.FINALIZED,
        "ce-source": events.source_of(config.landing_bucket),
        "ce-subject": "objects/file.csv",
    }
    data = {"bucket": config.landing_bucket, "name": name, "generation": str(number)}
    begun = time.perf_counter()
    reply = client.post(config.on_upload_url, json=data, headers=headers)
    taken = 1000 * (time.perf_counter() - begun)
    reply.raise_for_status()
    return taken


def rest(config: Settings) -> None:
    """Wait until no job runs."""
    while list(Path(config.jobs_dir).glob("*.pid")):
        time.sleep(0.05)


def main() -> None:
    """Measure and print."""
    table = display.grid("on_upload, milliseconds to its 2xx", "event", "n", "p50", "p95", "max")
    with tempfile.TemporaryDirectory() as folder, LocalCloud(Path(folder)) as cloud, httpx.Client() as client:
        os.environ.update(cloud.env)
        config = settings.load()
        first = send(client, config)
        rest(config)
        launching = []
        for _ in track(range(LAUNCHING), "launching a job each time", transient=True):
            launching.append(send(client, config))
            rest(config)
        with Lease(storage.connect(config).data, "benchmark", 600):
            at_work = [send(client, config) for _ in track(range(AT_WORK), "while a job is at work", transient=True)]
        jobs = len(list(Path(config.jobs_dir).glob("retrain-*.log")))
    for what, taken in {
        "the first of a process": [first],
        "warm, launching a job": launching,
        "warm, a job at work": at_work,
    }.items():
        table.add_row(what, str(len(taken)), *(f"{np.percentile(taken, q):.0f}" for q in (50, 95, 100)))
    Console().print(table)
    Console().print(f"{jobs} jobs were launched")


if __name__ == "__main__":
    main()
