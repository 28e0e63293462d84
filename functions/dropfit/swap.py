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

from .errors import ArtifactError, DropfitError, NotFound, Unavailable

LOG = logging.getLogger(__name__)
SILENCE = 10.0
"""Seconds without a look after which a request waits for one."""
PATIENCE = 2.0
"""Seconds it then waits at most, while there is a version to answer with."""
FIRST_PATIENCE = 10.0
"""Seconds a request waits at most for the first version; a storage that is down is tried again for a minute."""
FIRST_PAUSE, LONGEST_PAUSE = 1.0, 60.0
"""Seconds until a version that could not be loaded is fetched again, doubled each time."""

P = TypeVar("P")
T = TypeVar("T")


class Live(Generic[P, T]):
    """What is served now.

    Args:
        generation: asks for the pointer's generation; 0 means that there is none.
        read: reads the pointer.
        load: reads, checks, loads and warms what a pointer names.
        seconds: between two looks.

    Attributes:
        loaded: what answers; None until a first version was loaded.
        trouble: why the newest version, or the pointer, is not what is served; empty when it is.
        swaps: versions that were exchanged.
        refusals: times that a version could not be loaded.
    """

    def __init__(
        self, generation: Callable[[], int], read: Callable[[], P], load: Callable[[P], T], seconds: float
    ) -> None:
        self._generation = generation
        self._read = read
        self._load = load
        self._seconds = seconds
        self._looked = float("-inf")
        self._lost: float | None = None
        self._seen = 0
        self._refused = 0
        self._why = ""
        self._pause = 0.0
        self._again = 0.0
        self._looking: asyncio.Task[None] | None = None
        self.loaded: T | None = None
        self.trouble = ""
        self.swaps = 0
        self.refusals = 0

    @property
    def fresh(self) -> T | None:
        """What is loaded, if the last look at the pointer is recent enough; else `get` looks."""
        return self.loaded if time.monotonic() - self._looked < self._seconds else None

    async def get(self, patience: float = PATIENCE) -> T | None:
        """What to answer this request with; None while nothing has ever been promoted or loadable.

        Args:
            patience: seconds that it may wait at most for a newer version, while one is loaded.
        """
        silence = time.monotonic() - self._looked
        first = self._looking is None and silence >= self._seconds
        if first:
            self._looking = asyncio.create_task(self._look())
        if self._looking is not None and self.loaded is None:
            done, _ = await asyncio.wait({self._looking}, timeout=FIRST_PATIENCE)
            if not done:
                self.trouble = self.trouble or "the first version is not loaded yet: storage is slow, or down"
        elif self._looking is not None and first and silence >= SILENCE:
            await asyncio.wait({self._looking}, timeout=min(patience, PATIENCE))
        return self.loaded

    @property
    def unreadable_for(self) -> float:
        """Seconds since a look first found the pointer unreadable; 0 while it can be read."""
        return 0.0 if self._lost is None else time.monotonic() - self._lost

    async def _look(self) -> None:
        try:
            loaded = await asyncio.to_thread(self._exchange)
        except Unavailable as error:
            # What Google's client says holds addresses, and is for the log alone.
            LOG.warning("storage does not answer, the loaded version goes on: %s", error)
            self.trouble = "storage does not answer; the function's log has its words"
        except DropfitError as error:
            if str(error) != self.trouble:
                LOG.error("the newest version cannot be served, the loaded one goes on: %s", error)
            self.trouble = str(error)
        except Exception as error:  # a look must never end the looking, whatever a broken version does
            LOG.exception("looking for a new version failed")
            self.trouble = f"{type(error).__name__} while loading a version"
        else:
            if self.loaded is not None and loaded is not self.loaded:
                self.swaps += 1
            self.loaded, self.trouble = loaded, ""
        finally:
            self._looked = time.monotonic()
            self._looking = None

    def _exchange(self) -> T | None:
        try:
            generation = self._generation()
            if generation == 0 and self.loaded is not None:
                raise NotFound("the pointer is gone; `dropfit rollback VERSION` writes it anew")
            pointer = self._read() if self._is_new(generation) else None
        except Exception:
            self._lost = self._lost or time.monotonic()
            raise
        self._lost = None
        if pointer is not None:
            loaded = self._loaded(pointer, generation)
            self._seen = generation
            return loaded
        if generation == self._refused and generation:
            raise ArtifactError(self._why)
        return self.loaded

    def _is_new(self, generation: int) -> bool:
        """Whether to load what the pointer names: not what is loaded, nor what has just been refused."""
        resting = generation == self._refused and time.monotonic() < self._again
        return generation not in (0, self._seen) and not resting

    def _loaded(self, pointer: P, generation: int) -> T:
        try:
            return self._load(pointer)
        except Exception as error:
            self._pause = min(2 * self._pause, LONGEST_PAUSE) if generation == self._refused else FIRST_PAUSE
            self._refused, self._again = generation, time.monotonic() + self._pause
            self._why = _said(error)
            self.refusals += 1
            raise


def _said(error: Exception) -> str:
    """Why a version was refused, without what Google's client says of addresses."""
    if isinstance(error, Unavailable):
        return "storage did not answer while the newest version was loaded; it is tried again"
    return str(error) if isinstance(error, DropfitError) else f"{type(error).__name__} while loading it"
