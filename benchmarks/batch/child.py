# SPDX-License-Identifier: Apache-2.0
"""The contender's side of a measurement: be ready, get a file, time the work, say how long it took."""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path

Work = Callable[[Path, Path], None]
"""Source file, empty folder for the Parquet files of keys and predictions."""


def serve(load: Callable[[Path], Work]) -> None:
    """Load, tell that it is ready, do what standard input asks for, tell the seconds.

    Args:
        load: the prepared folder -> the work; imports and all that happens once belong in here.
    """
    answers = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)  # whatever a library prints is not an answer
    work = load(Path(sys.argv[1]))
    answers.write(json.dumps({"ready": True}) + "\n")
    for line in sys.stdin:
        asked = json.loads(line)
        began = time.perf_counter()
        work(Path(asked["source"]), Path(asked["sink"]))
        answers.write(json.dumps({"seconds": time.perf_counter() - began}) + "\n")
