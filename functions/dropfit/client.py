# SPDX-License-Identifier: Apache-2.0
"""The predict function from outside, for people's commands: locally open, in the cloud with an identity token."""

from __future__ import annotations

from typing import Any

import msgspec

from .errors import BadRequest, SettingsError, Unavailable
from .rest import identity_token
from .settings import Settings

TIMEOUT = 60.0


class Serving(msgspec.Struct, frozen=True):
    """What the predict function says of itself.

    Attributes:
        version: that it serves; empty when it serves none.
        trouble: why it serves none, or none newer.
        how: `mode`, `deadline_ms` and `snapshot` (rows and bytes, or None), as its model card says them, or
            empty where it does not.
    """

    version: str
    trouble: str = ""
    how: dict[str, Any] = {}


def instances(text: str | bytes) -> list[Any]:
    """The instances in what a person typed: one object, a list of them, or a whole request.

    Raises:
        BadRequest: when it is no JSON, or neither of these.
    """
    try:
        document = msgspec.json.decode(text)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise BadRequest(f"that is not JSON: {error}") from None
    if isinstance(document, dict) and isinstance(document.get("instances"), list):
        document = document["instances"]
    if isinstance(document, dict):
        return [document]
    if isinstance(document, list):
        return document
    raise BadRequest('send one instance {...}, a list of them, or {"instances": [...]}')


def predict(settings: Settings, wanted: list[Any]) -> dict[str, Any]:
    """The function's reply for some instances.

    Raises:
        BadRequest: with every bad field, as the function names them.
        Unavailable: when it does not answer, or has no version to serve.
    """
    status, document = _call(settings, "POST", "/predict", msgspec.json.encode({"instances": wanted}))
    if status == 200:
        return document
    fields = {e["field"]: e["detail"] for e in document.get("errors", ())}
    detail = str(document.get("detail", f"HTTP {status}"))
    raise Unavailable(detail) if status >= 500 else BadRequest(detail, fields, status)


def serving(settings: Settings) -> Serving:
    """What the function serves, and how.

    Raises:
        Unavailable: when the function does not answer.
    """
    status, document = _call(settings, "GET", "/model")
    if status == 200:
        says = ("mode", "deadline_ms", "snapshot")
        how = {name: document[name] for name in says} if all(name in document for name in says) else {}
        return Serving(str(document["version"]), str(document.get("trouble") or ""), how)
    return Serving("", f"it answers {status}: {document.get('detail', '')}")


def look(settings: Settings, path: str) -> tuple[int, dict[str, Any]]:
    """What the function answers to a GET, as status and document.

    Raises:
        Unavailable: when it does not answer, or with something else than JSON.
    """
    return _call(settings, "GET", path)


def _call(settings: Settings, method: str, path: str, body: bytes | None = None) -> tuple[int, dict[str, Any]]:
    import httpx

    if not settings.predict_url:
        raise SettingsError("DROPFIT_PREDICT_URL is not set: it is the predict function's base URL")
    base = settings.predict_url.rstrip("/")
    headers = {"content-type": "application/json"}
    if base.startswith("https://"):
        headers["authorization"] = f"Bearer {identity_token(base)}"
    try:
        reply = httpx.request(method, base + path, content=body, headers=headers, timeout=TIMEOUT)
        document = msgspec.json.decode(reply.content)
    except httpx.HTTPError as error:
        raise Unavailable(f"{base} does not answer ({error}); `dropfit status` says what runs") from error
    except msgspec.DecodeError:
        raise Unavailable(f"{base}{path} answered {reply.status_code} and no JSON") from None
    return reply.status_code, document if isinstance(document, dict) else {}
