# SPDX-License-Identifier: Apache-2.0
"""What a batch prediction reads, in parts that workers take one by one: row groups of Parquet, ranges of text."""

from __future__ import annotations

from typing import Any, Literal, NamedTuple

import msgspec

from .batches import Broken

Kind = Literal["parquet", "csv", "jsonl"]


class Split(msgspec.Struct, frozen=True, kw_only=True):
    """A part of an input that one worker reads.

    Attributes:
        number: its place among all splits of the batch, from 0.
        uri: gs://BUCKET/NAME or a local path.
        kind: what the file is.
        packed: whether it is gzipped; then the split is the whole file.
        start: first row group, or first byte of the first row.
        end: one behind the last.
        header: the columns of a CSV file, which only its first range names.
        generation: of an object in a bucket, so that what was planned is what is read; 0 for a local file.
        size: bytes that are read for it, for the progress bar.
        rows: how many there are, -1 where that is not known before.
    """

    number: int
    uri: str
    kind: Kind
    start: int
    end: int
    size: int
    rows: int = -1
    packed: bool = False
    header: tuple[str, ...] = ()
    generation: int = 0


class Raw(NamedTuple):
    """Some rows of a split, as the file has them.

    Attributes:
        table: Arrow table of all columns of the file: Parquet's own types, or of a text file what it was read as.
        rows: int64, the rows' numbers within the split, the first being 0; broken ones have theirs too.
        broken: rows that could not even be split into columns.
    """

    table: Any
    rows: Any
    broken: list[Broken]
