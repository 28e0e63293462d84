# SPDX-License-Identifier: Apache-2.0
"""The predict function's paths, its replies, and the one form of its errors.

An error is problem+json (RFC 9457) with Google's canonical code.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Any

import msgspec

JSON = "application/json"
PROBLEM_JSON = "application/problem+json"
Send = Callable[[dict[str, Any]], Awaitable[None]]
METHODS = {
    "/predict": "POST",
    "/": "POST",
    "/model": "GET",
    "/health": "GET",
    "/ready": "GET",
    "/metrics": "GET",
    "/openapi.json": "GET",
}
"""Path -> its method; where there is GET, there is HEAD."""

ERRORS = {
    400: ("Bad request", "INVALID_ARGUMENT"),
    404: ("Not found", "NOT_FOUND"),
    405: ("Method not allowed", "UNIMPLEMENTED"),
    408: ("Request timeout", "DEADLINE_EXCEEDED"),
    413: ("Too large", "INVALID_ARGUMENT"),
    415: ("Unsupported media type", "INVALID_ARGUMENT"),
    500: ("No prediction", "INTERNAL"),
    503: ("Not ready", "UNAVAILABLE"),
    504: ("Deadline exceeded", "DEADLINE_EXCEEDED"),
}
"""HTTP status -> title, name of google.rpc.Code.

google/rpc/code.proto maps 400, 404, 500, 503 and 504 itself. The others have the code whose definition there fits:
INVALID_ARGUMENT is what is wrong whatever the state of the system (RESOURCE_EXHAUSTED, its 429, would say: try again
later), UNIMPLEMENTED an operation that is not supported.
"""


class Reply(msgspec.Struct, frozen=True):
    """An HTTP reply, which sends itself when it is called as an ASGI application.

    Attributes:
        status: HTTP status.
        body: its bytes.
        content_type: of the body.
        headers: what else to say.
        instances: of the request, once it was understood; for the log.
        version: that answered, empty when none did; for the log.
    """

    status: int
    body: bytes
    content_type: str = JSON
    headers: dict[str, str] = {}
    instances: int = 0
    version: str = ""

    async def __call__(self, scope: Mapping[str, Any], receive: Any, send: Send) -> None:
        """Send it."""
        headers = [(b"content-type", self.content_type.encode()), (b"content-length", b"%d" % len(self.body))]
        if self.headers:
            headers += [(name.lower().encode(), value.encode()) for name, value in self.headers.items()]
        await send({"type": "http.response.start", "status": self.status, "headers": headers})
        await send({"type": "http.response.body", "body": self.body})


def problem_json(
    status: int, detail: str, fields: dict[str, str] | None = None, headers: dict[str, str] | None = None
) -> Reply:
    """An error as problem+json.

    Args:
        status: one of ERRORS.
        detail: one sentence; nothing of the request but names of fields.
        fields: where the request is wrong -> what is wrong there.
        headers: of the reply.
    """
    title, code = ERRORS[status]
    document: dict[str, Any] = {
        "type": "about:blank",
        "title": title,
        "status": status,
        "detail": detail,
        "code": code,
    }
    if fields:
        document["errors"] = [{"field": name, "detail": why} for name, why in fields.items()]
    return Reply(status, msgspec.json.encode(document), PROBLEM_JSON, headers or {})
