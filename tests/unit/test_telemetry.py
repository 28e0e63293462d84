# SPDX-License-Identifier: Apache-2.0
"""What an instance counts of itself, read as Prometheus reads it."""

from __future__ import annotations

import re
import subprocess
import sys
import threading
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client.parser import text_string_to_metric_families

from dropfit.answers import SOURCES, Failure, Prediction
from dropfit.replies import METHODS
from dropfit.telemetry import BUCKETS, State, Telemetry

STATE = State(mode="hybrid", ready=True, version="v1", problem="tea", runtime="onnxruntime")
UNITS = ("seconds", "info", "ready")


def scrape(telemetry: Telemetry, state: State = STATE) -> dict[tuple[str, frozenset[tuple[str, str]]], float]:
    """Every sample of the text: name and labels -> value."""
    samples = {}
    for family in text_string_to_metric_families(telemetry.exposition(state)[0].decode()):
        for sample in family.samples:
            where = sample.name, frozenset(sample.labels.items())
            assert where not in samples, f"{where} stands there twice"
            samples[where] = sample.value
    return samples


def value(telemetry: Telemetry, name: str, state: State = STATE, **labels: str) -> float | None:
    return scrape(telemetry, state).get((f"dropfit_{name}", frozenset(labels.items())))


def test_a_request_is_counted_by_path_and_status_and_timed_by_path() -> None:
    telemetry = Telemetry()
    telemetry.request("/predict", 200, 0.0003)
    telemetry.request("/predict", 200, 0.2)
    telemetry.request("/predict", 400, 0.0001)
    telemetry.request("/health", 200, 30.0)
    assert value(telemetry, "requests_total", path="/predict", status="200") == 2
    assert value(telemetry, "requests_total", path="/predict", status="400") == 1
    assert value(telemetry, "request_seconds_count", path="/predict") == 3
    assert value(telemetry, "request_seconds_sum", path="/predict") == pytest.approx(0.2004)
    within = {
        le: value(telemetry, "request_seconds_bucket", path="/predict", le=le) for le in ("0.0001", "0.1", "+Inf")
    }
    assert within == {"0.0001": 1, "0.1": 2, "+Inf": 3}, "a bound belongs to its bucket"
    assert value(telemetry, "request_seconds_bucket", path="/health", le="10.0") == 0
    assert value(telemetry, "request_seconds_bucket", path="/health", le="+Inf") == 1


def test_paths_that_clients_invent_are_one_label() -> None:
    telemetry = Telemetry()
    for number in range(1000):
        telemetry.request(f"/{number}", 404, 0.001)
    paths = {dict(labels).get("path") for _, labels in scrape(telemetry)} - {None, "/predict"}
    assert paths == {"other"}
    assert value(telemetry, "requests_total", path="other", status="404") == 1000


def test_answers_are_counted_by_source_rule_step_and_error() -> None:
    telemetry = Telemetry()
    nothing = Failure(504, "DEADLINE_EXCEEDED", "Nothing fits.")
    plain = Prediction(0.5, "model", ())
    telemetry.predictions([plain, plain, Prediction(1.0, "model", ("maximum", "digits"))])
    telemetry.predictions([Prediction(0.4, "backoff", (), steps=("model: deadline", "table: miss")), plain])
    telemetry.predictions([Prediction(None, "none", (), steps=("model: deadline",), error=nothing)])
    telemetry.predictions([Prediction(None, "none", ("abstain",))])
    counted = {source: value(telemetry, "predictions_total", source=source) for source in SOURCES}
    assert counted == {"table": 0, "model": 4, "backoff": 1, "fallback": 0, "none": 2}
    assert value(telemetry, "policy_total", rule="maximum") == 1
    assert value(telemetry, "policy_total", rule="abstain") == 1
    assert value(telemetry, "steps_total", step="model: deadline") == 2
    assert value(telemetry, "steps_total", step="table: miss") == 1
    assert value(telemetry, "errors_total", code="DEADLINE_EXCEEDED") == 1


answers = st.builds(
    Prediction,
    value=st.none(),
    source=st.sampled_from(SOURCES),
    policy=st.lists(st.sampled_from(["minimum", "deny"]), max_size=2).map(tuple),
    steps=st.lists(st.sampled_from(["table: miss", "model: deadline"]), max_size=2).map(tuple),
    error=st.none() | st.just(Failure(404, "NOT_FOUND", "")),
)


@given(st.lists(st.lists(answers, min_size=1, max_size=5), max_size=4))
def test_counting_request_by_request_counts_every_answer(requests: list[list[Prediction]]) -> None:
    telemetry = Telemetry()
    for request in requests:
        telemetry.predictions(request)
    every = [answer for request in requests for answer in request]
    samples = scrape(telemetry)

    def total(name: str) -> float:
        return sum(count for (sample, _), count in samples.items() if sample == f"dropfit_{name}_total")

    for source in SOURCES:
        counted = samples["dropfit_predictions_total", frozenset({("source", source)})]
        assert counted == sum(answer.source == source for answer in every)
    assert total("policy") == sum(len(answer.policy) for answer in every)
    assert total("steps") == sum(len(answer.steps) for answer in every)
    assert total("errors") == sum(answer.error is not None for answer in every)


@given(st.lists(st.floats(0, 100), max_size=30))
def test_a_bucket_holds_what_took_at_most_so_long(times: list[float]) -> None:
    telemetry = Telemetry()
    for seconds in times:
        telemetry.request("/predict", 200, seconds)
    samples = scrape(telemetry)
    for bound in BUCKETS:
        labels = frozenset({("path", "/predict"), ("le", str(bound))})
        assert samples["dropfit_request_seconds_bucket", labels] == sum(seconds <= bound for seconds in times)


def test_the_state_of_the_instance_is_told_as_it_is() -> None:
    telemetry = Telemetry()
    state = State(
        mode="static",
        ready=False,
        version='v"1\\\n',
        problem="tea",
        runtime="skops",
        fixed_seconds=3e-5,
        row_seconds=1e-6,
        log_dropped=7,
        swaps=2,
        swap_failures=1,
    )
    told = {"version": 'v"1\\\n', "problem": "tea", "mode": "static", "runtime": "skops"}
    assert value(telemetry, "model_info", state, **told) == 1
    assert value(telemetry, "ready", state) == 0
    assert value(telemetry, "ready") == 1
    assert value(telemetry, "model_cost_seconds", state, part="fixed") == 3e-5
    assert value(telemetry, "model_cost_seconds", state, part="row") == 1e-6
    assert value(telemetry, "log_dropped_total", state) == 7
    assert value(telemetry, "swaps_total", state) == 2
    assert value(telemetry, "swap_failures_total", state) == 1


def test_before_a_version_is_loaded_there_is_no_model_to_tell_of() -> None:
    names = {name for name, _ in scrape(Telemetry(), State(mode="hybrid", ready=False))}
    assert "dropfit_ready" in names
    assert not names & {"dropfit_model_info", "dropfit_model_cost_seconds"}


def test_names_follow_prometheus_conventions() -> None:
    """https://prometheus.io/docs/practices/naming: one prefix, base units, `total` for what only grows."""
    telemetry = Telemetry()
    telemetry.request("/predict", 200, 0.1)
    text, content_type = telemetry.exposition(STATE)
    assert content_type == "text/plain; version=0.0.4; charset=utf-8"
    families = list(text_string_to_metric_families(text.decode()))
    assert len(families) == 12
    for family in families:
        assert re.fullmatch(r"dropfit(_[a-z]+)+", family.name)
        assert family.documentation
        if family.type == "counter":
            assert all(sample.name.endswith("_total") for sample in family.samples)
        else:
            assert family.name.endswith(UNITS)
        assert all(re.fullmatch("[a-z]+", label) for sample in family.samples for label in sample.labels)


def test_every_path_there_is_has_a_label_of_its_own() -> None:
    telemetry = Telemetry()
    for path in METHODS:
        telemetry.request(path, 200, 0.001)
    paths: set[Any] = {dict(labels).get("path") for _, labels in scrape(telemetry)} - {None}
    assert paths == set(METHODS)


def test_the_library_is_not_loaded_before_somebody_asks() -> None:
    code = (
        "import dropfit.telemetry, sys; dropfit.telemetry.Telemetry(); sys.exit('prometheus_client' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_a_scrape_in_a_thread_does_not_mind_that_requests_are_counted() -> None:
    telemetry, stop, trouble = Telemetry(), threading.Event(), []

    def scrapes() -> None:
        try:
            while not stop.is_set():
                telemetry.exposition(STATE)
        except RuntimeError as error:
            trouble.append(error)

    thread = threading.Thread(target=scrapes)
    thread.start()
    for number in range(20_000):  # every one a label that was not there before
        telemetry.request("/predict", number, 0.001)
        telemetry.predictions([Prediction(1.0, "model", (str(number),), steps=(str(number),))])
    stop.set()
    thread.join()
    assert trouble == []
