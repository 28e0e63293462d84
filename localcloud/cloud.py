# SPDX-License-Identifier: Apache-2.0
"""The local cloud's front door: everything that the command line, the demo and the tests need.

with LocalCloud(home) as cloud:
    cloud.env["STORAGE_EMULATOR_HOST"]
"""

from __future__ import annotations

from pathlib import Path

from .control import ProcessStatus, status, stop
from .daemon import serve, start_detached
from .eventarc import queue
from .eventarc.chaos import Chaos
from .eventarc.options import Options
from .eventarc.queue import Counts, DeadLetter
from .home import Home
from .ports import SERVICES, parse_ports
from .supervisor import LocalCloud

__all__ = [
    "SERVICES",
    "Chaos",
    "Counts",
    "DeadLetter",
    "Home",
    "LocalCloud",
    "Options",
    "ProcessStatus",
    "dead_letters",
    "event_counts",
    "parse_ports",
    "serve",
    "start_detached",
    "status",
    "stop",
]


def event_counts(home: Path) -> Counts:
    """How many upload events of this home wait, were delivered, and are dead; also while nothing runs."""
    return queue.counts(Home(home.absolute()).events)


def dead_letters(home: Path) -> list[DeadLetter]:
    """Events that were given up after their retention, the latest last."""
    return queue.dead_letters(Home(home.absolute()).events)
