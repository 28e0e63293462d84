# SPDX-License-Identifier: Apache-2.0
"""Files of any kind as bytes, and what reading them gives: shared by the tests of reading."""

from __future__ import annotations

import io
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from dropfit import reading
from dropfit.batches import Broken, Caps
from dropfit.errors import BadFile

NEEDED = ("id", "note")
HEADER = b"id,note\n"
SMALL = Caps(max_field_bytes=64)


def unexpected(rows: list[Broken]) -> None:
    raise AssertionError(f"{len(rows)} broken rows could have waited for their batch")


def rows_of(payload: bytes, caps: Caps = SMALL) -> tuple[dict[int, tuple[Any, ...]], dict[int, str]]:
    """Row number -> cells of the readable rows, and row number -> reason of the others."""
    good: dict[int, tuple[Any, ...]] = {}
    broken: dict[int, str] = {}
    for batch in reading.read(io.BytesIO(payload), NEEDED, caps, unexpected):
        cells = zip(*(batch.columns[n].to_pylist() for n in NEEDED), strict=True)
        for number, row in zip(batch.rows.tolist(), cells, strict=True):
            assert number not in good, "a row number was given twice"
            good[number] = row
        broken |= {r.row: r.reason for r in batch.broken}
    return good, broken


def refused(payload: bytes, caps: Caps = SMALL) -> BadFile:
    with pytest.raises(BadFile) as caught:
        rows_of(payload, caps)
    return caught.value


def parquet(**columns: Any) -> bytes:
    sink = io.BytesIO()
    pq.write_table(pa.table(columns), sink)
    return sink.getvalue()
