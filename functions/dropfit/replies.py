# SPDX-License-Identifier: Apache-2.0
"""The predict function's paths, its replies, and the one form of its errors.

An error is problem+json (RFC 9457) with Google's canonical code.
"""

from __future__ import annotations

from typing import Any

import msgspec

JSON = "application/json"
PROBLEM_JSON = "application/problem+json"
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
    """An HTTP reply."""

    status: int
    body: bytes
    content_type: str = JSON
    headers: dict[str, str] = {}


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
