# SPDX-License-Identifier: Apache-2.0
"""The local Eventarc's process: `python -m localcloud.eventarc OPTIONS`, the options being JSON."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import logging
import signal
import sys
from collections.abc import Collection
from pathlib import Path

import httpx
import msgspec
import uvicorn

from .. import logging_sink
from . import endpoints, sweeper
from .chaos import unruly
from .delivery import Delivery, post_to
from .options import Options
from .publisher import Publisher, start_server
from .queue import Event, Queue

LOG_SECONDS = 0.5
"""Pause between two looks for new log lines."""


async def run(options: Options) -> None:
    """Serve until SIGTERM or SIGINT.

    Raises:
        OSError, RuntimeError: when a port is taken.
        sqlite3.Error: when the queue cannot be opened.
    """
    queue = Queue(Path(options.database))
    config = uvicorn.Config(endpoints.app(queue.counts), host="127.0.0.1", port=options.http_port, log_config=None)
    http = uvicorn.Server(config)
    _end_on_signals(http)
    client = httpx.AsyncClient(timeout=options.request_timeout, trust_env=False)
    send = unruly(post_to(client, options.target), options.chaos)
    delivery = Delivery(queue, send, options)

    def accept(events: Collection[Event]) -> None:
        queue.add(events)
        delivery.wake()

    publisher = await start_server(Publisher(accept), options.grpc_port)
    delivering = asyncio.create_task(delivery.run())
    # Without its loop the process is of no use and must not look healthy.
    delivering.add_done_callback(lambda _: setattr(http, "should_exit", True))
    stop_sweeping, stop_logging = _sweep(options), _take_in_logs(options)
    try:
        await http.serve()  # returns on a signal
    finally:
        stop_sweeping()
        stop_logging()
        await publisher.stop(grace=1.0)
        delivering.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await delivering
        await client.aclose()
        queue.close()


def _end_on_signals(http: uvicorn.Server) -> None:
    # uvicorn catches them while it serves and raises them once more after: neither a signal that comes before nor
    # that echo may cut short an orderly end.
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: setattr(http, "should_exit", True))


def _sweep(options: Options) -> sweeper.Stop:
    if not options.sweep:
        return lambda: None
    return sweeper.start(functools.partial(sweeper.dropfit_sweep, options.sweep), options.sweep_seconds)


def _take_in_logs(options: Options) -> sweeper.Stop:
    if not options.log:
        return lambda: None
    pump = logging_sink.pumping(options.log, options.log_cursor, options.bigquery, options.project)
    return sweeper.start(pump, LOG_SECONDS)


if __name__ == "__main__":
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    for chatty in ("httpx", "uvicorn.access"):
        logging.getLogger(chatty).setLevel(logging.WARNING)
    asyncio.run(run(msgspec.json.decode(sys.argv[1], type=Options)))
