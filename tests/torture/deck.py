# SPDX-License-Identifier: Apache-2.0
"""Flights dealt once, written in any form, and the verdicts that files of them must get."""

from __future__ import annotations

import csv
import functools
import io
import json
import random
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq

from dropfit.problem import problem
from localcloud import flights

ROWS = 60
UNPACKED = 64 * 1024**2
"""What files may unpack to here: small, so that the bombs may be."""
NEEDED = [column.name for column in problem.columns]
Row = dict[str, str]


class Verdict(NamedTuple):
    """What became of a file, or must become of it.

    Attributes:
        code: why it was refused, "" if it was not.
        accepted: rows.
        rejected: rows.
    """

    code: str = ""
    accepted: int = 0
    rejected: int = 0


@functools.cache
def year() -> tuple[Row, ...]:
    """The flights of February to May that arrived; January is left for a model."""
    found: list[Row] = []
    with tempfile.TemporaryDirectory() as folder:
        for month in flights.months(Path(folder), range(2, 6)):
            with month.open(newline="") as stream:
                found += (row for row in csv.DictReader(stream) if row["arr_delay"] not in ("", "NA"))
    return tuple(found)


class Deck:
    """Flights in a seeded order, dealt once."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)  # noqa: S311
        self._rows = iter(self.random.sample(year(), 30_000))

    def deal(self, rows: int = ROWS) -> list[Row]:
        """The next so many."""
        return [dict(next(self._rows)) for _ in range(rows)]

    def changed(self, *cells: Row) -> list[Row]:
        """The next flights, the first ones with these cells."""
        rows = self.deal()
        for row, more in zip(rows, cells, strict=False):
            row.update(more)
        return rows


def text(rows: Sequence[Row], header: Sequence[str] | None = None, **how: Any) -> str:
    """Rows as CSV."""
    sink = io.StringIO(newline="")
    how = {"lineterminator": "\n", **how}
    sheet = csv.DictWriter(sink, header or list(rows[0]), extrasaction="ignore", **how)
    sheet.writeheader()
    sheet.writerows(rows)
    return sink.getvalue()


def lines(rows: Sequence[dict[str, Any]], end: str = "\n") -> bytes:
    """Rows as JSON lines."""
    return "".join(json.dumps(row) + end for row in rows).encode()


def table(rows: Sequence[Row]) -> Any:
    """Rows as an Arrow table: texts for the names, whole numbers for the others."""
    names = ("carrier", "origin", "dest")
    columns = {n: [row[n] if n in names else int(row[n]) for row in rows] for n in NEEDED}
    return pa.table({n: pa.array(v, pa.string() if n in names else pa.int64()) for n, v in columns.items()})


def parquet(columns: Any, **how: Any) -> bytes:
    """A table as Parquet."""
    sink = io.BytesIO()
    pq.write_table(columns, sink, **how)
    return sink.getvalue()


def with_column(columns: Any, name: str, values: Any) -> Any:
    """The table with one column replaced."""
    return columns.set_column(columns.column_names.index(name), name, values)


GOOD = Verdict(accepted=ROWS)


def refused(code: str) -> Verdict:
    """The verdict of a file that is refused whole."""
    return Verdict(code=code)


def some(rejected: int) -> Verdict:
    """The verdict of a file of which so many rows are set aside."""
    return Verdict(accepted=ROWS - rejected, rejected=rejected)


Named = Iterator[tuple[str, bytes, Verdict]]
