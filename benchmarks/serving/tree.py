# SPDX-License-Identifier: Apache-2.0
"""What a process and everything that it started have used: processor seconds, resident memory. Read from /proc."""

from __future__ import annotations

import os
from pathlib import Path

TICK = 1 / os.sysconf("SC_CLK_TCK")
PROC = Path("/proc")


def cpu_ticks(stat: str) -> int:
    """Clock ticks of one process and of its children that have ended, user and system, from /proc/PID/stat."""
    fields = stat.rpartition(")")[2].split()  # the name before it may hold spaces and brackets
    return sum(int(value) for value in fields[11:15])  # utime stime cutime cstime: fields 14 to 17


def parent(stat: str) -> int:
    """The parent's pid."""
    return int(stat.rpartition(")")[2].split()[1])


def family(root: int, parents: dict[int, int]) -> list[int]:
    """A process and its descendants, from who is whose parent."""
    members = [root]
    for member in members:
        members += [pid for pid, of in parents.items() if of == member]
    return members


def stats() -> dict[int, str]:
    """Every process's /proc/PID/stat."""
    found = {}
    for entry in PROC.iterdir():
        if entry.name.isdigit():
            try:
                found[int(entry.name)] = (entry / "stat").read_text()
            except OSError:  # it ended meanwhile
                continue
    return found


def members(root: int) -> list[int]:
    """The living pids of a process tree."""
    return family(root, {pid: parent(stat) for pid, stat in stats().items()})


class Meter:
    """Processor seconds of one process tree since the meter was made.

    Args:
        root: the tree's first process.
    """

    def __init__(self, root: int) -> None:
        self._pids = members(root)
        self._before = self._ticks()

    def seconds(self) -> float:
        """User and system seconds until now."""
        return (self._ticks() - self._before) * TICK

    def _ticks(self) -> int:
        return sum(cpu_ticks((PROC / str(pid) / "stat").read_text()) for pid in self._pids)


def pss(rollup: str) -> int:
    """Bytes of proportional set size in /proc/PID/smaps_rollup: what is shared counts by its share."""
    line = next(line for line in rollup.splitlines() if line.startswith("Pss:"))
    return int(line.split()[1]) * 1024


def memory(root: int) -> int:
    """Bytes of PSS of a process tree."""
    return sum(pss((PROC / str(pid) / "smaps_rollup").read_text()) for pid in members(root))
