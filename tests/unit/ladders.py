# SPDX-License-Identifier: Apache-2.0
"""A served version that is asked as a request asks it: shared by the tests of the ladder."""

from __future__ import annotations

import asyncio
import time
from typing import Any

import msgspec
from fakes import Shelf, settings

from dropfit import served
from dropfit.admission import Lane
from dropfit.answers import Prediction
from dropfit.ladder import Ladder
from dropfit.served import Served

GOOD: dict[str, Any] = {"leaf": "assam", "cup": "small", "minutes": 3}
NEW_CUP: dict[str, Any] = {"leaf": "assam", "cup": "small", "minutes": 3.25}
"""A key that no row held, of a group that some did."""


def open_(shelf: Shelf, mode: str = "hybrid", miss: str = "fallback", lane: Lane | None = None) -> Served:
    registry = shelf.registry()
    given_settings = settings(mode=mode, miss=miss)
    return served.load(registry, shelf.problem, given_settings, lane or Lane(), registry.pointer())


async def answered(ladder: Ladder, instances: list[Any], deadline: float) -> list[Prediction]:
    """As the service asks."""
    return ladder.at_once(instances, deadline) or await ladder.in_time(instances, deadline)


def ask(found: Served, *instances: dict[str, Any], budget: float = 10.0) -> list[Prediction]:
    decoded = found.decoder.decode(msgspec.json.encode({"instances": instances}))
    return asyncio.run(answered(found.ladder, decoded, time.monotonic() + budget))
