# SPDX-License-Identifier: Apache-2.0
"""A file of unknown kind -> Arrow batches of the needed columns. Content decides, not the name."""

from __future__ import annotations

import gzip
import io
import threading
import zlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, BinaryIO, Literal

import pyarrow as pa
import pyarrow.compute as pc

from . import delimited, jsonlines, parquets
from .batches import Batch, Caps, Meter, Spill, field_too_large, row_too_large
from .errors import BadFile

GZIP = b"\x1f\x8b"
STRANGERS = {
    b"PK\x03\x04": "a zip archive (an Excel workbook is one); save the table as CSV",
    b"\xd0\xcf\x11\xe0": "an old Office document; save the table as CSV",
    b"%PDF": "a PDF; save the table as CSV",
    b"\x89PNG": "a picture",
    b"\xff\xd8\xff": "a picture",
    b"GIF8": "a picture",
    b"BZh": "packed by bzip2; pack it with gzip, or not at all",
    b"\xfd7zXZ": "packed by xz; pack it with gzip, or not at all",
    b"\x28\xb5\x2f\xfd": "packed by zstd; pack it with gzip, or not at all",
    b"7z\xbc\xaf": "packed by 7-Zip; pack it with gzip, or not at all",
    b"ORC": "an ORC file; write Parquet",
    b"ARROW1": "an Arrow file; write Parquet",
    b"SQLite format 3": "an SQLite database; save the table as CSV",
}
"""First bytes of what people upload by mistake -> what it is."""
IN_GZIP = {GZIP: "packed twice; pack it once", b"PAR1": "Parquet inside gzip; upload it unpacked"}
PACKED = {**STRANGERS, **IN_GZIP}
"""The same inside gzip."""
UTF_32 = (b"\xff\xfe\x00\x00", b"\x00\x00\xfe\xff")
UTF_16 = (b"\xff\xfe", b"\xfe\xff")


class Plain(io.RawIOBase):
    """The bytes of a text file, metered, in full chunks.

    Args:
        stream: what is read.
        meter: is told how much was.

    Attributes:
        last: the last byte so far.
        quotes: how many quotation marks there were so far.
    """

    def __init__(self, stream: BinaryIO, meter: Meter) -> None:
        self._stream = stream
        self._meter = meter
        self._reading = threading.Lock()
        self._stopped = False
        self.last = b""
        self.quotes = 0

    def stop(self) -> None:
        """Give no more bytes: pyarrow reads ahead in a thread of its own, which must not outlive the file."""
        self._stopped = True
        with self._reading:  # what is being read now is read to its end
            return

    def readable(self) -> bool:
        """Always."""
        return True

    def readinto(self, buffer: Any) -> int:
        """Fill a buffer as far as there are bytes, or raise BadFile past a cap."""
        with self._reading:
            filled = 0
            while filled < len(buffer) and not self._stopped:
                chunk = self._stream.read(len(buffer) - filled)
                if not chunk:
                    break
                self._meter.add(len(chunk))
                buffer[filled : filled + len(chunk)] = chunk
                filled += len(chunk)
                self.last = chunk[-1:]
                self.quotes += chunk.count(b'"')
            return filled


def read(stream: BinaryIO, needed: Sequence[str], caps: Caps, spill: Spill) -> Iterator[Batch]:
    """The needed columns of a CSV, gzipped CSV, JSON lines or Parquet file, batch by batch.

    Args:
        stream: the file, seekable.
        needed: column names that must be there.
        caps: what the file may be.
        spill: takes rows that cannot be split, when there are too many to wait for the next batch; in any thread.

    Raises:
        BadFile: when the file as a whole cannot be used.
    """
    with faults(caps):
        for batch in _sniffed(stream, needed, caps, spill):
            _check_fields(batch, caps)
            yield batch


@contextmanager
def faults(caps: Caps) -> Iterator[None]:
    """What gzip and pyarrow say of a damaged file, as BadFile."""
    try:
        yield
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise BadFile(f"its gzip stream is broken ({error}); upload it again", "broken-gzip") from error
    except (pa.ArrowException, UnicodeDecodeError) as error:  # the latter of names in a Parquet footer
        raise _of_arrow(str(error), caps) from error
    except OSError as error:
        # pyarrow tells of damaged pages by a plain OSError; others are faults of the network or of our own disk.
        if type(error) is not OSError or error.errno is not None:
            raise
        raise _of_arrow(str(error), caps) from error


def _of_arrow(message: str, caps: Caps) -> BadFile:
    if "straddling object" in message:
        return row_too_large(caps)
    if "invalid utf8" in message.lower():
        return BadFile("it is not UTF-8 throughout; perhaps Latin-1 or Windows-1252. Save it as UTF-8", "not-utf8")
    return BadFile(f"it cannot be read: {message.splitlines()[0] if message else 'damaged'}", "unreadable")


def _check_fields(batch: Batch, caps: Caps) -> None:
    for name, column in batch.columns.items():
        if pa.types.is_string(column.type) or pa.types.is_large_string(column.type):
            longest = pc.max(pc.binary_length(column)).as_py()
            if longest is not None and longest > caps.max_field_bytes:
                raise field_too_large(caps, name)


def _sniffed(stream: BinaryIO, needed: Sequence[str], caps: Caps, spill: Spill) -> Iterator[Batch]:
    magic = stream.read(16)
    size = stream.seek(0, io.SEEK_END)
    stream.seek(0)
    if not magic:
        raise BadFile("it is empty", "empty")
    if magic[:4] == b"PAR1":
        return parquets.read(stream, needed, caps, Meter(caps, lambda: size), size)
    if magic[:2] == GZIP:
        # What gzip has read of the file so far is at least what came out of it.
        packed: Any = gzip.GzipFile(fileobj=stream)
        return _text(Plain(packed, Meter(caps, stream.tell)), needed, caps, spill, PACKED)
    return _text(Plain(stream, Meter(caps, stream.tell)), needed, caps, spill, STRANGERS)


def _text(
    plain: Plain, needed: Sequence[str], caps: Caps, spill: Spill, strangers: dict[bytes, str]
) -> Iterator[Batch]:
    lines: Any = io.BufferedReader(plain, caps.block)
    head = lines.peek(caps.block)
    if kind_of(head, strangers) == "jsonl":
        return jsonlines.read(lines, plain, needed, caps)
    return delimited.read(lines, plain, head, needed, caps, spill)


def kind_of(head: bytes, strangers: Mapping[bytes, str] = STRANGERS) -> Literal["csv", "jsonl"]:
    """What a text is, from its first bytes.

    Args:
        head: of the text, unpacked.
        strangers: beginnings of what it must not be.

    Raises:
        BadFile: when it is neither.
    """
    if not head:
        raise BadFile("it is empty", "empty")
    for first, what in strangers.items():
        if head.startswith(first):
            raise BadFile(f"it is {what}", "unknown")
    _check_encoding(head)
    first = head.removeprefix(b"\xef\xbb\xbf").lstrip()[:1]
    if first == b"[":
        raise BadFile("it is a JSON array; write JSON lines, one object a line", "json-array")
    return "jsonl" if first == b"{" else "csv"


def _check_encoding(head: bytes) -> None:
    if head.startswith(UTF_32):
        raise BadFile("it is UTF-32; save it as UTF-8", "not-utf8")
    if head.startswith(UTF_16):
        raise BadFile("it is UTF-16; save it as UTF-8", "not-utf8")
    start = head[:4096]
    if b"\x00" in start:
        # Every other byte of a Latin text in UTF-16 is zero.
        if len(start) > 3 and abs(start[0::2].count(0) - start[1::2].count(0)) > len(start) // 3:
            raise BadFile("it is UTF-16 without a byte order mark; save it as UTF-8", "not-utf8")
        raise BadFile("it is neither CSV, JSON lines nor Parquet (its content decides, not its name)", "unknown")
