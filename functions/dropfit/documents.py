# SPDX-License-Identifier: Apache-2.0
"""JSON documents in storage: written for people to open, read with suspicion."""

from __future__ import annotations

from typing import Any, TypeVar

import msgspec

from .errors import ArtifactError

T = TypeVar("T")
SMALL = 1024**2
"""Bytes that a manifest, a report or the pointer may hold: more is refused unparsed."""


def encode(value: Any) -> bytes:
    """JSON with line breaks."""
    return msgspec.json.format(msgspec.json.encode(value), indent=1)


def decode(payload: bytes, kind: type[T], most: int | None = None) -> T:
    """A document of that type.

    Args:
        payload: the object's bytes.
        kind: what it must be.
        most: bytes that it may hold at most.

    Raises:
        ArtifactError: when it is none, or too large to be one of ours.
    """
    if most is not None and len(payload) > most:
        raise ArtifactError(f"a {kind.__name__.lower()} of {len(payload)} bytes is none of ours")
    try:
        return msgspec.json.decode(payload, type=kind)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise ArtifactError(f"a {kind.__name__.lower()} is not readable: {error}") from error
