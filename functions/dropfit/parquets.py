# SPDX-License-Identifier: Apache-2.0
"""A Parquet file -> batches of its own types, in bounded memory whatever its pages hold."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, BinaryIO

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from .batches import ROWS, Batch, Caps, Meter, check_header, field_too_large
from .chunks import chunks
from .errors import BadFile
from .pages import Page, pages

FOOTER = 16 * 1024**2
"""Largest footer, in bytes: some 150,000 column chunks. Parsed it takes several times that."""
CONTAINER = 200_000
"""Most elements of a list in a footer: Thrift makes room for as many as one claims."""
LIMITS = {"thrift_string_size_limit": FOOTER, "thrift_container_size_limit": CONTAINER}
PAGE = 64 * 1024**2
"""Largest page, unpacked, in bytes; writers make 1 MB."""
WINDOW = 96 * 1024**2
"""Unpacked bytes of pages that a batch may touch, in all columns together."""
FEWEST = 256
DECODED = 32 * 1024**2
"""Bytes of text that a batch may decode to."""


def read(stream: BinaryIO, needed: Sequence[str], caps: Caps, meter: Meter, size: int) -> Iterator[Batch]:
    """The needed columns of a Parquet file.

    Args:
        stream: the file, seekable.
        needed: column names that must be there.
        caps: what the file may be.
        meter: is told what is unpacked.
        size: of the file, in bytes.

    Raises:
        BadFile, pa.ArrowException, OSError: when the file as a whole cannot be used.
    """
    check_footer(stream, size)
    footer = pq.ParquetFile(stream, **LIMITS)
    names = footer.schema_arrow.names
    check_header(names, needed, caps)
    texts = [n for n in needed if _is_text(n, footer.schema_arrow.field(n).type)]
    found = _chunks(footer, size, needed, caps)
    ignored = [n for n in names if n not in needed]
    # Texts stay codes of a dictionary until it is known what they decode to. Large row groups come a page at a time.
    packed = max((sum(chunk.total_compressed_size for chunk in group) for group in found), default=0)
    file = pq.ParquetFile(
        stream, metadata=footer.metadata, read_dictionary=texts, buffer_size=0 if packed < PAGE else 1024**2, **LIMITS
    )
    following = 1
    for group, columns in enumerate(found):
        rows = batch_rows(stream, columns)
        for record in file.iter_batches(rows, row_groups=[group], columns=list(needed), use_threads=False):
            for piece in _decoded(record, caps, meter):
                numbers = np.arange(following, following + piece.num_rows)
                following += piece.num_rows
                yield Batch({n: piece.column(n) for n in needed}, numbers, [], ignored)


def check_footer(stream: BinaryIO, size: int) -> None:
    """Refuse a Parquet file by its last bytes, before they are parsed.

    Raises:
        BadFile: when its end is missing, or its footer too large.
    """
    stream.seek(max(0, size - 8))
    tail = stream.read(8)
    stream.seek(0)
    if size < 12 or tail[4:] != b"PAR1":
        raise BadFile("it is Parquet without its end, so it cannot be read; upload it whole", "unreadable")
    length = int.from_bytes(tail[:4], "little")
    if length > size - 12:
        raise BadFile("it is Parquet and damaged: its footer is longer than the file", "unreadable")
    if length > FOOTER:
        reason = f"its Parquet footer holds {length:,} bytes, more than {FOOTER:,}: too many columns or row groups"
        raise BadFile(reason, "too-many-columns")


def _is_text(name: str, kind: Any) -> bool:
    if pa.types.is_nested(kind) or pa.types.is_fixed_size_binary(kind):
        raise BadFile(f"column {name} holds {kind}; a cell is one text, number or date", "wrong-type")
    value = kind.value_type if pa.types.is_dictionary(kind) else kind
    tests = (pa.types.is_string, pa.types.is_large_string, pa.types.is_binary, pa.types.is_large_binary)
    return any(test(value) for test in tests)


def _chunks(file: Any, size: int, needed: Sequence[str], caps: Caps) -> list[list[Any]]:
    """The needed column chunks of each row group.

    Raises:
        BadFile: when they say themselves that they unpack to too much.
    """
    paths = [file.schema.column(i).path for i in range(len(file.schema.names))]
    places = [paths.index(name) for name in needed]
    found = [chunks(file.metadata, size, group, places) for group in range(file.metadata.num_row_groups)]
    unpacked = sum(chunk.total_uncompressed_size for columns in found for chunk in columns)
    if unpacked > caps.max_unpacked_bytes:
        raise BadFile(f"it unpacks to {unpacked:,} bytes, more than {caps.max_unpacked_bytes:,}", "too-large")
    return found


def batch_rows(stream: BinaryIO, columns: Sequence[Any], most: int = ROWS) -> int:
    """How many rows to read at a time, so that the pages they stand in fit into memory together.

    Raises:
        BadFile: when one page is too large, or is none.
    """
    found = [_pages(stream, chunk) for chunk in columns]
    rows = most
    while rows > FEWEST and sum(_window(each, rows) for each in found) > WINDOW:
        rows //= 2
    return rows


def _pages(stream: BinaryIO, chunk: Any) -> list[Page]:
    offsets = (chunk.dictionary_page_offset, chunk.data_page_offset)
    start = min(offset for offset in offsets if offset)
    found = []
    try:
        for page in pages(stream, start, start + chunk.total_compressed_size, chunk.num_values):
            if page.unpacked > PAGE:
                reason = f"a page of column {chunk.path_in_schema} unpacks to {page.unpacked:,} bytes"
                raise BadFile(f"{reason}, more than {PAGE:,}; write smaller row groups", "too-large")
            found.append(page)
    except ValueError as error:
        raise BadFile(f"it is Parquet and damaged: {error}", "unreadable") from error
    return found


def _window(found: Sequence[Page], rows: int) -> int:
    """The most unpacked bytes that so many consecutive values of a column touch."""
    if not found:
        return 0
    sizes = np.array([page.unpacked for page in found])
    ends = np.cumsum([page.values for page in found])
    last = np.searchsorted(ends, ends + rows)
    total = np.concatenate([[0], np.cumsum(sizes)])
    return int(np.max(total[np.minimum(last + 1, len(found))] - total[: len(found)]))


def _decoded(record: Any, caps: Caps, meter: Meter) -> Iterator[Any]:
    """The batch with its texts written out, in pieces that fit into memory.

    Raises:
        BadFile: when a cell is too long, or all of it is.
    """
    weights = np.full(record.num_rows, 8 * record.num_columns, dtype=np.int64)
    for name, column in zip(record.schema.names, record.columns, strict=True):
        if not pa.types.is_dictionary(column.type):
            continue
        lengths = pc.fill_null(pc.binary_length(column.dictionary), 0).cast(pa.int64())
        cells = pc.fill_null(lengths.take(column.indices), 0).to_numpy(zero_copy_only=False)
        if len(cells) and cells.max() > caps.max_field_bytes:
            raise field_too_large(caps, name)
        weights += cells
    meter.add(int(weights.sum()))
    start, total = 0, np.cumsum(weights)
    while start < record.num_rows:
        before = int(total[start - 1]) if start else 0
        end = max(start + 1, int(np.searchsorted(total, before + DECODED, "right")))
        yield _plain(record.slice(start, end - start))
        start = end


def _plain(record: Any) -> Any:
    columns = [c.dictionary_decode() if pa.types.is_dictionary(c.type) else c for c in record.columns]
    return pa.record_batch(columns, names=record.schema.names)
