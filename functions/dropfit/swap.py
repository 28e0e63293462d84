# SPDX-License-Identifier: Apache-2.0
"""The version being served, exchanged whole while requests go on.

A function has no background: looks at the pointer are driven by requests, at most one per `seconds`, and run in a
thread so that no request waits for one. Only a request that comes after a long silence waits, because the version in
memory may be long out of date, and only briefly.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable
from typing import Generic, TypeVar

from .errors import DropfitError

LOG = logging.getLogger(__name__)
SILENCE = 10.0
"""Seconds without a look after which a request waits for one."""
PATIENCE = 2.0
"""Seconds it then waits at most, while there is a version to answer with."""

T = TypeVar("T")


class Live(Generic[T]):
    """What is served now.

    Args:
        generation: asks for the pointer's generation; 0 means that there is none.
        load: reads, checks, loads and warms what the pointer names.
        seconds: between two looks.
    """

    def __init__(self, generation: Callable[[], int], load: Callable[[], T], seconds: float) -> None:
        self._generation = generation
        self._load = load
        self._seconds = seconds
        self._looked = float("-inf")
        self._seen = 0
        self._looking: asyncio.Task[None] | None = None
        self.loaded: T | None = None
        self.trouble = ""

    async def get(self) -> T | None:
        """What to answer this request with; None while nothing has ever been promoted or loadable."""
        silence = time.monotonic() - self._looked
        first = self._looking is None and silence >= self._seconds
        if first:
            self._looking = asyncio.create_task(self._look())
        if self._looking is not None and self.loaded is None:
            await asyncio.shield(self._looking)
        elif self._looking is not None and first and silence >= SILENCE:
            await asyncio.wait({self._looking}, timeout=PATIENCE)
        return self.loaded

    async def _look(self) -> None:
        try:
            loaded = await asyncio.to_thread(self._exchange)
        except DropfitError as error:
            if str(error) != self.trouble:
                LOG.error("the newest version cannot be served, the loaded one goes on: %s", error)
            self.trouble = str(error)
        except Exception as error:  # a look must never end the looking, whatever a broken version does
            LOG.exception("looking for a new version failed")
            self.trouble = f"{type(error).__name__} while loading a version"
        else:
            self.loaded, self.trouble = loaded, ""
        finally:
            self._looked = time.monotonic()
            self._looking = None

    def _exchange(self) -> T | None:
        generation = self._generation()
        if generation == self._seen:
            return self.loaded
        if generation == 0:
            # The pointer vanished: serve on with what is loaded.
            return self.loaded
        loaded = self._load()
        self._seen = generation
        return loaded
