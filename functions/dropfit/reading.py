# SPDX-License-Identifier: Apache-2.0
"""A file of unknown kind -> Arrow batches of the needed columns. Content decides, not the name."""

from __future__ import annotations

import csv
import gzip
import io
import zlib
from collections.abc import Iterator, Sequence
from typing import Any, BinaryIO, NamedTuple

import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.csv as pacsv
import pyarrow.parquet as pq

from .errors import BadFile

BLOCK = 4 * 1024**2
ROWS = 65_536
LINE = 4 * 1024**2
"""Longest line of a JSON lines file, in bytes."""
DELIMITERS = (",", ";", "\t")


class Rejected(NamedTuple):
    """A row that cannot be used.

    Attributes:
        row: its number in the file, the first data row being 1.
        column: where it is wrong, empty for the row as a whole.
        reason: what is wrong there.
        values: the row as it stood, for the columns that could be read.
    """

    row: int
    column: str
    reason: str
    values: dict[str, str]


class Batch(NamedTuple):
    """Some rows of a file.

    Attributes:
        columns: needed column -> Arrow array: strings as they stood, or Parquet's own type.
        rows: their numbers in the file, shape (rows,).
        broken: rows that could not even be split into columns.
        ignored: columns of the file that nobody asked for.
    """

    columns: dict[str, Any]
    rows: np.ndarray[Any, Any]
    broken: list[Rejected]
    ignored: list[str]


class Capped(io.RawIOBase):
    """A stream that refuses to give more than so many bytes.

    Args:
        stream: what is read.
        limit: bytes after which BadFile is raised.
    """

    def __init__(self, stream: BinaryIO, limit: int) -> None:
        self._stream = stream
        self._left = limit
        self._limit = limit

    def readable(self) -> bool:
        """Always."""
        return True

    def readinto(self, buffer: Any) -> int:
        """Read into a buffer, or raise BadFile past the limit."""
        chunk = self._stream.read(len(buffer))
        self._left -= len(chunk)
        if self._left < 0:
            raise BadFile(f"it unpacks to more than {self._limit:,} bytes", "too-large")
        buffer[: len(chunk)] = chunk
        return len(chunk)


def read(stream: BinaryIO, needed: Sequence[str], max_unpacked: int) -> Iterator[Batch]:
    """The needed columns of a CSV, gzipped CSV, JSON lines or Parquet file, batch by batch.

    Args:
        stream: the file, seekable.
        needed: column names that must be there.
        max_unpacked: bytes that a compressed file may unpack to.

    Raises:
        BadFile: when the file as a whole cannot be used.
    """
    magic = stream.read(4)
    stream.seek(0)
    if not magic:
        raise BadFile("it is empty", "empty")
    try:
        if magic == b"PAR1":
            yield from _parquet(stream, needed, max_unpacked)
            return
        if magic[:2] == b"\x1f\x8b":
            stream = gzip.GzipFile(fileobj=stream)  # type: ignore[assignment]
        plain: Any = io.BufferedReader(Capped(stream, max_unpacked), BLOCK)
        yield from _text(plain, needed)
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise BadFile(f"its gzip stream is broken: {error}", "broken-gzip") from error
    except pa.ArrowException as error:
        if "straddling object" in str(error):
            raise BadFile(f"a row is longer than {BLOCK:,} bytes", "too-large") from error
        raise BadFile(f"it cannot be read: {str(error).splitlines()[0]}", "unreadable") from error
    except OSError as error:
        # pyarrow tells of damaged pages by a plain OSError; its children are faults of the network.
        if type(error) is not OSError:
            raise
        raise BadFile(f"it cannot be read: {str(error).splitlines()[0]}", "unreadable") from error


def _text(plain: Any, needed: Sequence[str]) -> Iterator[Batch]:
    head = plain.peek(BLOCK)
    if not head:
        raise BadFile("it is empty", "empty")
    if head[:2] in (b"\xff\xfe", b"\xfe\xff"):
        raise BadFile("it is UTF-16; save it as UTF-8", "not-utf8")
    if b"\x00" in head[:4096]:
        raise BadFile("it is neither CSV, JSON lines nor Parquet (its content decides, not its name)", "unknown")
    first = head.lstrip(b"\xef\xbb\xbf \t\r\n")[:1]
    if first == b"[":
        raise BadFile("it is a JSON array; write JSON lines, one object a line", "json-array")
    if first == b"{":
        return _json_lines(plain, needed)
    return _csv(plain, needed, head)


def _csv(plain: Any, needed: Sequence[str], head: bytes) -> Iterator[Batch]:
    names, delimiter = _header(head, needed)
    broken: list[Rejected] = []
    skipped: set[int] = set()

    def wrong_width(row: pacsv.InvalidRow) -> str:
        reason = f"{row.actual_columns} columns instead of {row.expected_columns}"
        broken.append(Rejected((row.number or 2) - 1, "", reason, {"": row.text}))
        skipped.add(broken[-1].row)
        return "skip"

    reader = pacsv.open_csv(
        plain,
        pacsv.ReadOptions(block_size=BLOCK, use_threads=False),
        pacsv.ParseOptions(delimiter=delimiter, newlines_in_values=True, invalid_row_handler=wrong_width),
        pacsv.ConvertOptions(column_types={n: pa.string() for n in names}, include_columns=list(needed)),
    )
    ignored = [n for n in names if n not in needed]
    following = 1
    for record in reader:
        numbers = _numbers(following, record.num_rows, skipped)
        following = int(numbers[-1]) + 1 if len(numbers) else following
        # The reader is a block ahead: what it skipped beyond this batch still counts for the next.
        skipped -= {row for row in skipped if row < following}
        yield Batch(dict(zip(needed, record.columns, strict=True)), numbers, broken.copy(), ignored)
        broken.clear()
    if broken:
        yield _only_broken(broken, needed, ignored)


def _numbers(following: int, rows: int, skipped: set[int]) -> np.ndarray[Any, Any]:
    """The numbers of the next so many rows that were not skipped."""
    candidates = np.arange(following, following + rows + len(skipped))
    return candidates[~np.isin(candidates, list(skipped))][:rows]


def _header(head: bytes, needed: Sequence[str]) -> tuple[list[str], str]:
    try:
        # The block may end inside a character; what is wrong before its end is found by the reader.
        first = head.decode("utf-8-sig") if len(head) < BLOCK else head.decode("utf-8-sig", errors="ignore")
    except UnicodeDecodeError as error:
        raise BadFile(f"it is not UTF-8 (byte {error.start:,}); save it as UTF-8", "not-utf8") from error
    csv.field_size_limit(BLOCK)
    found: list[str] = []
    for delimiter in DELIMITERS:
        try:
            names = next(csv.reader(io.StringIO(first, newline=""), delimiter=delimiter), [])
        except csv.Error as error:
            raise BadFile(f"its first line is no header: {error}", "no-header") from error
        if set(needed) <= set(names):
            _columns_once(names, needed)
            return names, delimiter
        found = found or names
    raise _missing(needed, found)


def _columns_once(names: Sequence[str], needed: Sequence[str]) -> None:
    twice = sorted({n for n in needed if list(names).count(n) > 1})
    if twice:
        raise BadFile(f"columns stand twice: {', '.join(twice)}", "duplicate-columns")


def _missing(needed: Sequence[str], found: Sequence[str]) -> BadFile:
    missing = [n for n in needed if n not in found]
    shown = ", ".join(n[:40] for n in list(found)[:30]) or "nothing"
    return BadFile(f"columns are missing: {', '.join(missing)}; found: {shown}", "missing-columns")


def _json_lines(plain: Any, needed: Sequence[str]) -> Iterator[Batch]:
    decoder = msgspec.json.Decoder(dict[str, Any])
    rows: list[dict[str, Any]] = []
    numbers: list[int] = []
    broken: list[Rejected] = []
    seen: set[str] = set()
    for number, line in enumerate(iter(lambda: plain.readline(LINE + 1), b""), start=1):
        if len(line) > LINE:
            raise BadFile(f"line {number:,} is longer than {LINE:,} bytes", "too-large")
        text = line.removeprefix(b"\xef\xbb\xbf").strip() if number == 1 else line.strip()
        if text:
            try:
                rows.append(decoder.decode(text))
                numbers.append(number)
                seen.update(rows[-1])
            except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
                shown = {"": text[:1000].decode(errors="replace")}
                broken.append(Rejected(number, "", f"not a JSON object: {error}", shown))
        if len(rows) == ROWS:
            yield _from_objects(rows, numbers, broken, needed, seen)
            rows, numbers, broken = [], [], []
    if rows and not set(needed) & seen:
        raise _missing(needed, sorted(seen))
    if rows:
        yield _from_objects(rows, numbers, broken, needed, seen)
    elif broken:
        yield _only_broken(broken, needed, [])


def _from_objects(
    rows: list[dict[str, Any]],
    numbers: list[int],
    broken: list[Rejected],
    needed: Sequence[str],
    seen: set[str],
) -> Batch:
    columns = {n: pa.array([_cell(row.get(n)) for row in rows], pa.string()) for n in needed}
    return Batch(columns, np.array(numbers), broken, sorted(seen - set(needed)))


def _cell(value: Any) -> str | None:
    if value is None or isinstance(value, str):
        return value
    return msgspec.json.encode(value).decode()


def _only_broken(broken: list[Rejected], needed: Sequence[str], ignored: list[str]) -> Batch:
    return Batch({n: pa.array([], pa.string()) for n in needed}, np.array([], dtype=np.int64), broken, ignored)


def _parquet(stream: BinaryIO, needed: Sequence[str], max_unpacked: int) -> Iterator[Batch]:
    file = pq.ParquetFile(stream)
    names = file.schema_arrow.names
    if not set(needed) <= set(names):
        raise _missing(needed, names)
    _columns_once(names, needed)
    unpacked = sum(file.metadata.row_group(g).total_byte_size for g in range(file.metadata.num_row_groups))
    if unpacked > max_unpacked:
        raise BadFile(f"it unpacks to {unpacked:,} bytes, more than {max_unpacked:,}", "too-large")
    following = 1
    for record in file.iter_batches(ROWS, columns=list(needed)):
        numbers = np.arange(following, following + record.num_rows)
        following += record.num_rows
        columns = {n: record.column(n) for n in needed}
        yield Batch(columns, numbers, [], [n for n in names if n not in needed])
