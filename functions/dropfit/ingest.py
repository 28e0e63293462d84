# SPDX-License-Identifier: Apache-2.0
"""A raw file -> accepted rows as Parquet, rejected rows with reasons; or BadFile for the whole of it."""

from __future__ import annotations

import collections
import csv
from collections.abc import Iterator, Sequence
from typing import Any, BinaryIO, TextIO

import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from . import cells
from .contract import Category, Columns, Number, Probability, Problem, Quantity, describe
from .encoding import length, take
from .errors import BadFile
from .reading import Batch, Rejected, read

Array = np.ndarray[Any, Any]
MAX_REJECTED_KEPT = 100_000
NAMED = 30
MARKS = ("dropfit_row", "dropfit_column", "dropfit_reason", "dropfit_text")


class Caps(msgspec.Struct, frozen=True, kw_only=True):
    """What a file may be.

    Attributes:
        max_unpacked_bytes: a compressed file that unpacks to more is refused.
        max_bad_share: a file with a larger share (0 to 1) of rejected rows is refused.
        overridden: codes of judgements about the file as a whole that a person has overridden.
    """

    max_unpacked_bytes: int = 8 * 1024**3
    max_bad_share: float = 0.5
    overridden: frozenset[str] = frozenset()


class Ingested(msgspec.Struct, frozen=True):
    """What became of a file's rows.

    Attributes:
        rows: accepted.
        rejected: set aside.
        reasons: `column: reason` -> number of rows.
        notes: what was odd but harmless.
    """

    rows: int
    rejected: int
    reasons: dict[str, int]
    notes: list[str]


def ingest(problem: Problem, stream: BinaryIO, accepted: BinaryIO, rejected: TextIO, caps: Caps) -> Ingested:
    """Read a file batch by batch, and part its rows.

    Args:
        problem: what a row must be.
        stream: the file, seekable.
        accepted: gets the good rows as Parquet: features, target, identity, time.
        rejected: gets the others as CSV: the cells as they stood, number, column and reason, and the whole text of
            a row that could not be split into cells.
        caps: what the file may be.

    Raises:
        BadFile: when the file as a whole cannot be used; what was written until then is void.
    """
    needed = [c.name for c in problem.columns]
    reasons: collections.Counter[str] = collections.Counter()
    notes: list[str] = []
    rows = 0
    sheet = csv.writer(rejected)
    sheet.writerow([*needed, *MARKS])
    writer: pq.ParquetWriter | None = None
    for batch in read(stream, needed, caps.max_unpacked_bytes):
        good, bad = part(problem, batch)
        notes = notes or _notes(batch.ignored)
        for row in bad:
            reasons[f"{row.column}: {row.reason}" if row.column else row.reason] += 1
            if reasons.total() <= MAX_REJECTED_KEPT:
                texts = (row.values.get(name, "") for name in needed)
                sheet.writerow([*texts, row.row, row.column, row.reason, row.values.get("", "")])
        if not length(good):
            continue
        table = to_table(problem, good)
        writer = writer or pq.ParquetWriter(accepted, table.schema, compression="zstd")
        writer.write_table(table)
        rows += table.num_rows
    if writer is not None:
        writer.close()
    _judge(rows, reasons, caps)
    return Ingested(rows, reasons.total(), dict(reasons.most_common(100)), notes)


def _notes(ignored: Sequence[str]) -> list[str]:
    if not ignored:
        return []
    more = f" and {len(ignored) - NAMED:,} more" if len(ignored) > NAMED else ""
    return [f"columns ignored: {', '.join(name[:64] for name in ignored[:NAMED])}{more}"]


def _judge(rows: int, reasons: collections.Counter[str], caps: Caps) -> None:
    bad = reasons.total()
    if not rows and not bad:
        raise BadFile("it has a header and no rows", "no-rows")
    too_many = bad / (rows + bad) > caps.max_bad_share and "too-many-bad-rows" not in caps.overridden
    if too_many or not rows:
        most = "; ".join(f"{reason} ({count:,} rows)" for reason, count in reasons.most_common(5))
        raise BadFile(f"{bad:,} of {rows + bad:,} rows cannot be used: {most}", "too-many-bad-rows")


def part(problem: Problem, batch: Batch) -> tuple[Columns, list[Rejected]]:
    """The good rows of a batch as columns of an accepted row, and the others with their reasons."""
    marks = cells.Marks(len(batch.rows))
    typed = {c.name: cells.typed(c, batch.columns[c.name], problem.nulls, marks) for c in problem.columns}
    kept = np.flatnonzero(marks.good)
    if not len(kept):  # prepare need not cope with nothing
        return {}, batch.broken + _rejected(batch, marks)
    prepared: dict[str, Array] = take(typed, kept)
    if problem.prepare is not None:
        prepared.update(_prepare(problem, prepared))
    again = cells.Marks(len(kept))
    for feature in problem.features:
        cells.within(feature, prepared[feature.name], again)
    for name in (*problem.identity, problem.time):
        again.mark(cells.empty(prepared[name]), name, "missing")
    _target(problem, prepared, again)
    for position in np.flatnonzero(~again.good):
        marks.merge(int(kept[position]), again.at(int(position)))
    good = take({name: prepared[name] for name in problem.kept}, np.flatnonzero(again.good))
    return good, batch.broken + _rejected(batch, marks)


def _rejected(batch: Batch, marks: cells.Marks) -> list[Rejected]:
    rows = np.flatnonzero(~marks.good)
    return [Rejected(int(batch.rows[i]), *marks.at(int(i)), _as_read(batch, int(i))) for i in rows]


def _prepare(problem: Problem, columns: Columns) -> Columns:
    assert problem.prepare is not None  # noqa: S101 (the caller asked)
    try:
        made = {name: _column(problem, name, values) for name, values in problem.prepare(columns).items()}
        lost = [n for n in problem.kept if n not in made and n not in columns]
        short = [n for n, values in made.items() if len(values) != length(columns)]
    except Exception as error:  # the adopter's code may raise anything
        raise BadFile(f"problem.py's prepare raised {describe(error)}", "prepare") from error
    if lost or short:
        raise BadFile(f"problem.py's prepare gave no (whole) column {', '.join(lost + short)}", "prepare")
    return made


def _column(problem: Problem, name: str, values: Any) -> Array:
    """What prepare gave, as a row batch holds it."""
    array = np.asarray(values)
    if array.dtype.kind in "biuf":
        array = array.astype(np.float64)
    elif array.dtype.kind == "U":
        array = array.astype(object)
    if array.dtype.kind == "O":  # pandas writes NaN for a missing text
        array = np.array([None if v is None or v != v else v for v in array.tolist()], dtype=object)
        if not all(v is None or isinstance(v, str) for v in array):
            raise TypeError(f"{name} holds something else than text")
    kinds = {f.name: "f" if isinstance(f, Number) else "O" for f in problem.features}
    if array.dtype.kind not in kinds.get(name, "fOM"):
        raise TypeError(f"{name} is an array of {array.dtype}")
    return array


def _target(problem: Problem, columns: Columns, marks: cells.Marks) -> None:
    values, target = columns[problem.target.name], problem.target
    if values.dtype == object:
        cells.within(Category(name=target.name, values=getattr(target, "values", ())), values, marks)
        return
    maximum = None if isinstance(target, Quantity) else 1.0
    minimum = None if isinstance(target, Quantity) else 0.0
    binary = isinstance(target, Probability)
    cells.within(Number(name=target.name, minimum=minimum, maximum=maximum, integer=binary), values, marks)


def to_table(problem: Problem, columns: Columns) -> Any:
    """Accepted rows as an Arrow table: strings, float64, and timestamps in microseconds."""
    return pa.table({name: _to_arrow(columns[name]) for name in problem.kept})


def from_table(table: Any) -> dict[str, Array]:
    """Accepted rows as a row batch again."""
    return {name: _from_arrow(table.column(name)) for name in table.column_names}


def _from_arrow(column: Any) -> Array:
    values: Array = column.to_numpy()
    return values.astype(object) if pa.types.is_string(column.type) else values


def _to_arrow(values: Array) -> Any:
    if values.dtype == object:
        return pa.array(values, pa.string())
    if values.dtype.kind == "M":
        # Converted here: pyarrow misreads arrays of days when asked for microseconds (every other row is lost).
        return pa.array(values.astype("datetime64[us]"), pa.timestamp("us"))
    return pa.array(values.astype(np.float64), pa.float64())


def _as_read(batch: Batch, row: int) -> dict[str, str]:
    given: Iterator[tuple[str, Any]] = ((n, column[row].as_py()) for n, column in batch.columns.items())
    return {name: "" if value is None else str(value) for name, value in given}
