# SPDX-License-Identifier: Apache-2.0
"""The stages of a deployment, told as they go, each with its time; and how to go on when one breaks off."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from dropfit.errors import DeployError, DropfitError

Tell = Callable[[str], None]


class Stages:
    """Tells what is being done.

    Args:
        tell: what a person reads.
        again: the command that goes on after a fault.
    """

    def __init__(self, tell: Tell, again: str) -> None:
        self._tell, self._again = tell, again
        self._number = 0

    @contextmanager
    def stage(self, name: str) -> Iterator[Tell]:
        """One stage; what is told in it is indented.

        Raises:
            DeployError: for each of our errors in it, with the stage and the way to go on.
        """
        self._number += 1
        self._tell(f"{self._number}. {name}")
        start = time.monotonic()
        try:
            yield lambda text: self._tell("\n".join(f"   {line}" for line in text.splitlines()))
        except DropfitError as error:
            way = f"What was done stays. When that is mended, `{self._again}` goes on from here."
            raise DeployError(f"{name}, after {time.monotonic() - start:.1f} s: {error}\n{way}") from error
        except KeyboardInterrupt:
            self._tell(f"interrupted in: {name}. What was done stays; `{self._again}` goes on from here.")
            raise
        self._tell(f"   {time.monotonic() - start:.1f} s")
