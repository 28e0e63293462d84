# SPDX-License-Identifier: Apache-2.0
"""What the long benchmarks share: what they were measured on, and how they end."""

from __future__ import annotations

import os
import platform
from types import FrameType


def machine() -> dict[str, str | int | float]:
    """What the figures were measured on, and how busy it was before."""
    return {
        "python": platform.python_version(),
        "system": platform.platform(),
        "processors": os.cpu_count() or 0,
        "load_before": os.getloadavg()[0],
    }


def interrupt(number: int, frame: FrameType | None) -> None:
    """A signal ends the run as Ctrl-C does: with everything that was started."""
    raise KeyboardInterrupt
