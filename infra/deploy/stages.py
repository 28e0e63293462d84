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
        self._changed = False

    @contextmanager
    def stage(self, name: str, *, changes: bool = True) -> Iterator[Tell]:
        """One stage; what is told in it is indented.

        Args:
            name: what is done.
            changes: whether it may change anything in the cloud.

        Raises:
            DeployError: for each of our errors in it, with the stage and the way to go on.
        """
        self._number += 1
        self._changed |= changes
        self._tell(f"{self._number}. {name}")
        start = time.monotonic()
        try:
            yield lambda text: self._tell("\n".join(f"   {line}" for line in text.splitlines()))
        except DropfitError as error:
            raise DeployError(
                f"{name}, after {time.monotonic() - start:.1f} s: {error}\n{self._way('When that is mended, ')}"
            ) from error
        except KeyboardInterrupt:
            self._tell(f"interrupted in: {name}. {self._way('')}")
            raise
        self._tell(f"   {time.monotonic() - start:.1f} s")

    def _way(self, once: str) -> str:
        """How to go on."""
        if self._changed:
            return f"What was done stays. {once}`{self._again}` goes on from here."
        return f"Nothing was changed in the cloud. {once}`{self._again}` begins anew."
