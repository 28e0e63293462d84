# SPDX-License-Identifier: Apache-2.0
"""What a proof by breaking is made of: something is broken, and tests are run until one of them is red."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import msgspec

ROOT = Path(__file__).parents[2]
Tests = tuple[str, ...]


class Figure(msgspec.Struct, frozen=True, kw_only=True):
    """What became red.

    Attributes:
        what: is broken: guards, sabotages.
        how: it is broken, with the word before it.
        red: its name -> the first test that missed it; empty when none did.
        broken: the first of the same tests that is red with nothing broken; empty when none is.
        seconds: it took.
        more: what else is to be said.
    """

    what: str
    how: str
    red: dict[str, str]
    broken: str
    seconds: float
    more: str = ""

    @property
    def ok(self) -> bool:
        """Whether everything that is broken is missed by a test, and nothing without a cause."""
        return not self.broken and all(self.red.values())

    @property
    def sentence(self) -> str:
        """The figure, for people."""
        missed = sum(map(bool, self.red.values()))
        baseline = f"AND SO IS {self.broken} WITHOUT" if self.broken else "all are green without"
        lost = "".join(f"; NO TEST MISSES {name}" for name, test in self.red.items() if not test)
        return (
            f"{missed} of {len(self.red)} {self.what} turn a test red {self.how}; {baseline}{lost}{self.more} "
            f"({self.seconds:.0f} s)"
        )

    @property
    def table(self) -> str:
        """Which test misses which."""
        width = max(map(len, self.red), default=0)
        return "\n".join(f"{name:{width}} {test or 'NO TEST TURNS RED'}" for name, test in self.red.items())


def first(
    tests: Tests, folder: Path = ROOT, arguments: Tests = (), kinds: str = "FAILED|ERROR", **environ: str
) -> str:
    """The first test that is red, by its file and name; empty when all are green.

    Args:
        tests: files, or tests in them.
        folder: the tree they are run in.
        arguments: of pytest.
        kinds: what counts as red.
        environ: beside what this process has.

    Raises:
        RuntimeError: when pytest ended in another way.
    """
    command = [sys.executable, "-m", "pytest", "-q", "-x", "-p", "no:xdist", "-p", "no:cacheprovider", *arguments]
    ended = subprocess.run(
        [*command, *tests], cwd=folder, env=os.environ | environ, capture_output=True, text=True, timeout=1200
    )
    found = re.search(rf"^(?:{kinds}) \S*?(\w+\.py(?:::\S+)?)", ended.stdout, re.MULTILINE)
    if ended.returncode == 0:
        return ""
    if ended.returncode != 1 or found is None:
        raise RuntimeError(f"pytest ended with {ended.returncode}:\n{ended.stdout[-2000:]}{ended.stderr[-2000:]}")
    return found[1]


def each(
    what: str,
    how: str,
    cases: Mapping[str, Tests],
    breaks: Callable[[str], str],
    more: str = "",
    workers: int = 2,
    tick: Callable[[], None] = lambda: None,
) -> Figure:
    """Break one after the other, each in a process of its own, and nothing once.

    Args:
        what: as in Figure; so are how and more.
        how: see there.
        cases: name -> the tests of which one must turn red.
        breaks: what first() says with something broken, by its name; nothing for an empty name.
        more: see there.
        workers: processes at a time.
        tick: called after each.
    """
    begun = time.monotonic()

    def told(name: str) -> str:
        found = breaks(name)
        tick()
        return found

    with ThreadPoolExecutor(workers) as pool:
        green = pool.submit(breaks, "")
        red = {name: pool.submit(told, name) for name in cases}
    return Figure(
        what=what,
        how=how,
        red={name: ended.result() for name, ended in red.items()},
        broken=green.result(),
        seconds=time.monotonic() - begun,
        more=more,
    )
