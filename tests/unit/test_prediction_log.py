# SPDX-License-Identifier: Apache-2.0
"""The prediction log: what a line says, what is cut, dropped and sampled, and that nobody waits for it."""

from __future__ import annotations

import asyncio
import json
import os
import select
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dropfit import trace
from dropfit.predictionlog import MOST_LINE, PredictionLog

ID, SPAN = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
TRACEPARENT = f"00-{ID}-{SPAN}-01"
BODY = b'{"instances": [{"carrier": "UA", "hour": 17}]}'
REPLY = b'{"predictions":[{"value":0.25,"source":"model","policy":[]}],"model_version":"v1"}'


class Pipe:
    """A pipe of which a test reads only when it says so."""

    def __init__(self) -> None:
        self.out, self.into = os.pipe()
        os.set_blocking(self.out, False)

    def read(self) -> bytes:
        found = b""
        while select.select([self.out], [], [], 0)[0] and (part := os.read(self.out, 1 << 20)):
            found += part
        return found

    def lines(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.read().splitlines()]

    def close(self) -> None:
        for end in (self.out, self.into):
            try:
                os.close(end)
            except OSError:
                continue


@pytest.fixture
def pipe() -> Iterator[Pipe]:
    pipe = Pipe()
    yield pipe
    pipe.close()


def add(
    log: PredictionLog,
    body: bytes = BODY,
    reply: bytes = REPLY,
    headers: Mapping[bytes, bytes] | None = None,
    status: int = 200,
    path: str = "/predict",
    version: str = "v1",
) -> None:
    log.add(headers or {}, status, 0.0123, body, reply, version, "hybrid", 1, path)


def logged(pipe: Pipe, share: float = 1.0, **given: Any) -> dict[str, Any]:
    """The one line of one request."""
    log = PredictionLog("acme", share, 1 << 20, pipe.into)
    add(log, **given)
    log.flush()
    (line,) = pipe.lines()
    return line


def test_a_line_holds_the_request_the_reply_and_what_cloud_logging_understands(pipe: Pipe) -> None:
    line = logged(pipe, headers={b"traceparent": TRACEPARENT.encode(), b"authorization": b"Bearer secret"})
    at = line.pop("timestamp")
    assert at["seconds"] > 1_600_000_000
    assert 0 <= at["nanos"] < 10**9
    assert line == {
        "severity": "INFO",
        "message": "/predict 200",
        "logging.googleapis.com/trace": f"projects/acme/traces/{ID}",
        "logging.googleapis.com/spanId": SPAN,
        "logging.googleapis.com/trace_sampled": True,
        "kind": "prediction",
        "model_version": "v1",
        "mode": "hybrid",
        "status": 200,
        "latency_ms": 12.3,
        "instance_count": 1,
        "log_share": 1.0,
        "request": json.loads(BODY),
        "response": json.loads(REPLY),
    }


def test_a_refused_request_is_logged_with_its_refusal_and_without_what_was_sent(pipe: Pipe) -> None:
    line = logged(pipe, body=b"", reply=b'{"status":400,"errors":[{"field":"hour"}]}', status=400, version="")
    assert line["severity"] == "WARNING"
    assert line["request"] is None
    assert line["model_version"] is None
    assert line["response"]["errors"] == [{"field": "hour"}]


def test_a_failure_of_ours_is_an_error_to_whoever_watches_the_log(pipe: Pipe) -> None:
    assert logged(pipe, status=503)["severity"] == "ERROR"


def test_a_request_of_several_lines_is_one_line_of_the_log(pipe: Pipe) -> None:
    line = logged(
        pipe, body=b'{\r\n  "instances": [\n    {"carrier": "U\\nA"}\n  ]\n}\n', reply=b'{\n"predictions": []}'
    )
    assert line["request"] == {"instances": [{"carrier": "U\nA"}]}
    assert line["response"] == {"predictions": []}


HOSTILE = st.text(max_size=50) | st.sampled_from(
    ['"}\n{"severity":"EMERGENCY"}', "\\", "'; DROP TABLE x; --", "=cmd()", "<script>", "\x00", "%d %b", "\u2028"]
)


@given(value=HOSTILE, name=HOSTILE, path=HOSTILE)
def test_whatever_a_client_sends_stays_data_in_its_place(value: str, name: str, path: str) -> None:
    sent = {"instances": [{name: value, "severity": "EMERGENCY"}], "kind": value, "message": value}
    pipe = Pipe()
    line = logged(pipe, body=json.dumps(sent, ensure_ascii=False, indent=1).encode(), path=f"/{path}")
    pipe.close()
    assert line["request"] == sent
    assert (line["severity"], line["kind"], line["status"]) == ("INFO", "prediction", 200)
    assert line["message"] == f"/{path} 200"


def test_bytes_that_are_no_text_where_the_decoder_does_not_look_leave_a_readable_line(pipe: Pipe) -> None:
    line = logged(pipe, body=b'{"instances":[{"a":1,"unknown":"\xff\xfe"}]}')
    assert line["request"]["instances"] == [{"a": 1, "unknown": "\ufffd\ufffd"}]


def test_a_long_request_is_logged_with_the_instances_and_predictions_that_fit(pipe: Pipe) -> None:
    os.set_blocking(pipe.into, False)
    instances = [{"n": n, "text": "x" * 500} for n in range(1000)]
    predictions = [{"value": n} for n in range(1000)]
    log = PredictionLog("acme", 1.0, 1 << 20, pipe.into)
    add(log, json.dumps({"instances": instances}).encode(), json.dumps({"predictions": predictions}).encode())
    log.flush()
    text = pipe.read()
    while not text.endswith(b"\n"):
        log.flush()
        text += pipe.read()
    line = json.loads(text)
    fitting = len(line["request"]["instances"])
    assert line["truncated"] is True
    assert MOST_LINE * 0.9 < len(text) <= MOST_LINE
    assert line["request"]["instances"] == instances[:fitting]
    assert line["response"]["predictions"] == predictions[:fitting]


def test_one_instance_that_is_too_long_by_itself_leaves_the_line_without_it(pipe: Pipe) -> None:
    line = logged(pipe, body=json.dumps({"instances": ["x" * MOST_LINE]}).encode())
    assert line["request"] == {"instances": []}
    assert line["truncated"] is True


def test_a_pipe_that_nobody_reads_stops_nobody_and_what_finds_no_room_is_dropped_and_told(pipe: Pipe) -> None:
    most = 20_000
    log = PredictionLog("acme", 1.0, most, pipe.into)
    for n in range(2000):  # 600 KB; a write that blocked would hang here
        add(log, path=f"/{n}")
    assert log.dropped > 500
    log.flush()
    lines = pipe.lines()
    for _ in range(20):
        log.flush()
        lines += pipe.lines()
    dropped = [line for line in lines if line["kind"] == "dropped"]
    assert sum(line["dropped"] for line in dropped) == log.dropped
    assert dropped[0]["severity"] == "WARNING"
    kept = [int(line["message"].split()[0][1:]) for line in lines if line["kind"] == "prediction"]
    assert kept == sorted(set(kept))
    assert len(kept) == 2000 - log.dropped


def test_when_the_reader_has_gone_requests_go_on_and_the_lines_are_counted(pipe: Pipe) -> None:
    os.close(pipe.out)
    log = PredictionLog("acme", 1.0, 1 << 20, pipe.into)
    for _ in range(3):
        add(log)
        log.flush()
    assert log.dropped == 3


def test_two_logs_on_one_pipe_keep_their_lines_apart(pipe: Pipe) -> None:
    logs = [PredictionLog(name, 1.0, 1 << 20, pipe.into) for name in ("a", "b")]
    for n in range(100):
        add(logs[n % 2], path=f"/{n}")
        logs[n % 2].flush()
    assert sorted(int(line["message"].split()[0][1:]) for line in pipe.lines()) == list(range(100))


def test_a_line_is_written_soon_after_its_request_while_the_loop_runs(tmp_path: Path) -> None:
    async def two_requests(log: PredictionLog) -> None:
        add(log, path="/a")
        add(log, path="/b")  # too soon after the first to be written at once
        for _ in range(6000):
            await asyncio.sleep(0.01)
            if len(file.read_bytes().splitlines()) == 2:
                return

    file = tmp_path / "log"
    with file.open("wb") as out:
        asyncio.run(two_requests(PredictionLog("acme", 1.0, 1 << 20, out.fileno())))
    assert [json.loads(line)["message"] for line in file.read_bytes().splitlines()] == ["/a 200", "/b 200"]


def test_a_share_of_zero_logs_nothing(pipe: Pipe) -> None:
    log = PredictionLog("acme", 0.0, 1 << 20, pipe.into)
    add(log, headers={b"traceparent": TRACEPARENT.encode()})
    log.flush()
    assert not log.on
    assert pipe.read() == b""


def test_about_the_share_of_requests_is_logged_and_says_so(tmp_path: Path) -> None:
    with (tmp_path / "log").open("wb") as out:
        log = PredictionLog("acme", 0.25, 1 << 20, out.fileno())
        for _ in range(4000):
            add(log)
        log.flush()
    lines = [json.loads(line) for line in (tmp_path / "log").read_bytes().splitlines()]
    assert 800 < len(lines) < 1200
    assert {line["log_share"] for line in lines} == {0.25}


def test_the_requests_of_one_trace_are_logged_all_or_none(tmp_path: Path) -> None:
    with (tmp_path / "log").open("wb") as out:
        log = PredictionLog("acme", 0.5, 1 << 22, out.fileno())
        for n in range(400):
            for _ in range(3):
                add(log, headers={b"traceparent": f"00-{n + 1:032x}-{SPAN}-01".encode()})
        log.flush()
    lines = [json.loads(line) for line in (tmp_path / "log").read_bytes().splitlines()]
    traces = [line["logging.googleapis.com/trace"] for line in lines]
    assert {traces.count(name) for name in set(traces)} == {3}
    assert 100 < len(set(traces)) < 300


def test_google_s_own_header_is_understood_where_there_is_no_traceparent() -> None:
    given = {b"x-cloud-trace-context": f"{ID.upper()}/255;o=1".encode()}
    assert trace.parse(given) == (ID.encode(), b"00000000000000ff", True)
    assert trace.parse({b"x-cloud-trace-context": ID.encode()}) == (ID.encode(), b"", False)
    assert trace.parse(given | {b"traceparent": f"00-{'1' * 32}-{SPAN}-00".encode()}) == (
        b"1" * 32,
        SPAN.encode(),
        False,
    )


@pytest.mark.parametrize(
    "header",
    [
        "",
        "nonsense",
        f"ff-{ID}-{SPAN}-01",
        f"00-{'0' * 32}-{SPAN}-01",
        f"00-{ID}-{'0' * 16}-01",
        f"00-{ID.upper()}-{SPAN}-01",
        f"00-{ID}-{SPAN}-01-more",
        f"00-{ID}-{SPAN}-1",
        f'00-{ID}-{SPAN}-01"',
        f"00-{ID}-{SPAN}-01\n",
    ],
)
def test_a_malformed_trace_is_none(header: str) -> None:
    assert trace.parse({b"traceparent": header.encode()}) is None
    assert trace.parse({b"x-cloud-trace-context": header.encode()}) is None


@pytest.mark.parametrize("header", ["x/1;o=1", f"{ID}/99999999999999999999;o=1", f"{ID}/1;o=x", f"{ID}/1;o=1\n"])
def test_a_malformed_trace_of_google_s_is_none(header: str) -> None:
    assert trace.parse({b"x-cloud-trace-context": header.encode()}) is None


def test_a_later_version_of_traceparent_may_say_more() -> None:
    assert trace.parse({b"traceparent": f"01-{ID}-{SPAN}-03-more".encode()}) == (ID.encode(), SPAN.encode(), True)


@given(st.binary(max_size=80))
def test_no_header_breaks_a_line(header: bytes) -> None:
    pipe = Pipe()
    line = logged(pipe, headers={b"traceparent": header, b"x-cloud-trace-context": header})
    pipe.close()
    assert line["request"] == json.loads(BODY)
