# SPDX-License-Identifier: Apache-2.0
"""Whether a contender wrote every row, and what scikit-learn says of its key."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from .contenders import forms

NEAR = 1e-4
PARTS, ROWS = 4, 5_000
"""How many row groups are compared, and how many rows of each."""


def check(folder: Path, sink: Path, rows: int) -> float:
    """Count all rows, compare some; the largest difference.

    Args:
        folder: holds expected.parquet.
        sink: Parquet files, in any order.
        rows: how many rows there must be.

    Raises:
        ValueError: saying what is otherwise.
    """
    import pyarrow.parquet as pq

    files = [pq.ParquetFile(file) for file in sorted(sink.rglob("*.parquet"))]
    written = sum(file.metadata.num_rows for file in files)
    if written != rows:
        raise ValueError(f"it wrote {written:,} rows of {rows:,}")
    groups = [(file, group) for file in files for group in range(file.num_row_groups)]
    expected = predictions(pq.read_table(folder / "expected.parquet"))
    known, largest = dict(expected), 0.0
    for file, group in groups[:: max(1, len(groups) // PARTS)]:
        part = file.read_row_group(group, columns=[*forms.KEY, "prediction"])
        largest = max(largest, apart(known, predictions(part.slice(0, ROWS))))
    if not largest <= NEAR:
        raise ValueError(f"a prediction differs from scikit-learn's by {largest:.2g}, at most {NEAR:g} is allowed")
    return largest


def predictions(table: Any) -> list[tuple[tuple[Any, ...], float]]:
    """Each row's key and prediction."""
    keys = zip(*(table[name].to_pylist() for name in forms.KEY), strict=True)
    return list(zip(keys, table["prediction"].to_pylist(), strict=True))


def apart(known: dict[tuple[Any, ...], float], found: list[tuple[tuple[Any, ...], float]]) -> float:
    """The largest difference; infinity where a key is unknown."""
    return max((abs(value - known.get(key, float("inf"))) for key, value in found), default=0.0)
