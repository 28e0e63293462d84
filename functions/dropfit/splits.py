# SPDX-License-Identifier: Apache-2.0
"""What a batch prediction reads, in parts that workers take one by one: row groups of Parquet, ranges of text.

A split is planned from the content, not the name, and read again without the rest of its file. The same split always
gives the same parts, since a run that goes on after a kill leaves out those that are done.
"""

from __future__ import annotations

import gzip
import io
from collections.abc import Iterator, Sequence
from typing import Any, BinaryIO, Literal

import msgspec

from . import csvparts, jsonparts, rowgroups
from .batches import Caps, Meter
from .contract import Contract
from .errors import BadFile
from .parts import Raw as Raw
from .parts import regrouped
from .ranges import CsvRows, JsonRows, Range, full, ranges
from .reading import GZIP, PACKED, Plain, faults, kind_of

Kind = Literal["parquet", "csv", "jsonl"]
TARGET = 16 * 1024**2
"""Bytes of text that a split holds."""
BATCH = Caps(max_unpacked_bytes=1 << 60)
"""What a file to predict may be: a gzipped one is not refused for its size, as it is read in bounded memory."""


class Split(msgspec.Struct, frozen=True, kw_only=True):
    """A part of an input that one worker reads.

    Attributes:
        number: its place among all splits of the batch, from 0.
        uri: gs://BUCKET/NAME or a local path.
        kind: what the file is.
        packed: whether it is gzipped; then the split is the whole file, and places are those of the unpacked text.
        start: first row group, or first byte of the first row.
        end: one behind the last; -1 for all that is there.
        header: the columns of a text file, which only its beginning names.
        delimiter: between two cells of a CSV file.
        first: number in the file of the first row; of JSON lines, of the line.
        generation: of an object in a bucket, or when a local file was last written (ns since 1970), so that what was
            planned is what is read.
        size: bytes that are read for it, for the progress bar.
        rows: how many there are (of JSON lines, how many lines), -1 where that is not known before.
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
    delimiter: str = ","
    first: int = 1
    generation: int = 0


def plan(
    stream: BinaryIO, uri: str, first_number: int = 0, generation: int = 0, target: int = TARGET, caps: Caps = BATCH
) -> list[Split]:
    """The splits of a file; at least one, so that its columns are known where it has no row.

    Args:
        stream: the file, seekable; text is read through once.
        uri: its name.
        first_number: of its first split.
        generation: which write of it.
        target: bytes of text in a split.
        caps: what the file may be.

    Raises:
        BadFile: when the file as a whole cannot be used.
    """
    with faults(caps):
        size = stream.seek(0, io.SEEK_END)
        stream.seek(0)
        magic = stream.read(4)
        stream.seek(0)
        found: list[Range]
        more: dict[str, Any] = {"kind": "parquet"}
        if magic == b"PAR1":
            found, sizes = rowgroups.plan(stream, size, caps)
        elif magic[:2] == GZIP:
            more, start = _text(full(_unpacked(stream, caps), caps.block), PACKED, caps)
            more["packed"] = True
            found, sizes = [Range(start, -1, -1)], [size]
        else:
            more, start = _text(full(stream, caps.block), None, caps)
            found = ranges(stream, start, _scanner(more["kind"], more.get("delimiter", ",")), target, caps)
            sizes = [each.end - each.start for each in found]
    splits, first = [], 1
    for number, (each, weight) in enumerate(zip(found, sizes, strict=True), start=first_number):
        splits.append(
            Split(number=number, uri=uri, generation=generation, size=weight, first=first, **each._asdict(), **more)
        )
        first += max(0, each.rows)
    return splits


def _text(head: bytes, strangers: dict[bytes, str] | None, caps: Caps) -> tuple[dict[str, Any], int]:
    """What all splits of a text file have in common, and the place of the first row."""
    kind = kind_of(head) if strangers is None else kind_of(head, strangers)
    if kind == "csv":
        named = csvparts.header(head, caps)
        return {"kind": kind, "header": named.names, "delimiter": named.delimiter}, named.end
    whole = head if len(head) < caps.block else head[: head.rfind(b"\n") + 1]
    start = 3 if head.startswith(b"\xef\xbb\xbf") else 0
    return {"kind": kind, "header": jsonparts.header(whole[start:], caps)}, start


def _scanner(kind: Kind, delimiter: str) -> CsvRows | JsonRows:
    return CsvRows(delimiter) if kind == "csv" else JsonRows()


def _unpacked(stream: BinaryIO, caps: Caps) -> BinaryIO:
    packed: Any = gzip.GzipFile(fileobj=stream)
    plain: Any = Plain(packed, Meter(caps, stream.tell))
    return plain  # type: ignore[no-any-return]


def read(
    stream: BinaryIO, split: Split, contract: Contract, nulls: Sequence[str] = ("",), caps: Caps = BATCH
) -> Iterator[Raw]:
    """The rows of a split, in parts of at most 131,072; at least one part, which may hold no row.

    Args:
        stream: the split's file, seekable.
        split: what of it.
        contract: its features are read as what they are.
        nulls: what a CSV file writes for a missing number; what else it writes is found by `checks`, more slowly.
        caps: what the file may be.

    Raises:
        BadFile: when the file as a whole cannot be used.
    """
    with faults(caps):
        for raw in regrouped(_pieces(stream, split, contract, nulls, caps)):
            yield raw._replace(uri=split.uri)


def _pieces(stream: BinaryIO, split: Split, contract: Contract, nulls: Sequence[str], caps: Caps) -> Iterator[Raw]:
    if split.kind == "parquet":
        size = stream.seek(0, io.SEEK_END)
        groups = range(split.start, split.end)
        return rowgroups.read(stream, size, groups, contract.features, split.first, caps)
    length = None if split.packed else split.end - split.start
    if split.packed:
        stream.seek(0)
        stream = _unpacked(stream, caps)
        if len(full(stream, split.start)) < split.start:
            raise BadFile("it is shorter than it was: it changed meanwhile", "truncated")
    else:
        stream.seek(split.start)
    if split.kind == "jsonl":
        rows = jsonparts.Parser(split.header, contract.features, caps)
        return jsonparts.read(stream, length, rows, split.first, caps)
    parser = csvparts.Parser(split.header, split.delimiter, contract.features, nulls, caps)
    return csvparts.read(stream, length, parser, split.delimiter, split.first, caps)
