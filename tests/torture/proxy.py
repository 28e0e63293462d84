# SPDX-License-Identifier: Apache-2.0
"""A reverse proxy on 127.0.0.1 that breaks requests as it is told, between an official client and its emulator."""

from __future__ import annotations

import contextlib
import http.client
import json
import socket
import struct
import threading
import time
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import urlsplit

FAULTS = ("429", "503", "reset", "lost", "torn", "hang")
"""Two statuses; the connection reset before or after the request took effect, or amid the answer; no answer."""


class Proxy:
    """Stands before an emulator.

    Args:
        target: the emulator's URL.

    Attributes:
        url: where clients go instead.
        faults: what happens to the next requests, one each; when it is empty they pass.
        always: what happens to every request instead, when set.
        broken: how many requests were broken.
        only: which requests are meant, by method and path.
        hang: seconds that a hanging request takes.
    """

    def __init__(self, target: str) -> None:
        self.faults: list[str] = []
        self.always = ""
        self.broken = 0
        self.hang = 1.0
        self.only: Callable[[str, str], bool] = lambda method, path: True
        self._target = urlsplit(target).netloc
        proxy = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            disable_nagle_algorithm = True

            def handle_any(self) -> None:
                proxy.handle(self)

            do_GET = do_POST = do_PUT = do_DELETE = do_PATCH = handle_any  # noqa: N815

            def log_message(self, format: str, *args: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self._server.handle_error = lambda *given: None  # type: ignore[method-assign]
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"
        threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()

    def stop(self) -> None:
        """Serve no more."""
        self._server.shutdown()
        self._server.server_close()

    def heal(self) -> None:
        """All passes."""
        self.faults, self.always, self.broken, self.only = [], "", 0, lambda method, path: True

    def handle(self, request: Any) -> None:
        """One request."""
        body = request.rfile.read(int(request.headers.get("content-length") or 0))
        fault = self._fault(request.command, request.path)
        if fault.isdecimal():
            reason = {"reason": "rateLimitExceeded" if fault == "429" else "backendError", "message": "injected"}
            self._answer(request, int(fault), {}, json.dumps({"error": {"errors": [reason]}}).encode())
        elif fault == "hang":
            time.sleep(self.hang)
            _reset(request)
        elif fault == "reset":
            _reset(request)
        else:
            status, headers, payload = self._forward(request, body)
            if fault == "lost":
                _reset(request)
            elif fault == "torn":
                self._answer(request, status, headers, payload, len(payload) // 2)
                _reset(request)
            else:
                self._answer(request, status, headers, payload)

    def _fault(self, method: str, path: str) -> str:
        if not self.only(method, path):
            return ""
        fault = self.always or (self.faults.pop(0) if self.faults else "")
        self.broken += bool(fault)
        return fault

    def _forward(self, request: Any, body: bytes) -> tuple[int, dict[str, str], bytes]:
        connection = http.client.HTTPConnection(self._target, timeout=300)
        with contextlib.closing(connection):
            kept = {k: v for k, v in request.headers.items() if k.lower() not in ("host", "connection")}
            connection.request(request.command, request.path, body, kept)
            reply = connection.getresponse()
            payload = reply.read()
            dropped = ("transfer-encoding", "content-length", "connection", "date", "server")
            headers = {k: v for k, v in reply.getheaders() if k.lower() not in dropped}
        # The next request of a resumable upload comes here, too.
        return reply.status, {k: v.replace(f"http://{self._target}", self.url) for k, v in headers.items()}, payload

    def _answer(
        self, request: Any, status: int, headers: dict[str, str], payload: bytes, upto: int | None = None
    ) -> None:
        request.send_response(status)
        for name, value in headers.items():
            request.send_header(name, value)
        if status not in (204, 304):
            request.send_header("content-length", str(len(payload)))
        request.end_headers()
        request.wfile.write(payload[:upto])
        request.wfile.flush()


def _reset(request: Any) -> None:
    """End the connection with RST, as a dying load balancer does."""
    request.close_connection = True
    request.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    request.connection.shutdown(socket.SHUT_RD)
    request.connection.close()
