# SPDX-License-Identifier: Apache-2.0
"""Files made of rows, and what taking them in leaves: shared by the tests of ingest."""

from __future__ import annotations

import csv
import io
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from fakes import tea

from dropfit.contract import Problem
from dropfit.ingest import Caps, Ingested, from_table, ingest

TOLERANT = Caps(max_bad_share=1.0)
GOOD = {"leaf": "assam", "cup": "small", "minutes": 3, "warmth": 60, "brewed": "2013-01-01", "pot": 1, "drunk": 1}


class Outcome:
    """What ingest left."""

    def __init__(self, found: Ingested, accepted: Any, rejected: str) -> None:
        self.found = found
        self.accepted = accepted
        self.columns = from_table(accepted)
        self.rejected = list(csv.DictReader(io.StringIO(rejected.removeprefix("\ufeff"), newline="")))
        assert (found.rows, found.rejected) == (accepted.num_rows, len(self.rejected))

    @property
    def reasons(self) -> list[tuple[int, str, str]]:
        marks = [(int(r["dropfit_row"]), r["dropfit_column"], r["dropfit_reason"]) for r in self.rejected]
        return sorted(marks)


def taken_in(payload: bytes, problem: Problem | None = None, caps: Caps = TOLERANT) -> Outcome:
    accepted, rejected = io.BytesIO(), io.StringIO(newline="")
    found = ingest(problem or tea(), io.BytesIO(payload), accepted, rejected, caps)
    accepted.seek(0)
    return Outcome(found, pq.read_table(accepted), rejected.getvalue())


def as_csv(rows: list[dict[str, Any]]) -> bytes:
    sink = io.StringIO(newline="")
    sheet = csv.DictWriter(sink, rows[0].keys())
    sheet.writeheader()
    sheet.writerows(rows)
    return sink.getvalue().encode()


def with_one_bad(**cells: Any) -> Outcome:
    """A good row, one with these cells, a good row."""
    return taken_in(as_csv([GOOD, {**GOOD, "pot": 2, **cells}, {**GOOD, "pot": 3}]))


def parquet(**columns: Any) -> bytes:
    usual = {"leaf": ["assam", "sencha"], "cup": ["small", None], "minutes": [1.0, 2.0], "warmth": [60, 70]}
    usual |= {"brewed": pa.array([0, 1], pa.timestamp("us")), "pot": [1, 2], "drunk": [0, 1]}
    sink = io.BytesIO()
    pq.write_table(pa.table({**usual, **columns}), sink)
    return sink.getvalue()
