# SPDX-License-Identifier: Apache-2.0
"""From a process's start to its first prediction, what it keeps in memory then, and what it imports for that."""

from __future__ import annotations

import collections
import contextlib
import http.client
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from . import tree
from .rounds import Spread, spread
from .servers import Server, Spec, post, running

REQUESTS = 1000
HEAVY = ("sklearn", "pandas", "scipy", "pyarrow")
"""What the predict path must not import."""
LINE = re.compile(r"import time:\s+(\d+) \|\s+(\d+) \|\s*(\S+)")


@dataclass
class Start:
    """What a server's starts took.

    Attributes:
        server: its name.
        seconds: from spawn to the first prediction, of each start.
        memory: bytes of PSS of the process tree after 1,000 requests, of one start or of each; no other server runs.
        lines: lines on standard output for those requests.
    """

    server: str
    seconds: list[float]
    memory: list[int]
    lines: int = 0

    @property
    def took(self) -> Spread:
        """Seconds."""
        return spread(self.seconds)

    @property
    def megabytes(self) -> Spread:
        """Of memory, in 10**6 bytes."""
        return spread([held / 1e6 for held in self.memory])


@dataclass(frozen=True)
class Imports:
    """What Dropfit's server has imported when it has made its first prediction.

    Attributes:
        heavy: names it must not import, and did.
        modules: how many modules.
        dearest: (package, milliseconds of its own modules), the ten greatest.
    """

    heavy: list[str]
    modules: int
    dearest: list[tuple[str, float]]


def starts(
    specs: Sequence[Spec],
    environ: Mapping[str, str],
    folder: Path,
    requests: Mapping[str, Sequence[bytes]],
    number: int,
    tell: Callable[[str], None],
) -> list[Start]:
    """Start each server alone, in turn, again and again; each once before that counts, for its bytecode.

    Args:
        specs: the servers.
        environ: the local cloud's.
        folder: for logs.
        requests: server's name -> bodies of one row.
        number: of starts.
        tell: told each step.
    """
    found = [Start(spec.name, [], []) for spec in specs]
    for turn in range(number + 1):
        for spec, start in zip(specs, found, strict=True):
            tell(f"start {turn} of {number}: {spec.name}")
            server = Server(spec, environ, folder)
            try:
                seconds = server.await_answer(requests[spec.name][0])
                if turn:
                    start.seconds.append(seconds)
                if turn == 1 or (turn and spec.meant is not None):  # a thousand of the slow ones' would take long
                    work(server, requests[spec.name])
                    start.memory.append(tree.memory(server.pid))
            finally:
                lines = server.end()
            if turn == 1:
                start.lines = lines
    return found


def work(server: Server, requests: Sequence[bytes]) -> None:
    """A thousand predictions, one after another."""
    with contextlib.closing(http.client.HTTPConnection("127.0.0.1", server.ports[0], timeout=30)) as connection:
        for position in range(REQUESTS):
            status, reply = post(connection, server.spec.path, requests[position % len(requests)])
            assert status == 200, reply


def imports(spec: Spec, environ: Mapping[str, str], folder: Path, body: bytes) -> Imports:
    """Start Dropfit with Python's import clock, ask once, and read what it says."""
    with running(spec, environ, folder, {"PYTHONPROFILEIMPORTTIME": "1"}) as server:
        server.await_answer(body)
        log = server.errors
    return parse_imports(log.read_text(errors="replace"))


def parse_imports(text: str) -> Imports:
    """What `python -X importtime` wrote: its own time of each module, summed by package."""
    spent: collections.Counter[str] = collections.Counter()
    names = []
    for own, _, name in LINE.findall(text):
        names.append(name)
        spent[package(name)] += int(own)
    heavy = sorted({name.split(".")[0] for name in names} & set(HEAVY))
    return Imports(heavy, len(set(names)), [(name, own / 1000) for name, own in spent.most_common(10)])


def package(module: str) -> str:
    """The package that a module belongs to; Google's, which share a name, by two or three words."""
    words = module.split(".")
    return ".".join(words[: 3 if words[:2] == ["google", "cloud"] else 2 if words[0] == "google" else 1])
