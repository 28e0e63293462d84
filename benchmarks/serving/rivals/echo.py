# SPDX-License-Identifier: Apache-2.0
"""The ceiling: functions-framework's async door, answering the body that it is sent."""

import functions_framework.aio
from starlette.requests import Request
from starlette.responses import Response


@functions_framework.aio.http
async def echo(request: Request) -> Response:
    """Any request."""
    return Response(await request.body(), media_type="application/json")
