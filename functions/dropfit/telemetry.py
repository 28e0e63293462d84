# SPDX-License-Identifier: Apache-2.0
"""What one instance counts of itself, and the text of `GET /metrics`.

Counting is plain ints and dicts on the event loop's thread, because every request pays for it; the text is made by
prometheus_client, which is imported when somebody asks for it. Names follow
https://prometheus.io/docs/practices/naming/.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from itertools import accumulate
from typing import TYPE_CHECKING, Any

import msgspec

from .answers import SOURCES, Prediction
from .replies import METHODS

if TYPE_CHECKING:
    from prometheus_client.core import Metric

PREFIX = "dropfit"
OTHER = "other"
"""The label of every path that there is not: what a client writes never becomes a label."""
BUCKETS = (0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
"""Upper bounds of the histogram, seconds: a table hit is in the first ones, the default deadline is one of them."""


class State(msgspec.Struct, frozen=True, kw_only=True):
    """What the gauges say, as it is now.

    Attributes:
        mode: static, dynamic or hybrid.
        ready: what `/ready` says.
        version: what is served; empty while nothing is.
        problem: name of its contract.
        runtime: what executes its model.
        fixed_seconds: estimated cost of a call of the model, however many its rows.
        row_seconds: estimated cost of each row on top.
        log_dropped: lines that the prediction log dropped since the start.
        swaps: versions that took the place of another.
        swap_failures: times that a version could not be loaded, each new attempt at the same one included.
    """

    mode: str
    ready: bool
    version: str = ""
    problem: str = ""
    runtime: str = ""
    fixed_seconds: float = 0.0
    row_seconds: float = 0.0
    log_dropped: int = 0
    swaps: int = 0
    swap_failures: int = 0


class Telemetry:
    """Counters of one instance since its start; only the event loop's thread counts."""

    def __init__(self) -> None:
        self._requests: defaultdict[tuple[str, int], int] = defaultdict(int)
        self._times: dict[str, list[int]] = {path: [0] * (len(BUCKETS) + 1) for path in (*METHODS, OTHER)}
        self._seconds: dict[str, float] = dict.fromkeys(self._times, 0.0)
        self._sources: dict[str, int] = dict.fromkeys(SOURCES, 0)
        self._rules: defaultdict[str, int] = defaultdict(int)
        self._steps: defaultdict[str, int] = defaultdict(int)
        self._errors: defaultdict[str, int] = defaultdict(int)

    def request(self, path: str, status: int, seconds: float) -> None:
        """Count a request that has been answered.

        Args:
            path: as the client wrote it.
            status: of the reply.
            seconds: from the moment its body was complete to the reply.
        """
        times = self._times.get(path)
        if times is None:
            path = OTHER
            times = self._times[path]
        times[bisect_left(BUCKETS, seconds)] += 1
        self._seconds[path] += seconds
        self._requests[path, status] += 1

    def predictions(self, answers: list[Prediction]) -> None:
        """Count the answers of a request, one or more: most often they are alike, and then this is one addition."""
        usual, alike = answers[0].source, 0
        for answer in answers:
            if answer.source is usual and not answer.policy and not answer.steps and answer.error is None:
                alike += 1
                continue
            self._sources[answer.source] += 1
            for rule in answer.policy:
                self._rules[rule] += 1
            for step in answer.steps:
                self._steps[step] += 1
            if answer.error is not None:
                self._errors[answer.error.status] += 1
        self._sources[usual] += alike

    def exposition(self, state: State) -> tuple[bytes, str]:
        """The metrics in Prometheus' text form, and its content type.

        May run in a thread while requests are counted; the first call had better, because it imports the library.
        """
        # Not at the start: it costs 30 to 45 ms, and most instances are never asked.
        from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4, generate_latest
        from prometheus_client.registry import CollectorRegistry

        registry = CollectorRegistry()
        registry.register(_Collector([*self._counted(state), *_gauges(state)]))
        return generate_latest(registry), CONTENT_TYPE_PLAIN_0_0_4

    def _counted(self, state: State) -> Iterator[Metric]:
        requests = {(path, str(status)): count for (path, status), count in dict(self._requests).items()}
        yield _counter("requests", "Requests answered.", requests, "path", "status")
        yield self._latency()
        yield _counter("predictions", "Instances answered, by where the value comes from.", self._sources, "source")
        yield _counter("policy", "Times that a rule of the policy changed or withheld a value.", self._rules, "rule")
        yield _counter("steps", "Times that a source was passed over for the next one.", self._steps, "step")
        yield _counter("errors", "Instances without an answer, by Google's canonical code.", self._errors, "code")
        yield _counter("log_dropped", "Lines that the prediction log dropped.", {(): state.log_dropped})
        yield _counter("swaps", "Versions that took the place of another.", {(): state.swaps})
        yield _counter("swap_failures", "Times that a version could not be loaded.", {(): state.swap_failures})

    def _latency(self) -> Metric:
        from prometheus_client.core import HistogramMetricFamily

        family = HistogramMetricFamily(f"{PREFIX}_request_seconds", "Time to answer a request.", labels=["path"])
        bounds = [*map(str, BUCKETS), "+Inf"]
        for path, times in self._times.items():
            if path == "/predict" or any(times):
                cumulative = zip(bounds, map(float, accumulate(times)), strict=True)
                family.add_metric([path], list(cumulative), self._seconds[path])
        return family


class _Collector:
    """What prometheus_client asks for metrics."""

    def __init__(self, families: list[Metric]) -> None:
        self._families = families

    def collect(self) -> Iterable[Metric]:
        return self._families


def _counter(name: str, says: str, counts: Mapping[Any, int], *labels: str) -> Metric:
    from prometheus_client.core import CounterMetricFamily

    family = CounterMetricFamily(f"{PREFIX}_{name}", says, labels=labels)
    for key, count in dict(counts).items():  # a copy: requests may go on being counted
        family.add_metric((key,) if isinstance(key, str) else key, count)
    return family


def _gauges(state: State) -> Iterator[Metric]:
    from prometheus_client.core import GaugeMetricFamily

    yield GaugeMetricFamily(f"{PREFIX}_ready", "1 when /ready says yes.", value=float(state.ready))
    cost = GaugeMetricFamily(
        f"{PREFIX}_model_cost_seconds", "Estimated cost of the model: fixed for a call, and per row.", labels=["part"]
    )
    info = GaugeMetricFamily(
        f"{PREFIX}_model_info", "1 for the version being served.", labels=["version", "problem", "mode", "runtime"]
    )
    if state.version:
        info.add_metric([state.version, state.problem, state.mode, state.runtime], 1.0)
        cost.add_metric(["fixed"], state.fixed_seconds)
        cost.add_metric(["row"], state.row_seconds)
    yield info
    yield cost
