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
import pyarrow.compute as pc
import pyarrow.parquet as pq

from .contract import Category, Column, Columns, Number, Problem, Quantity
from .encoding import length, take
from .errors import BadFile
from .reading import Batch, Rejected, read

Array = np.ndarray[Any, Any]
MAX_REJECTED_KEPT = 100_000
NUMBER = r"^\s*[-+]?(\d+\.?\d*|\.\d+)([eE][-+]?\d{1,3})?\s*$"
MARKS = ("dropfit_row", "dropfit_column", "dropfit_reason")


class Caps(msgspec.Struct, frozen=True, kw_only=True):
    """What a file may be.

    Attributes:
        max_unpacked_bytes: a compressed file that unpacks to more is refused.
        max_bad_share: a file with a larger share (0 to 1) of rejected rows is refused.
    """

    max_unpacked_bytes: int = 8 * 1024**3
    max_bad_share: float = 0.5


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
        rejected: gets the others as CSV: the row as it stood, its number, column and reason.
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
        for row in bad:
            reasons[f"{row.column}: {row.reason}" if row.column else row.reason] += 1
            if reasons.total() <= MAX_REJECTED_KEPT:
                sheet.writerow([*(row.values.get(n, "") for n in needed), row.row, row.column, row.reason])
        table = to_table(problem, good)
        writer = writer or pq.ParquetWriter(accepted, table.schema, compression="zstd")
        writer.write_table(table)
        rows += table.num_rows
        notes = notes or ([f"columns ignored: {', '.join(batch.ignored)}"] if batch.ignored else [])
    if writer is not None:
        writer.close()
    _judge(rows, reasons, caps)
    return Ingested(rows, reasons.total(), dict(reasons.most_common(100)), notes)


def _judge(rows: int, reasons: collections.Counter[str], caps: Caps) -> None:
    bad = reasons.total()
    if not rows and not bad:
        raise BadFile("it has a header and no rows", "no-rows")
    if bad / (rows + bad) > caps.max_bad_share or not rows:
        most = "; ".join(f"{reason} ({count:,} rows)" for reason, count in reasons.most_common(5))
        raise BadFile(f"{bad:,} of {rows + bad:,} rows cannot be used: {most}", "too-many-bad-rows")


def part(problem: Problem, batch: Batch) -> tuple[Columns, list[Rejected]]:
    """The good rows of a batch as columns of an accepted row, and the others with their reasons."""
    marks = Marks(len(batch.rows))
    typed = {c.name: _typed(c, batch.columns[c.name], problem.nulls, marks) for c in problem.columns}
    kept = np.flatnonzero(marks.good)
    prepared: dict[str, Array] = take(typed, kept)
    if problem.prepare is not None:
        prepared.update(_prepare(problem, prepared))
    again = Marks(len(kept))
    for feature in problem.features:
        _within(feature, prepared[feature.name], again)
    for name in (*problem.identity, problem.time):
        again.mark(_empty(prepared[name]), name, "missing")
    _target(problem, prepared, again)
    for position in np.flatnonzero(~again.good):
        marks.merge(int(kept[position]), again.at(int(position)))
    bad = [
        Rejected(int(batch.rows[i]), *marks.at(int(i)), _as_read(batch, int(i))) for i in np.flatnonzero(~marks.good)
    ]
    good = take({name: prepared[name] for name in problem.kept}, np.flatnonzero(again.good))
    return good, batch.broken + bad


class Marks:
    """Which rows of a batch are bad, and why; the first column that is wrong names the row."""

    def __init__(self, rows: int) -> None:
        self.good = np.ones(rows, dtype=bool)
        self._why: dict[int, tuple[str, str]] = {}

    def mark(self, rows: Array, column: str, reason: str) -> None:
        """The masked rows are bad."""
        for row in np.flatnonzero(rows & self.good):
            self._why[int(row)] = (column, reason)
        self.good &= ~rows

    def merge(self, row: int, why: tuple[str, str]) -> None:
        """One row is bad."""
        self.good[row] = False
        self._why.setdefault(row, why)

    def at(self, row: int) -> tuple[str, str]:
        """Column and reason of a bad row."""
        return self._why[row]


def _typed(column: Column, array: Any, nulls: Sequence[str], marks: Marks) -> Array:
    """An Arrow array as the column's kind, with the rows marked that are not of it."""
    if pa.types.is_dictionary(array.type):
        array = array.dictionary_decode()
    if pa.types.is_string(array.type) or pa.types.is_large_string(array.type):
        trimmed = pc.utf8_trim_whitespace(array)
        array = pc.if_else(pc.is_in(trimmed, pa.array(nulls, array.type)), None, trimmed)
    if isinstance(column, Category):
        values: Array = pc.cast(array, pa.string()).to_numpy(zero_copy_only=False).astype(object)
    elif isinstance(column, Number):
        values = _numbers(column.name, array, marks)
    else:
        values = _timestamps(column.name, array, marks)
    _within(column, values, marks)
    return values


def _numbers(name: str, array: Any, marks: Marks) -> Array:
    if pa.types.is_string(array.type) or pa.types.is_large_string(array.type):
        fits = pc.match_substring_regex(array, NUMBER)
        marks.mark(_mask(pc.invert(fits)), name, "not a number")
        array = pc.if_else(fits, array, None)
    try:
        values = pc.cast(array, pa.float64(), safe=False).to_numpy(zero_copy_only=False)
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
        raise BadFile(f"column {name} holds {array.type}, which is no number", "wrong-type") from error
    infinite = np.isinf(values)
    marks.mark(infinite, name, "not a finite number")
    return np.where(infinite, np.nan, values)


def _timestamps(name: str, array: Any, marks: Marks) -> Array:
    kind = pa.timestamp("us")
    try:
        found: Array = pc.cast(array, kind, safe=False).to_numpy(zero_copy_only=False)
        return found
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError):
        pass  # At least one is no timestamp: find out which, one by one.
    values = np.full(len(array), np.datetime64("NaT", "us"))
    for row, cell in enumerate(array.to_pylist()):
        try:
            values[row] = np.datetime64("NaT") if cell is None else np.datetime64(str(cell).rstrip("Z"), "us")
        except ValueError:
            marks.merge(row, (name, "not an ISO 8601 date or time"))
    return values


def _within(column: Column, values: Array, marks: Marks) -> None:
    """Mark the rows whose value breaks the column's declaration."""
    if isinstance(column, Category):
        long = np.array([v is not None and len(v) > column.max_length for v in values], dtype=bool)
        marks.mark(long, column.name, f"longer than {column.max_length} characters")
        if column.values:
            allowed = {None, *column.values}
            strange = np.array([v not in allowed for v in values], dtype=bool)
            marks.mark(strange, column.name, f"not one of {', '.join(column.values)}")
    elif isinstance(column, Number):
        _bounds(column, values, marks)
    if not column.missing:
        marks.mark(_empty(values), column.name, "missing")


def _empty(values: Array) -> Array:
    if values.dtype == object:
        return np.array([v is None for v in values], dtype=bool)
    return np.isnat(values) if values.dtype.kind == "M" else np.isnan(values)


def _bounds(column: Number, values: Array, marks: Marks) -> None:
    if column.minimum is not None:
        marks.mark(values < column.minimum, column.name, f"below {column.minimum:g}")
    if column.maximum is not None:
        marks.mark(values > column.maximum, column.name, f"above {column.maximum:g}")
    if column.integer:
        marks.mark(np.isfinite(values) & (values != np.floor(values)), column.name, "not a whole number")


def _prepare(problem: Problem, columns: Columns) -> Columns:
    assert problem.prepare is not None  # noqa: S101 (the caller asked)
    try:
        made = problem.prepare(columns)
        lost = [n for n in problem.kept if n not in made and n not in columns]
        short = [n for n, values in made.items() if len(values) != length(columns)]
    except Exception as error:  # the adopter's code may raise anything; the file waits for its correction
        raise BadFile(f"problem.py's prepare raised {type(error).__name__}: {error}", "prepare") from error
    if lost or short:
        raise BadFile(f"problem.py's prepare gave no (whole) column {', '.join(lost + short)}", "prepare")
    return made


def _target(problem: Problem, columns: Columns, marks: Marks) -> None:
    values, target = columns[problem.target.name], problem.target
    if values.dtype == object:
        _within(Category(name=target.name, values=getattr(target, "values", ())), values, marks)
        return
    maximum = None if isinstance(target, Quantity) else 1.0
    minimum = None if isinstance(target, Quantity) else 0.0
    _within(Number(name=target.name, minimum=minimum, maximum=maximum), values, marks)


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


def _mask(array: Any) -> Array:
    return np.asarray(pc.fill_null(array, False).to_numpy(zero_copy_only=False), dtype=bool)


def _as_read(batch: Batch, row: int) -> dict[str, str]:
    cells: Iterator[tuple[str, Any]] = ((n, column[row].as_py()) for n, column in batch.columns.items())
    return {name: "" if value is None else str(value) for name, value in cells}
