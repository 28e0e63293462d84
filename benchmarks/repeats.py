# SPDX-License-Identifier: Apache-2.0
"""What it costs to know which rows were accepted before: one upload among few and among many; a year of flights.

.venv/bin/python -m benchmarks.repeats          half a minute
"""

from __future__ import annotations

import io
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from dropfit.duplicates import Hashes, KnownRows, gathered, hashes
from dropfit.encoding import length
from dropfit.ingest import Caps, from_table, ingest
from dropfit.problem import problem
from localcloud import flights


def seconds(work: Callable[[], Any]) -> float:
    """CPU seconds of the best of three."""
    taken = []
    for _ in range(3):
        begun = time.process_time()
        work()
        taken.append(time.process_time() - begun)
    return min(taken)


def year() -> dict[str, Any]:
    """Accepted rows of all twelve months."""
    import pyarrow.parquet as pq

    parts = []
    with tempfile.TemporaryDirectory() as folder:
        for file in flights.months(Path(folder)):
            good = io.BytesIO()
            ingest(problem, io.BytesIO(file.read_bytes()), good, io.StringIO(), Caps())
            parts.append(from_table(pq.read_table(io.BytesIO(good.getvalue()))))
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


def main() -> None:
    """Print the figures."""
    chance = np.random.default_rng(0)
    known = KnownRows()
    print("uploads of 300 rows known before | CPU ms to compare one more")
    for count in range(2001):
        identities = chance.integers(0, 2**63, 300, dtype=np.uint64)
        held = gathered([Hashes(identities, identities.astype(np.uint32))], 300)
        if count in (1, 10, 100, 300, 1000, 2000):
            print(f"{count:6,} | {seconds(lambda held=held: known.compare(held)) * 1000:.3f}")  # type: ignore[misc]
        known.add(str(count), held)
    rows = year()
    whole = gathered([hashes(problem, rows)], length(rows))
    print(f"\na year: {length(rows):,} rows, of {len(whole.identities):,} identities")
    print(f"hashed in {seconds(lambda: gathered([hashes(problem, rows)], length(rows))):.2f} CPU s")
    everything = KnownRows()
    everything.add("year", whole)
    print(f"compared with itself in {seconds(lambda: everything.compare(whole)):.2f} CPU s")


if __name__ == "__main__":
    main()
