# SPDX-License-Identifier: Apache-2.0
"""The HTTP side: the token endpoint that the generated service-account key names, and health."""

from __future__ import annotations

import base64
import dataclasses
import json
import time
from collections.abc import Callable
from typing import Any
from urllib.parse import parse_qs

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

from .queue import Counts

_LIFETIME = 3600


def app(counts: Callable[[], Counts]) -> Starlette:
    """POST /token and GET /healthz; health tells how many events wait, were delivered, and are dead."""

    async def token(request: Request) -> JSONResponse:
        form = parse_qs((await request.body()).decode())
        answer: dict[str, Any] = {
            "access_token": "local-cloud",
            "expires_in": _LIFETIME,
            "token_type": "Bearer",
        }
        claims = _claims(form.get("assertion", [""])[0])
        if audience := claims.get("target_audience"):
            answer["id_token"] = _id_token(str(audience), str(claims.get("iss", "")))
        return JSONResponse(answer)

    async def healthz(request: Request) -> JSONResponse:
        return JSONResponse({"events": dataclasses.asdict(counts())})

    return Starlette(routes=[Route("/token", token, methods=["POST"]), Route("/healthz", healthz, methods=["GET"])])


def _claims(assertion: str) -> dict[str, Any]:
    """What a JWT says, unverified: whoever asks gets a token that is worth nothing elsewhere."""
    try:
        payload = assertion.split(".")[1]
        claims = json.loads(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))
    except (IndexError, ValueError):
        return {}
    return claims if isinstance(claims, dict) else {}


def _id_token(audience: str, email: str) -> str:
    now = int(time.time())
    claims = {"iss": "https://accounts.google.com", "aud": audience, "sub": email, "email": email}
    parts = ({"alg": "none", "typ": "JWT"}, claims | {"iat": now, "exp": now + _LIFETIME})
    encoded = (base64.urlsafe_b64encode(json.dumps(part).encode()).decode().rstrip("=") for part in parts)
    return ".".join(encoded) + "."
