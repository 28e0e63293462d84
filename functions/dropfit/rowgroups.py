# SPDX-License-Identifier: Apache-2.0
"""Row groups of a Parquet file -> Arrow tables of all its columns, in bounded memory whatever its pages hold."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, BinaryIO

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from .batches import Caps, field_too_large
from .chunks import chunks
from .contract import Category, Feature
from .errors import BadFile
from .parquets import DECODED, LIMITS, PAGE, WINDOW, batch_rows, check_footer
from .parts import ROWS, Raw
from .ranges import Range

LEAST, MOST = 1024**2, 8 * 1024**2
"""Bytes of a column that are read ahead where a row group is large; a bucket's stream asks for 8 MB at a time."""


def plan(stream: BinaryIO, size: int, caps: Caps) -> tuple[list[Range], list[int]]:
    """Runs of row groups with about so many rows as a part has, and the bytes of each run.

    Args:
        stream: the file, seekable.
        size: of the file, in bytes.
        caps: how many columns there may be.

    Raises:
        BadFile, pa.ArrowException: when the file as a whole cannot be used.
    """
    file = _opened(stream, size)
    names = file.schema_arrow.names
    if len(names) > caps.max_columns:
        raise BadFile(f"it has {len(names):,} columns, and {caps.max_columns:,} are allowed", "too-many-columns")
    twice = sorted({name for name in names if names.count(name) > 1}) if len(set(names)) < len(names) else []
    if twice:
        raise BadFile(f"columns stand twice: {', '.join(twice)}", "duplicate-columns")
    footer = file.metadata
    runs: list[Range] = []
    sizes: list[int] = []
    groups = [footer.row_group(place) for place in range(footer.num_row_groups)]
    packed = size / max(1, sum(group.total_byte_size for group in groups))  # the packed size stands in column chunks
    for place, group in enumerate(groups):
        weight = int(group.total_byte_size * packed)
        if runs and runs[-1].rows + group.num_rows <= ROWS:
            runs[-1] = Range(runs[-1].start, place + 1, runs[-1].rows + group.num_rows)
            sizes[-1] += weight
        else:
            runs.append(Range(place, place + 1, group.num_rows))
            sizes.append(weight)
    return runs or [Range(0, 0, 0)], sizes or [0]


def _opened(stream: BinaryIO, size: int) -> Any:
    check_footer(stream, size)
    return pq.ParquetFile(stream, **LIMITS)


def read(
    stream: BinaryIO, size: int, groups: Sequence[int], features: Sequence[Feature], first: int, caps: Caps
) -> Iterator[Raw]:
    """All rows of some row groups.

    Args:
        stream: the file, seekable.
        size: of the file, in bytes.
        groups: which.
        features: the categories among them stay codes of a dictionary.
        first: number of the first row.
        caps: the longest cell.

    Raises:
        BadFile, pa.ArrowException, OSError: when the file as a whole cannot be used.
    """
    footer = _opened(stream, size)
    schema = footer.schema_arrow
    texts = [field.name for field in schema if _is_text(field.type)]
    # Texts are codes of a dictionary until it is known what they decode to. Large row groups come a page at a time.
    leaves = range(footer.metadata.num_columns)
    held = [chunks(footer.metadata, size, place, leaves) for place in groups]
    packed = max((sum(chunk.total_compressed_size for chunk in each) for each in held), default=0)
    buffer = min(MOST, max(LEAST, WINDOW // max(1, len(schema)))) if packed > PAGE else 0
    file = pq.ParquetFile(
        stream, metadata=footer.metadata, read_dictionary=texts, buffer_size=buffer, pre_buffer=False, **LIMITS
    )
    categories = {f.name for f in features if isinstance(f, Category)}
    yield Raw(_typed(pa.Table.from_batches([], file.schema_arrow), schema, categories), np.array([], np.int64), [])
    for place, each in zip(groups, held, strict=True):
        rows = batch_rows(stream, each, ROWS)
        for record in file.iter_batches(rows, row_groups=[place], use_threads=False):
            for piece in _bounded(record, caps):
                table = _typed(pa.Table.from_batches([piece]), schema, categories)
                yield Raw(table, np.arange(first, first + table.num_rows), [])
                first += table.num_rows


def _is_text(kind: Any) -> bool:
    return any(test(kind) for test in (pa.types.is_string, pa.types.is_large_string, pa.types.is_binary))


def _bounded(record: Any, caps: Caps) -> Iterator[Any]:
    """A batch in pieces whose texts decode to no more than fits into memory.

    Raises:
        BadFile: when a cell is too long.
    """
    coded = [(name, c) for name, c in zip(record.schema.names, record.columns, strict=True) if _is_coded(c)]
    longest = {name: pc.max(pc.binary_length(c.dictionary)).as_py() or 0 for name, c in coded}
    for name, length in longest.items():
        if length > caps.max_field_bytes:
            raise field_too_large(caps, name)
    if sum(longest.values()) * record.num_rows <= DECODED:
        yield record
        return
    weights = np.zeros(record.num_rows, dtype=np.int64)
    for _, column in coded:
        lengths = pc.fill_null(pc.binary_length(column.dictionary), 0).cast(pa.int64())
        weights += pc.fill_null(lengths.take(column.indices), 0).to_numpy(zero_copy_only=False)
    start, total = 0, np.cumsum(weights)
    while start < record.num_rows:
        before = int(total[start - 1]) if start else 0
        end = max(start + 1, int(np.searchsorted(total, before + DECODED, "right")))
        yield record.slice(start, end - start)
        start = end


def _is_coded(column: Any) -> bool:
    kind = column.type
    return pa.types.is_dictionary(kind) and _is_text(kind.value_type)


def _typed(table: Any, schema: Any, categories: set[str]) -> Any:
    """Columns of the file's own types; categories stay codes."""
    columns = [
        column if field.name in categories and pa.types.is_dictionary(column.type) else column.cast(field.type)
        for field, column in zip(schema, table.columns, strict=True)
    ]
    return pa.table(columns, names=schema.names)
