# SPDX-License-Identifier: Apache-2.0
"""What the local Eventarc can be told; its process gets it as one JSON argument."""

from __future__ import annotations

import msgspec

from .chaos import Chaos


class Options(msgspec.Struct, frozen=True, kw_only=True):
    """Where it listens and delivers, and how patiently.

    Eventarc itself backs off from 10 s to 600 s; a laptop's person waits, hence the shorter times.

    Attributes:
        database: file of the queue.
        http_port: token endpoint and health.
        grpc_port: the Pub/Sub Publisher.
        target: URL that events are POSTed to.
        backoff_min: seconds before the first retry.
        backoff_max: the longest pause between two attempts, in seconds.
        retention: seconds after which an undelivered event is dead.
        concurrency: how many deliveries may be under way at once.
        request_timeout: seconds that the target has to answer.
        sweep: `module:attribute` of a function that takes Settings; empty for none.
        sweep_seconds: pause between two sweeps.
        log: the predict function's log, whose lines become log entries; empty for none.
        log_cursor: file that says how far it was read.
        bigquery: base URL of the BigQuery emulator.
        project: Google Cloud project.
        chaos: what happens to events on their way, for tests.
    """

    database: str = ""
    http_port: int = 0
    grpc_port: int = 0
    target: str = ""
    backoff_min: float = 1.0
    backoff_max: float = 60.0
    retention: float = 24 * 3600.0
    concurrency: int = 8
    request_timeout: float = 60.0
    sweep: str = "dropfit.sweep:sweep"
    sweep_seconds: float = 10.0
    log: str = ""
    log_cursor: str = ""
    bigquery: str = ""
    project: str = ""
    chaos: Chaos = Chaos()
