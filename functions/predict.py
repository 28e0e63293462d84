# SPDX-License-Identifier: Apache-2.0
"""The serving endpoint, an HTTP function on the async door of functions-framework.

    curl -H 'Content-Type: application/json' $DROPFIT_PREDICT_URL/predict \
      -d '{"instances": [{...}]}'

What an instance holds is the contract's: `GET /model` lists the features.
"""

from __future__ import annotations

from functools import cache

import functions_framework.aio
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response

from dropfit import settings, storage
from dropfit.contract import load_problem
from dropfit.registry import Registry
from dropfit.replies import Reply, problem_json
from dropfit.serving import Service


@cache
def limits() -> settings.Settings:
    """The settings, read at the first request."""
    return settings.load()


@cache
def service() -> Service:
    """The service, wired at the first request of the worker: a thread started at import would die in the fork."""
    registry = Registry(storage.connect(limits()).models)
    return Service(limits(), load_problem(limits().problem), registry)


async def read_body(request: Request, most: int) -> bytes | None:
    """The body, or None as soon as it is larger than it may be."""
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > most:
            return None
    return bytes(body)


@functions_framework.aio.http
async def predict(request: Request) -> Response:
    """`POST /predict`, `GET /model`, `GET /health`."""
    try:
        body = await read_body(request, limits().max_request_bytes)
    except ClientDisconnect:
        return Response(status_code=400)
    if body is None:
        reply: Reply = problem_json(413, f"the body may hold {limits().max_request_bytes:,} bytes")
    else:
        content_type = request.headers.get("content-type", "")
        reply = await service().answer(request.method, request.url.path, content_type, body)
    return Response(reply.body, reply.status, reply.headers, reply.content_type)
