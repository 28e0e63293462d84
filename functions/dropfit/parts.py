# SPDX-License-Identifier: Apache-2.0
"""What a split is read into: rows as the file has them, about as many at a time as predict best."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa

from .batches import Broken

ROWS = 131_072
"""Most rows of a part."""
WEIGHT = 64 * 1024**2
"""So many bytes of rows are given on, however few the rows."""


class Raw(NamedTuple):
    """Some rows of a split, as the file has them.

    Attributes:
        table: Arrow table of all columns of the file: Parquet's own types; of a text file dictionary-coded strings
            (categories), float64 (numbers, where all cells of a block are such) and strings (all else).
        rows: int64, the rows' numbers in the file, the first being 1; broken ones have theirs too.
        broken: rows that could not even be split into columns.
        uri: the file.
    """

    table: Any
    rows: np.ndarray[Any, Any]
    broken: list[Broken]
    uri: str = ""


def regrouped(pieces: Iterator[Raw], most: int = ROWS) -> Iterator[Raw]:
    """The same rows in parts of so many, or of so many bytes; every part in whole arrays and of one schema.

    Yields:
        At least one part, so that whoever writes them learns the columns.
    """
    held: list[Raw] = []
    given = False
    for piece in pieces:
        if held and held[0].table.schema != piece.table.schema and not _nothing(held):
            yield _joined(held)
            held, given = [], True
        if held and held[0].table.schema != piece.table.schema:
            held = [piece._replace(broken=[*_broken(held), *piece.broken])]
        else:
            held.append(piece)
        while (rows := _rows(held)) >= most or (rows and _weight(held) >= WEIGHT):
            whole = _joined(held)
            yield _slice(whole, 0, most, whole.broken)
            given = True
            held = [_slice(whole, most, rows - most, [])] if rows > most else []
    if held and (not given or not _nothing(held) or _broken(held)):
        yield _joined(held)


def _nothing(held: list[Raw]) -> bool:
    return not _rows(held)


def _rows(held: list[Raw]) -> int:
    return sum(each.table.num_rows for each in held)


def _weight(held: list[Raw]) -> int:
    return sum(int(each.table.nbytes) for each in held)


def _broken(held: list[Raw]) -> list[Broken]:
    return [row for each in held for row in each.broken]


def _joined(held: list[Raw]) -> Raw:
    table = held[0].table if len(held) == 1 else pa.concat_tables([each.table for each in held])
    rows = held[0].rows if len(held) == 1 else np.concatenate([each.rows for each in held])
    return Raw(table.combine_chunks(), rows, _broken(held), held[0].uri)


def _slice(whole: Raw, start: int, count: int, broken: list[Broken]) -> Raw:
    return Raw(whole.table.slice(start, count), whole.rows[start : start + count], broken, whole.uri)
