# SPDX-License-Identifier: Apache-2.0
"""Rows of any file -> those that a request with these features would be accepted with, and the others with reasons.

The rules are those of instances.py; what a file may write beside them is what an upload may: spaces around a text,
words for a missing value, a whole number as 5.0. A text is looked at once for all rows that hold it, and of a column
of numbers no more than its smallest and largest unless one of them is wrong.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from .batches import Caps
from .cells import NUMBER, Marks
from .contract import RESERVED, Category, Contract, Feature, Number, Problem
from .csvparts import CODED
from .errors import BadFile, legible
from .ingest import through_prepare
from .instances import FLOAT32, LARGEST, optional
from .parts import Raw
from .reading import faults
from .sheet import guarded
from .tables import ordered

Array = np.ndarray[Any, Any]
REJECTED = pa.schema(
    {"file": pa.string(), "row": pa.int64(), "column": pa.string(), "reason": pa.string(), "cells": pa.string()}
)
"""Columns of the rows that were set aside: `cells` is a JSON object, or the text of a row that could not be split."""


class Checked(NamedTuple):
    """What became of some rows.

    Attributes:
        table: the good ones: features as tables.features_table has them (categories may be dictionary-coded), then
            all other columns of the file. A name of a column that predictions have gets an underscore behind it.
        rejected: the others, of the schema REJECTED, None when there are none; no spreadsheet runs their texts.
        reasons: `column: reason` -> number of rows.
        rows: int64, the good rows' numbers in the file.
    """

    table: Any
    rejected: Any
    reasons: dict[str, int]
    rows: Any = None


def check(problem: Problem, contract: Contract, raw: Raw) -> Checked:
    """Part the rows of a file; one that has the problem's raw columns in place of features goes through `prepare`.

    Args:
        problem: in force; knows what files write for a missing value.
        contract: of the predicting version.
        raw: as splits.read gives it.

    Raises:
        BadFile: when columns are missing, or hold something else throughout.
    """
    with faults(Caps()):
        return _checked(problem, contract, raw)


def _checked(problem: Problem, contract: Contract, raw: Raw) -> Checked:
    marks = Marks(raw.table.num_rows)
    table = raw.table
    lacking = [f.name for f in contract.features if f.name not in table.column_names and not optional(f)]
    if lacking:
        if problem.prepare is None or _unprepared(problem, contract, table.column_names):
            raise _lacking(problem, contract, lacking, table.column_names)
        table = through_prepare(problem, contract.features, table, marks)
    made = {f.name: _feature(f, table, problem.nulls, marks) for f in ordered(contract)}
    others = renamed([n for n in raw.table.column_names if n not in made], made)
    made |= {new: raw.table.column(old) for old, new in others.items()}
    whole = pa.table(made)
    if not len(marks.bad) and not raw.broken:
        return Checked(whole, None, {}, raw.rows)
    good = marks.good
    reasons = {": ".join(filter(None, why)): count for why, count in marks.counts().items()}
    for row in raw.broken:
        reasons[row.reason] = reasons.get(row.reason, 0) + 1
    return Checked(whole.filter(pa.array(good)), _rejected(raw, marks), reasons, raw.rows[good])


def _unprepared(problem: Problem, contract: Contract, names: Sequence[str]) -> list[str]:
    """The raw columns that a file lacks for `prepare`; those that may be missing in a row may be no column at all."""
    loose = {f.name for f in contract.features if optional(f)}
    return [c.name for c in problem.columns if not (c.name in names or c.missing or c.name in loose)]


def _lacking(problem: Problem, contract: Contract, lacking: Sequence[str], names: Sequence[str]) -> BadFile:
    shown = ", ".join(legible(n, 40) for n in list(names)[:30]) or "nothing"
    gone = ", ".join(_unprepared(problem, contract, names))
    raw = f" (prepare cannot make them without {gone})" if problem.prepare is not None else ""
    return BadFile(f"columns are missing: {', '.join(lacking)}{raw}; found: {shown}", "missing-columns")


def renamed(others: Sequence[str], taken: Any) -> dict[str, str]:
    """Columns of a file beside the features -> their names in the output, which BigQuery too can tell apart."""
    used = {name.lower() for name in taken} | RESERVED
    names: dict[str, str] = {}
    for old in others:
        new = old
        while new.lower() in used:
            new += "_"
        used.add(new.lower())
        names[old] = new
    return names


def _feature(feature: Feature, table: Any, nulls: Sequence[str], marks: Marks) -> Any:
    """A feature's column as the output has it, with the rows marked where a request would be refused."""
    if feature.name not in table.column_names:
        empty = pa.nulls(table.num_rows, CODED if isinstance(feature, Category) else pa.float64())
        return empty.cast(pa.int64()) if isinstance(feature, Number) and feature.integer else empty
    column = table.column(feature.name)
    column = column.combine_chunks() if isinstance(column, pa.ChunkedArray) else column
    if pa.types.is_null(column.type):
        column = column.cast(pa.string())
    if isinstance(feature, Category):
        made = _category(feature, column, nulls, marks)
    else:
        made = _number(feature, column, nulls, marks)
    if made.null_count and not optional(feature):
        marks.mark(np.asarray(made.is_null().to_numpy(zero_copy_only=False)), feature.name, "missing")
    return made


def _category(feature: Category, column: Any, nulls: Sequence[str], marks: Marks) -> Any:
    if not pa.types.is_dictionary(column.type):
        column = _cast(feature, column, pa.string()).dictionary_encode()
    texts = column.dictionary
    if not pa.types.is_string(texts.type):
        texts = _cast(feature, texts, pa.string())
    trimmed = pc.utf8_trim_whitespace(texts)
    kept = pc.if_else(pc.is_in(trimmed, pa.array(nulls, pa.string())), None, trimmed)
    for wrong, reason in (
        (pc.equal(pc.utf8_length(kept), 0), "empty"),
        (pc.greater(pc.utf8_length(kept), feature.max_length), f"longer than {feature.max_length} characters"),
        (
            pc.invert(pc.is_in(kept, pa.array([None, *feature.values], pa.string()))) if feature.values else None,
            f"not one of {', '.join(feature.values)}",
        ),
    ):
        if wrong is not None and pc.any(wrong).as_py():
            rows = pc.fill_null(pc.fill_null(wrong, False).take(column.indices), False)
            marks.mark(np.asarray(rows.to_numpy(zero_copy_only=False)), feature.name, reason)
    if kept.equals(texts):
        same = pa.DictionaryArray.from_arrays(column.indices, texts)
        return same if same.type == CODED else same.cast(CODED)
    return kept.take(column.indices).dictionary_encode()


def _cast(feature: Feature, column: Any, kind: Any) -> Any:
    try:
        return pc.cast(column, kind)
    except pa.ArrowException as error:
        raise BadFile(f"column {feature.name} holds {column.type}, which is no {kind}", "wrong-type") from error


def _number(feature: Number, column: Any, nulls: Sequence[str], marks: Marks) -> Any:
    """Int64 where the feature is whole, else float64; null for missing, and where a row is marked."""
    kind = column.type.value_type if pa.types.is_dictionary(column.type) else column.type
    if pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_binary(kind):
        column = _parsed(feature, column, nulls, marks)
    elif not pa.types.is_integer(kind) and not pa.types.is_float64(kind):
        column = _cast(feature, column.cast(pa.int8()) if pa.types.is_boolean(kind) else column, pa.float64())
    if pa.types.is_floating(column.type) and pc.any(pc.is_nan(column)).as_py():
        column = pc.if_else(pc.is_nan(column), None, column)
    _bounds(feature, column, marks)
    if not feature.integer:
        return column if pa.types.is_float64(column.type) else column.cast(pa.float64(), safe=False)
    if pa.types.is_floating(column.type):
        whole = pc.equal(column, pc.floor(column))
        if not pc.all(whole).as_py():
            wrong = pc.fill_null(pc.invert(whole), False)
            marks.mark(np.asarray(wrong.to_numpy(zero_copy_only=False)), feature.name, "not a whole number")
        fits = pc.and_(whole, pc.less_equal(pc.abs(column), LARGEST))
        column = column if pc.all(fits).as_py() else pc.if_else(fits, column, None)
    return column.cast(pa.int64(), safe=False)


def _bounds(feature: Number, column: Any, marks: Marks) -> None:
    """Mark what lies beyond the bounds, or is more than the model's float32 or a whole number can be."""
    extent = pc.min_max(column).as_py()
    if extent["min"] is None:
        return
    most = LARGEST if feature.integer else FLOAT32
    low = -most if feature.minimum is None else max(feature.minimum, -most)
    high = most if feature.maximum is None else min(feature.maximum, most)
    if low <= extent["min"] and extent["max"] <= high:
        return
    values = column.cast(pa.float64(), safe=False).to_numpy(zero_copy_only=False)
    marks.mark(np.isinf(values), feature.name, "not a finite number")
    marks.mark(values < low, feature.name, f"below {low:g}")
    marks.mark(values > high, feature.name, f"above {high:g}")


def _parsed(feature: Number, column: Any, nulls: Sequence[str], marks: Marks) -> Any:
    """Numbers from their texts, each text once."""
    coded = column if pa.types.is_dictionary(column.type) else column.dictionary_encode()
    texts = pc.utf8_trim_whitespace(_cast(feature, coded.dictionary, pa.string()))
    missing = pc.is_in(texts, pa.array(nulls, pa.string()))
    fits = pc.match_substring_regex(texts, NUMBER)
    wrong = pc.invert(pc.or_(missing, fits))
    if pc.any(wrong).as_py():
        rows = pc.fill_null(wrong.take(coded.indices), False)
        marks.mark(np.asarray(rows.to_numpy(zero_copy_only=False)), feature.name, "not a number")
    numbers = [
        float(text) if fit and not gone else None
        for text, fit, gone in zip(texts.to_pylist(), fits.to_pylist(), missing.to_pylist(), strict=True)
    ]
    return pa.array(numbers, pa.float64()).take(coded.indices)


def _rejected(raw: Raw, marks: Marks) -> Any:
    """The rows that were set aside, in the order of the file."""
    bad = marks.bad
    cells = raw.table.take(pa.array(bad)).to_pylist()
    found = [
        (int(raw.rows[row]), *marks.at(int(row)), _json(held)) for row, held in zip(bad.tolist(), cells, strict=True)
    ]
    found += [(row.row, "", row.reason, row.text) for row in raw.broken]
    found.sort(key=lambda each: each[0])
    rows, columns, reasons, texts = zip(*found, strict=True)
    arrays = [[raw.uri] * len(found), rows, columns, reasons, texts]
    table = pa.table([pa.array(a, kind) for a, kind in zip(arrays, REJECTED.types, strict=True)], schema=REJECTED)
    for place in (0, 3, 4):
        table = table.set_column(place, REJECTED.field(place), guarded(table.column(place)))
    return table


def _json(cells: dict[str, Any]) -> str:
    return msgspec.json.encode(cells, enc_hook=str).decode()
