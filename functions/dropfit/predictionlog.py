# SPDX-License-Identifier: Apache-2.0
"""The prediction log: one line of JSON on standard output per request, for which no request waits.

Cloud Run hands each line to Cloud Logging, whose special fields (severity, timestamp, trace) become the entry's own:
https://cloud.google.com/logging/docs/structured-logging. The request and the reply stand in it as they came and
went, nested, so that nothing a client sends can pose as a field of ours.

A process may have no CPU between requests, so there is no thread: lines are written while requests are answered,
and at SIGTERM.
"""

from __future__ import annotations

import asyncio
import atexit
import random
import signal
import threading
import time
from collections.abc import Mapping
from types import FrameType
from typing import Any

import msgspec

from .lines import Lines
from .trace import parse

MOST_LINE = 64 * 1024
"""Bytes of one line; Cloud Logging takes 256 KB an entry."""
EAGER = 32 * 1024
"""So many bytes are written at once."""
OVERHEAD = 400
"""Bytes of a line beside request and reply, about."""
PAUSE = 0.1
"""Seconds between two writings of less than that."""
PATIENCE = 2.0
"""Seconds that a process which ends waits for its reader."""
_LINE = (
    b'%b"timestamp":{"seconds":%d,"nanos":%d}%b,"latency_ms":%.3f,"instance_count":%d%b,"request":%b,"response":%b}\n'
)


class _Asked(msgspec.Struct):
    instances: list[msgspec.Raw] = []


class _Answered(msgspec.Struct):
    predictions: list[msgspec.Raw] = []


class PredictionLog:
    """Lines of JSON that wait for a descriptor and are written when it takes them.

    Args:
        project: Google Cloud project, in the names of traces.
        share: of the requests that are logged, 0 to 1; all or none of one trace.
        most_bytes: lines that would make more than this wait are dropped and counted.
        fd: where to write; standard output.
    """

    def __init__(self, project: str, share: float, most_bytes: int, fd: int = 1) -> None:
        self._project = project.encode()
        self._share = share
        self._lines = Lines(fd, most_bytes)
        self._tails: dict[tuple[str, str], bytes] = {}
        self._heads: dict[tuple[str, int], bytes] = {}
        self._timer: asyncio.TimerHandle | None = None
        self._due = 0.0
        self._noted: list[tuple[Any, ...]] = []
        self._size = 0
        self._ending = False
        self.on = share > 0

    @property
    def dropped(self) -> int:
        """Lines that found no room, or no reader, so far."""
        return self._lines.dropped

    def add(
        self,
        headers: Mapping[bytes, bytes],
        status: int,
        seconds: float,
        body: bytes,
        reply: bytes,
        version: str,
        mode: str,
        count: int,
        path: str,
    ) -> None:
        """Note one answered request, if it is among those that are logged.

        Args:
            headers: of the request, names in lower case; only the trace is taken from them.
            status: HTTP status.
            seconds: taken by the request.
            body: of the request, valid JSON; empty when it was refused.
            reply: JSON.
            version: of the model, empty when there is none.
            mode: static, dynamic or hybrid.
            count: of the instances in the request.
            path: of the URL.
        """
        if not self.on:
            return
        # Only noted here: lines are made together, when they are written, which is several times as quick.
        self._noted.append((time.time_ns(), headers, status, seconds, body, reply, version, mode, count, path))
        self._size += len(body) + len(reply) + OVERHEAD
        many = self._size >= EAGER and not self._lines.stuck
        if many or self._ending or time.monotonic() >= self._due or self._size >= 8 * EAGER:
            self.flush()  # the first after a pause at once, as there may be no CPU later
        elif self._timer is None:
            self._arm()

    def _line(
        self,
        at: int,
        headers: Mapping[bytes, bytes],
        status: int,
        seconds: float,
        body: bytes,
        reply: bytes,
        version: str,
        mode: str,
        count: int,
        path: str,
    ) -> bytes:
        """A noted request as a line; nothing when it is not among those that are logged."""
        trace = parse(headers)
        if self._share < 1 and (trace.chance if trace else random.random()) >= self._share:  # noqa: S311 (sampling)
            return b""
        tail = self._tails.get((version, mode)) or self._tail(version, mode)
        if len(body) + len(reply) > MOST_LINE - 1024:
            body, reply, cut = _shortened(body, reply)
            tail += cut
        return _LINE % (
            self._heads.get((path, status)) or self._head(path, status),
            *divmod(at, 1_000_000_000),
            trace.fields(self._project) if trace else b"",
            seconds * 1e3,
            count,
            tail,
            (body if body.isascii() and b"\n" not in body else _in_one_line(body)) or b"null",
            (reply if b"\n" not in reply else _in_one_line(reply)) or b"null",
        )

    def flush(self) -> None:
        """Write as much as the descriptor takes now; the rest stays for later. Does not wait before SIGTERM."""
        self._due = time.monotonic() + PAUSE
        self._make()
        self._lines.write()
        if self._lines.waiting and self._timer is None:
            self._arm()

    def _make(self) -> None:
        noted, self._noted, self._size = (
            self._noted,
            [],
            0,
        )
        for note in noted:
            line = self._line(*note)
            if line:
                self._lines.add(line)

    def install(self) -> None:
        """Flush at SIGTERM, before what the server does then, and when the interpreter ends.

        Call it in a worker at its first request: whoever imports the module may be the worker's parent.
        """
        atexit.register(self._end)
        if threading.current_thread() is not threading.main_thread():
            return
        before = signal.getsignal(signal.SIGTERM)

        def on_sigterm(number: int, frame: FrameType | None) -> None:
            self._end()
            if callable(before):
                before(number, frame)
            elif before == signal.SIG_DFL:
                signal.signal(number, signal.SIG_DFL)
                signal.raise_signal(number)

        signal.signal(signal.SIGTERM, on_sigterm)

    def _end(self) -> None:
        """From now on each line is written at once, for whose sake all of them together wait PATIENCE at most."""
        if not self._ending:
            self._ending = True
            self._lines.patience(PATIENCE)
        self._make()
        self._lines.write()

    def _arm(self) -> None:
        try:
            self._timer = asyncio.get_running_loop().call_later(PAUSE, self._tick)
        except RuntimeError:  # no loop: the next line, or the end, writes them
            self._timer = None

    def _tick(self) -> None:
        self._timer = None
        self.flush()

    def _tail(self, version: str, mode: str) -> bytes:
        """The fields that hardly ever change: `,"model_version":...`."""
        if len(self._tails) >= 64:
            self._tails.clear()
        fields = {"model_version": version or None, "mode": mode, "log_share": self._share}
        made = b"," + msgspec.json.encode(fields)[1:-1]
        self._tails[version, mode] = made
        return made

    def _head(self, path: str, status: int) -> bytes:
        """What only path and status decide: `{"severity":...,`."""
        severity = "INFO" if status < 400 else "WARNING" if status < 500 else "ERROR"
        message = f"{path[:200].encode(errors='replace').decode()} {status}"
        fields = {"severity": severity, "message": message, "kind": "prediction", "status": status}
        made = msgspec.json.encode(fields)[:-1] + b","
        if len(self._heads) < 64:  # paths are the client's to choose
            self._heads[path, status] = made
        return made


def _in_one_line(document: bytes) -> bytes:
    """Valid JSON holds newlines only between its tokens; what a decoder skips may hold bytes that are no UTF-8."""
    return document.decode(errors="replace").replace("\r", " ").replace("\n", " ").encode()


def _shortened(body: bytes, reply: bytes) -> tuple[bytes, bytes, bytes]:
    """The first instances and their predictions that fit, as a request, a reply, and the field that says so."""
    asked = _raws(body, _Asked).instances
    answered = _raws(reply, _Answered).predictions
    room, fitting = MOST_LINE - 2048, 0
    for instance, prediction in zip(asked, answered, strict=False):
        room -= len(memoryview(instance)) + len(memoryview(prediction)) + 2
        if room < 0:
            break
        fitting += 1
    return (
        msgspec.json.encode(_Asked(asked[:fitting])),
        msgspec.json.encode(_Answered(answered[:fitting])),
        b"" if fitting and fitting == len(asked) == len(answered) else b',"truncated":true',
    )


def _raws(document: bytes, form: Any) -> Any:
    try:
        return msgspec.json.decode(document or b"{}", type=form)
    except msgspec.MsgspecError:
        return form()
