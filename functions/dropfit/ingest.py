# SPDX-License-Identifier: Apache-2.0
"""A raw file -> accepted rows as Parquet, rejected rows with reasons; or BadFile for the whole of it."""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from typing import Any, BinaryIO, TextIO

import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from . import cells
from .batches import ROWS, Batch, Broken
from .batches import Caps as Caps
from .contract import Category, Columns, Feature, Label, Number, Probability, Problem, Quantity, describe
from .encoding import length, take
from .errors import BadFile, legible
from .instances import optional
from .judging import JUDGEMENTS as JUDGEMENTS
from .judging import Tally
from .reading import read
from .sheet import MARKS, Sheet, unguarded

Array = np.ndarray[Any, Any]
NAMED = 30
KINDS = {"f": "numbers", "O": "text", "M": "dates"}


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
        rejected: gets the others, all of them, as the CSV of sheet.py: the cells as they stood, number, column and
            reason, and the whole text of a row that could not be split into cells.
        caps: what the file may be.

    Raises:
        BadFile: when the file as a whole cannot be used; what was written until then is void.
    """
    needed = [c.name for c in problem.columns]
    notes: list[str] = []
    tally = Tally(problem)
    sheet = Sheet(rejected, problem.columns, caps.max_unpacked_bytes)
    sink = Sink(accepted)
    writing = threading.Lock()

    def spill(broken: list[Broken]) -> None:
        with writing:
            tally.count({}, broken, cells.Marks(0))
            sheet.broken(broken)

    for batch in map(unguarded, read(stream, needed, caps, spill)):
        good, marks = part(problem, batch)
        notes = notes or _notes(batch.ignored)
        with writing:
            tally.count(good, batch.broken, marks)
            sheet.broken(batch.broken)
            sheet.rejected(batch, marks)
        if length(good):
            sink.add(to_table(problem, good))
    tally.judge(caps)
    sink.close()
    return Ingested(tally.accepted, tally.rejected, dict(tally.reasons.most_common(100)), notes)


class Sink:
    """Writes tables as one Parquet file of few row groups, since each costs memory until the end.

    Args:
        stream: where to.
    """

    def __init__(self, stream: BinaryIO) -> None:
        self._stream = stream
        self._writer: pq.ParquetWriter | None = None
        self._pending: list[Any] = []

    def add(self, table: Any) -> None:
        """So many rows more; all tables have one schema."""
        self._pending.append(table)
        if sum(each.num_rows for each in self._pending) >= ROWS:
            self._write()

    def close(self) -> None:
        """Write what is left, and the footer."""
        if self._pending:
            self._write()
        if self._writer is not None:
            self._writer.close()

    def _write(self) -> None:
        table = pa.concat_tables(self._pending)
        self._writer = self._writer or pq.ParquetWriter(self._stream, table.schema, compression="zstd")
        self._writer.write_table(table)
        self._pending = []


def _notes(ignored: Sequence[str]) -> list[str]:
    ignored = [name for name in ignored if name not in MARKS]
    if not ignored:
        return []
    more = f" and {len(ignored) - NAMED:,} more" if len(ignored) > NAMED else ""
    return [f"columns ignored: {', '.join(legible(name, 64) for name in ignored[:NAMED])}{more}"]


def part(problem: Problem, batch: Batch) -> tuple[Columns, cells.Marks]:
    """The good rows of a batch as columns of an accepted row, and what is wrong with the others."""
    marks = cells.Marks(len(batch.rows))
    typed = {c.name: cells.typed(c, batch.columns[c.name], problem.nulls, marks) for c in problem.columns}
    kept = np.flatnonzero(marks.good)
    if not len(kept):  # prepare need not cope with nothing
        return {}, marks
    prepared: dict[str, Array] = take(typed, kept)
    if problem.prepare is not None:
        prepared.update(_prepare(problem, prepared))
        wanted = {problem.time: "fM", problem.target.name: "O" if isinstance(problem.target, Label) else "f"}
        _check_kinds(wanted, prepared)
    again = cells.Marks(len(kept))
    for feature in problem.features:
        cells.within(feature, prepared[feature.name], again)
    for name in (*problem.identity, problem.time):
        again.mark(cells.empty(prepared[name]), name, "missing")
    _target(problem, prepared, again)
    marks.adopt(kept, again)
    return take({name: prepared[name] for name in problem.kept}, np.flatnonzero(again.good)), marks


def through_prepare(problem: Problem, features: Sequence[Feature], table: Any, marks: cells.Marks) -> Any:
    """Features that `prepare` makes of a file's raw columns, as an upload's rows would get them.

    Args:
        problem: whose columns they are. One that may be missing in a row, or that is a feature which a request may
            leave out, may be missing altogether.
        features: that are wanted.
        table: Arrow table with the raw columns.
        marks: get what is wrong with a row's cells; features are not looked at yet.

    Returns:
        Arrow table of the features, null in a marked row.

    Raises:
        BadFile: when a column holds something else throughout, or prepare raises.
    """
    rows = table.num_rows
    typed = {}
    loose = {f.name for f in features if optional(f)}
    for column in problem.columns:
        if column.name in loose:
            column = msgspec.structs.replace(column, missing=True)
        given = column.name in table.column_names
        array = table.column(column.name).combine_chunks() if given else pa.nulls(rows, pa.string())
        typed[column.name] = cells.typed(column, array, problem.nulls, marks)
    kept = np.flatnonzero(marks.good)
    prepared: dict[str, Array] = take(typed, kept)
    if len(kept):
        prepared.update(_prepare(problem, prepared))
    back = np.full(rows, -1)
    back[kept] = np.arange(len(kept))
    places = pa.array(back, mask=back < 0)
    kinds = {f.name: pa.string() if isinstance(f, Category) else pa.float64() for f in features}
    made = {n: pa.array(prepared[n] if len(kept) else [], kind, from_pandas=True) for n, kind in kinds.items()}
    return pa.table({name: array.take(places) for name, array in made.items()})


def _prepare(problem: Problem, columns: Columns) -> Columns:
    assert problem.prepare is not None  # noqa: S101 (the caller asked)
    try:
        made = {name: _column(name, values) for name, values in problem.prepare(columns).items()}
        lost = [n for n in problem.kept if n not in made and n not in columns]
        short = [n for n, values in made.items() if len(values) != length(columns)]
    except Exception as error:  # the adopter's code may raise anything
        raise BadFile(f"problem.py's prepare raised {describe(error)}", "prepare") from error
    if lost or short:
        raise BadFile(f"problem.py's prepare gave no (whole) column {', '.join(lost + short)}", "prepare")
    _check_kinds({f.name: "f" if isinstance(f, Number) else "O" for f in problem.features}, {**columns, **made})
    return made


def _check_kinds(wanted: Mapping[str, str], columns: Columns) -> None:
    """Refuse what prepare gave, or left as the file has it, where it is of another kind than is wanted."""
    strange = [
        f"{name} must hold {' or '.join(KINDS[kind] for kind in kinds)} and holds {KINDS[columns[name].dtype.kind]}"
        for name, kinds in wanted.items()
        if columns[name].dtype.kind not in kinds
    ]
    if strange:
        raise BadFile(f"problem.py's prepare: {'; '.join(strange)}", "prepare")


def _column(name: str, values: Any) -> Array:
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
    if array.dtype.kind not in KINDS:
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
