# SPDX-License-Identifier: Apache-2.0
"""Arrow arrays as a file gave them -> typed columns, with the rows marked that are not what their column declares."""

from __future__ import annotations

import datetime as dt
import functools
from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from .contract import Category, Column, Number
from .errors import BadFile

Array = np.ndarray[Any, Any]
NUMBER = r"^\s*[-+]?(\d+\.?\d*|\.\d+)([eE][-+]?\d{1,3})?\s*$"
ISO = r"^\d{4}-\d{2}-\d{2}([T ]\d{2}:\d{2}(:\d{2}(\.\d{1,9})?)?(Z|[+-]\d{2}:?\d{2})?)?$"


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


def typed(column: Column, array: Any, nulls: Sequence[str], marks: Marks) -> Array:
    """An Arrow array as the column's kind, with the rows marked that are not of it."""
    if pa.types.is_dictionary(array.type):
        array = array.dictionary_decode()
    if pa.types.is_string(array.type) or pa.types.is_large_string(array.type):
        trimmed = pc.utf8_trim_whitespace(array)
        array = pc.if_else(pc.is_in(trimmed, pa.array(nulls, array.type)), None, trimmed)
    if isinstance(column, Category):
        values: Array = (
            _cast(column.name, array, pa.string(), safe=True).to_numpy(zero_copy_only=False).astype(object)
        )
    elif isinstance(column, Number):
        values = _numbers(column.name, array, marks)
    else:
        values = _timestamps(column.name, array, marks)
    within(column, values, marks)
    return values


def _numbers(name: str, array: Any, marks: Marks) -> Array:
    if pa.types.is_string(array.type) or pa.types.is_large_string(array.type):
        fits = pc.match_substring_regex(array, NUMBER)
        marks.mark(_mask(pc.invert(fits)), name, "not a number")
        array = pc.if_else(fits, array, None)
    values = _cast(name, array, pa.float64()).to_numpy(zero_copy_only=False)
    infinite = np.isinf(values)
    marks.mark(infinite, name, "not a finite number")
    return np.where(infinite, np.nan, values)


def _timestamps(name: str, array: Any, marks: Marks) -> Array:
    if not (pa.types.is_string(array.type) or pa.types.is_large_string(array.type)):
        if not (pa.types.is_date(array.type) or pa.types.is_timestamp(array.type)):
            raise BadFile(f"column {name} holds {array.type}, which is no date or time", "wrong-type")
        found: Array = _cast(name, array, pa.timestamp("us")).to_numpy(zero_copy_only=False)
        return found
    fits = pc.match_substring_regex(array, ISO)
    marks.mark(_mask(pc.invert(fits)), name, "not an ISO 8601 date or time")
    values = np.full(len(array), np.datetime64("NaT", "us"))
    for row, cell in enumerate(pc.if_else(fits, array, None).to_pylist()):
        try:
            values[row] = _instant(cell) if cell else np.datetime64("NaT")
        except ValueError:
            marks.merge(row, (name, "no such date or time"))
    return values


@functools.lru_cache(maxsize=65_536)  # a file has few days, and many rows of each
def _instant(cell: str) -> np.datetime64:
    moment = dt.datetime.fromisoformat(cell)
    if moment.tzinfo is not None:
        moment = moment.astimezone(dt.UTC).replace(tzinfo=None)
    return np.datetime64(moment, "us")


def _cast(name: str, array: Any, kind: Any, safe: bool = False) -> Any:
    try:
        return pc.cast(array, kind, safe=safe)
    except pa.ArrowException as error:
        raise BadFile(f"column {name} holds {array.type}, which is no {kind}", "wrong-type") from error


def within(column: Column, values: Array, marks: Marks) -> None:
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
        marks.mark(empty(values), column.name, "missing")


def empty(values: Array) -> Array:
    """Which values are missing."""
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


def _mask(array: Any) -> Array:
    return np.asarray(pc.fill_null(array, False).to_numpy(zero_copy_only=False), dtype=bool)
