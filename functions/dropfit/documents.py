# SPDX-License-Identifier: Apache-2.0
"""JSON documents in storage: written for people to open, read with suspicion."""

from __future__ import annotations

from typing import Any, TypeVar

import msgspec

from .errors import ArtifactError

T = TypeVar("T")


def encode(value: Any) -> bytes:
    """JSON with line breaks."""
    return msgspec.json.format(msgspec.json.encode(value), indent=1)


def decode(payload: bytes, kind: type[T]) -> T:
    """A document of that type.

    Raises:
        ArtifactError: when it is none.
    """
    try:
        return msgspec.json.decode(payload, type=kind)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise ArtifactError(f"a {kind.__name__.lower()} is not readable: {error}") from error
