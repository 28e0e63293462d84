# SPDX-License-Identifier: Apache-2.0
"""What the serving path's own ways save beside the usual ones: ADR 15 quotes it.

.venv/bin/python -m benchmarks.hot_path

Each pair does the same work. Rounds are interleaved and the quickest counts. Warm is a tight loop; cold is the median
after 4 MB of other memory were read, which is how a server's code finds its caches.
"""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Awaitable, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")

import msgspec
import numpy as np
import onnxruntime
from rich.console import Console
from rich.table import Table
from starlette.responses import Response

from benchmarks.probe import rows
from dropfit import export
from dropfit.answers import Prediction
from dropfit.encoding import Encoder, learn
from dropfit.instances import InstanceDecoder
from dropfit.problem import problem
from dropfit.replies import Reply
from dropfit.rows import Rows
from dropfit.runtime import OnnxModel
from dropfit.training import train

Work = Callable[[], Any]
ROUNDS, WARM, COLD = 5, 2000, 150
ONE: dict[str, Any] = {"carrier": "UA", "origin": "EWR", "dest": "IAH", "weekday": 4, "hour": 17}
ASGI = {"type": "http", "method": "POST"}


class Collected(msgspec.Struct, omit_defaults=True):
    """A Prediction that the garbage collector looks after."""

    value: float
    source: str
    policy: tuple[str, ...]
    probabilities: dict[str, float] | None = None
    group: dict[str, str] | None = None
    steps: tuple[str, ...] = ()
    error: None = None


def warm(work: Work) -> float:
    """Microseconds in a tight loop."""
    began = time.perf_counter()
    for _ in range(WARM):
        work()
    return (time.perf_counter() - began) / WARM * 1e6


def cold(work: Work) -> float:
    """Median microseconds with cold caches."""
    other, spent = bytearray(4 * 2**20), []
    for _ in range(COLD):
        other.count(1)
        began = time.perf_counter_ns()
        work()
        spent.append(time.perf_counter_ns() - began)
    return sorted(spent)[COLD // 2] / 1000


def inputs() -> Iterator[tuple[str, str, Work]]:
    """Decoded instances -> the model's matrix; one row through the model."""
    data = rows()
    encoder = Encoder(problem, learn(problem, data), problem.derive)
    decoder, by_rows = InstanceDecoder(problem, 1000), Rows(encoder)

    def one(instances: list[Any]) -> list[float]:
        values, row, _ = by_rows.one(instances[0])
        return row + by_rows.derived_of_one(values)

    def few(instances: list[Any]) -> Any:
        values = by_rows.values(instances)
        return by_rows.matrix([*by_rows.codes(values)[0], *by_rows.derived(values)])

    for size, quick in ((1, one), (64, few)):
        asked = decoder.decode(msgspec.json.encode({"instances": [ONE] * size}))
        yield f"{size} to inputs", "rows.py", lambda quick=quick, asked=asked: quick(asked)
        yield f"{size} to inputs", "the batch path", lambda asked=asked: encoder.matrix(decoder.columns(asked))
    trained = train(problem, data)
    payload = export.export(trained.estimator, trained.sample, 2).payload
    row = one(decoder.decode(msgspec.json.encode({"instances": [ONE]})))
    bound, session = OnnxModel(payload).one_row(), onnxruntime.InferenceSession(payload, options())
    source, sink = session.get_inputs()[0].name, [session.get_outputs()[-1].name]
    yield "1 row of the model", "memory bound once", lambda: bound(row)
    yield "1 row of the model", "session.run", lambda: run(session, sink, source, row)


def run(session: Any, sink: list[str], source: str, row: list[float]) -> Any:
    """A list in, a list out, by what onnxruntime offers first."""
    return session.run(sink, {source: np.array([row], dtype=np.float32)})[0].tolist()[0]


def options() -> Any:
    """One thread, as serving has it."""
    made = onnxruntime.SessionOptions()
    made.intra_op_num_threads = made.inter_op_num_threads = 1
    return made


def outputs() -> Iterator[tuple[str, str, Work]]:
    """Values -> a reply's bytes -> ASGI."""
    encode, values = msgspec.json.Encoder().encode, np.linspace(0, 1, 64).tolist()
    yield "64 answers to JSON", "gc=False", lambda: encode([Prediction(value, "model", ()) for value in values])
    yield "64 answers to JSON", "collected", lambda: encode([Collected(value, "model", ()) for value in values])
    body = encode([Prediction(0.25, "model", ())])

    def sent(make: Callable[[], Any]) -> Work:
        return lambda: drive(make()(ASGI, nothing, nothing))

    yield "a reply made and sent", "Reply", sent(lambda: Reply(200, body))
    yield "a reply made and sent", "Starlette's Response", sent(lambda: Response(body, media_type="application/json"))


async def nothing(*message: Any) -> Any:
    """A web server that takes all and says nothing."""


def drive(running: Awaitable[None]) -> None:
    """Run what never waits, without an event loop's cost."""
    for _ in running.__await__():
        raise RuntimeError("it waits")


def handed_over() -> tuple[float, float]:
    """Microseconds to run nothing in a thread beside the event loop: warm and cold."""

    async def measured() -> tuple[float, float]:
        loop, pool, other = asyncio.get_running_loop(), ThreadPoolExecutor(1), bytearray(4 * 2**20)
        found = []
        for chill in (False, True):
            spent = []
            for _ in range(WARM // 4):
                if chill:
                    other.count(1)
                began = time.perf_counter_ns()
                await asyncio.wait({loop.run_in_executor(pool, int)}, timeout=1)
                spent.append(time.perf_counter_ns() - began)
            found.append(sorted(spent)[len(spent) // 2] / 1000)
        return found[0], found[1]

    return asyncio.run(measured())


def main() -> None:
    """Print the figures."""
    pairs = [*inputs(), *outputs()]
    found = {(what, how): [(warm(work), cold(work))] for what, how, work in pairs}
    for _ in range(ROUNDS - 1):
        for what, how, work in pairs:
            found[what, how].append((warm(work), cold(work)))
    found["nothing, in a thread", "run_in_executor"] = [handed_over() for _ in range(ROUNDS)]
    table = Table("what", "how", "warm us", "cold us")
    for (what, how), times in found.items():
        table.add_row(what, how, *(f"{min(column):.1f}" for column in zip(*times, strict=True)))
    Console().print(table)


if __name__ == "__main__":
    main()
