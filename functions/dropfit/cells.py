# SPDX-License-Identifier: Apache-2.0
"""Arrow arrays as a file gave them -> typed columns, with the rows marked that are not what their column declares."""

from __future__ import annotations

import datetime as dt
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
    """Which rows of a batch are bad, and why; the first column that is wrong names the row.

    Attributes:
        filled: columns with at least one cell that is not empty.
    """

    def __init__(self, rows: int) -> None:
        self.filled: set[str] = set()
        self._why: list[tuple[str, str]] = [("", "")]
        self._codes = np.zeros(rows, dtype=np.int32)

    @property
    def good(self) -> Array:
        """The mask of the rows that are not bad."""
        return np.asarray(self._codes == 0)

    @property
    def bad(self) -> Array:
        """The positions of the bad rows."""
        return np.flatnonzero(self._codes)

    def mark(self, rows: Array, column: str, reason: str) -> None:
        """The masked rows are bad."""
        fresh = rows & (self._codes == 0)
        if fresh.any():
            self._codes[fresh] = self._code((column, reason))

    def adopt(self, kept: Array, other: Marks) -> None:
        """What another found bad in some of these rows.

        Args:
            kept: the positions of the other's rows here.
            other: of the rows at those positions, all good here.
        """
        codes = np.array([0, *(self._code(why) for why in other._why[1:])], dtype=np.int32)
        self._codes[kept] = codes[other._codes]

    def at(self, row: int) -> tuple[str, str]:
        """Column and reason of a bad row."""
        return self._why[int(self._codes[row])]

    def counts(self) -> dict[tuple[str, str], int]:
        """Column and reason -> number of rows."""
        counted = np.bincount(self._codes, minlength=len(self._why)).tolist()
        return {why: count for why, count in zip(self._why[1:], counted[1:], strict=True) if count}

    def _code(self, why: tuple[str, str]) -> int:
        if why not in self._why:
            self._why.append(why)
        return self._why.index(why)


def typed(column: Column, array: Any, nulls: Sequence[str], marks: Marks) -> Array:
    """An Arrow array as the column's kind, with the rows marked that are not of it."""
    if pa.types.is_dictionary(array.type):
        array = array.dictionary_decode()
    if pa.types.is_string(array.type) or pa.types.is_large_string(array.type):
        trimmed = pc.utf8_trim_whitespace(array)
        array = pc.if_else(pc.is_in(trimmed, pa.array(nulls, array.type)), None, trimmed)
    if array.null_count < len(array):
        marks.filled.add(column.name)
    if isinstance(column, Category):
        texts = _cast(column.name, array, pa.string(), safe=True)
        _names(column, texts, marks)
        return np.asarray(texts.to_numpy(zero_copy_only=False), dtype=object)
    read = _numbers if isinstance(column, Number) else _timestamps
    values = read(column.name, array, marks)
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
    # Each moment is parsed once: a file has few days, and many rows of each.
    distinct = pc.if_else(fits, array, None).dictionary_encode()
    moments = np.array([_instant(cell) for cell in distinct.dictionary.to_pylist()], dtype="datetime64[us]")
    codes = distinct.indices
    held = _mask(codes.is_valid())
    values = np.full(len(array), np.datetime64("NaT", "us"))
    values[held] = moments[codes.drop_null().to_numpy()]
    marks.mark(held & np.isnat(values), name, "no such date or time")
    return values


def _instant(cell: str) -> np.datetime64:
    try:
        moment = dt.datetime.fromisoformat(cell)
        if moment.tzinfo is not None:
            moment = moment.astimezone(dt.UTC).replace(tzinfo=None)
    except (ValueError, OverflowError):
        return np.datetime64("NaT", "us")
    return np.datetime64(moment, "us")


def _cast(name: str, array: Any, kind: Any, safe: bool = False) -> Any:
    try:
        return pc.cast(array, kind, safe=safe)
    except pa.ArrowException as error:
        raise BadFile(f"column {name} holds {array.type}, which is no {kind}", "wrong-type") from error


def within(column: Column, values: Array, marks: Marks) -> None:
    """Mark the rows whose value breaks the column's declaration."""
    if isinstance(column, Category):
        _names(column, pa.array(values, pa.string()), marks)
        return
    if isinstance(column, Number):
        _bounds(column, values, marks)
    if not column.missing:
        marks.mark(empty(values), column.name, "missing")


def _names(column: Category, texts: Any, marks: Marks) -> None:
    long = _mask(pc.greater(pc.utf8_length(texts), column.max_length))
    marks.mark(long, column.name, f"longer than {column.max_length} characters")
    marks.mark(_mask(pc.match_substring(texts, "\x00")), column.name, "holds a zero byte")
    if column.values:
        strange = pc.invert(pc.is_in(texts, pa.array([None, *column.values], pa.string())))
        marks.mark(_mask(strange), column.name, f"not one of {', '.join(column.values)}")
    if not column.missing:
        marks.mark(_mask(texts.is_null()), column.name, "missing")


def empty(values: Array) -> Array:
    """Which values are missing."""
    if values.dtype == object:
        return _mask(pa.array(values, pa.string()).is_null())
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
