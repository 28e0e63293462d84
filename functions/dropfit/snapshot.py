# SPDX-License-Identifier: Apache-2.0
"""The head of a version's table as one read-only file, which a function opens beside the model.

Why this format, and what it costs beside SQLite and LMDB: docs/adr/0014-the-heads-file.md. It is a hash table over
MessagePack, after D. J. Bernstein's cdb (cr.yp.to/cdb.html), with a bucket where cdb has a slot. Integers of its own
are little-endian:

    32 bytes      magic and format; rows and groups held; buckets of rows, buckets of groups; bytes of the file
    4 a bucket    where each bucket begins, buckets of rows first, and where the last one ends
    the buckets   each a MessagePack map of key -> [value, fired, probabilities], of which empty ends are left off

A key stands in bucket crc32(key in UTF-8) modulo the number of buckets, in full: there are no false hits. A float is
written in four bytes where that is exact, as it is for what ONNX models give. The same content gives the same bytes.
To look inside: `list(Snapshot(path).rows())`, or any MessagePack library.
"""

from __future__ import annotations

import mmap
import os
import struct
from array import array
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, NamedTuple
from zlib import crc32

from .errors import ArtifactError, disk
from .records import DAMAGED, Row, decode, encode, head, packed

if TYPE_CHECKING:
    import numpy as np

__all__ = ["LEAST", "SMALLEST", "SUFFIX", "Row", "Snapshot", "Written", "write"]

SUFFIX = ".head"
MAGIC = b"dropfit1"
HEADER = struct.Struct("<8sIIIIQ")
KEYS_PER_BUCKET = 4
BUCKET_BYTES = 4 + 1  # its place, and its map's header: longer from 16 keys on, which `_Heap._fit` sees to
LEAST = 1 + 2 + BUCKET_BYTES // KEYS_PER_BUCKET
"""Bytes that a row takes at least beside its key and its probabilities."""
SMALLEST = HEADER.size + 4 + 2 * BUCKET_BYTES
LARGEST = 2**32 - 1
_between = struct.Struct("<II").unpack_from


class Written(NamedTuple):
    """What a file holds.

    Attributes:
        rows: rows in it.
        groups: groups in it.
        left_out: rows and groups that were offered and are not: no room was left, or the key was there already.
        bytes: size of the file.
    """

    rows: int
    groups: int
    left_out: int
    bytes: int


class Snapshot:
    """A file of `write`, mapped into memory: opening reads its first and its last page.

    Any thread may read. The file must not be changed while it is open (the kernel would end the process), so it
    belongs to whoever opens it.

    Args:
        path: where it is.
        unlink: take its name away at once, so that its bytes are given back when the last reader closes.

    Attributes:
        get: key as `keys.joined` makes it -> its Row, or None.
        group: number of columns, a tab and the joined values -> its Row, or None.

    Raises:
        ArtifactError: when it is none, or not whole. Opening proves no more than that (the file's hash is proven by
            whoever fetched it); a damaged bucket raises it when it is read.
    """

    __slots__ = ("_groups", "_map", "_rows", "get", "group")

    def __init__(self, path: str | os.PathLike[str], unlink: bool = False) -> None:
        with open(path, "rb") as file:
            size = os.fstat(file.fileno()).st_size
            if size < SMALLEST:
                raise ArtifactError(f"the snapshot has {size:,} bytes, fewer than an empty one: it is not whole")
            self._map = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        magic, rows, groups, of_rows, of_groups, declared = HEADER.unpack_from(self._map)
        if magic != MAGIC:
            raise ArtifactError("the snapshot is not one of this format")
        self._rows = _Table(self._map, HEADER.size, of_rows, rows)
        self._groups = _Table(self._map, HEADER.size + 4 * of_rows, of_groups, groups)
        begin = HEADER.size + 4 * (of_rows + of_groups + 1)
        if declared != size or not (of_rows and of_groups) or begin > size:
            raise ArtifactError(f"the snapshot has {size:,} bytes and says {declared:,}: it is not whole")
        if self._rows.places(0)[0] != begin or self._groups.places(of_groups - 1)[1] != size:
            raise ArtifactError("the snapshot's buckets are not where they must be: it is damaged")
        self.get, self.group = self._rows.get, self._groups.get
        if unlink:
            os.unlink(path)

    def __len__(self) -> int:
        return self._rows.held

    def rows(self) -> Iterator[tuple[str, Row]]:
        """Every key and its row, bucket by bucket."""
        return self._rows.items()

    def groups(self) -> Iterator[tuple[str, Row]]:
        """Every group's key and its row, bucket by bucket."""
        return self._groups.items()

    def close(self) -> None:
        """Give the memory back now and not with the last reference; a later look-up is a ValueError."""
        self._map.close()


class _Table:
    """One of the file's two tables. Its `get` is the hot path: two reads of memory, and a bucket decoded."""

    __slots__ = ("_begin", "_buckets", "_map", "held")

    def __init__(self, mapped: mmap.mmap, begin: int, buckets: int, held: int) -> None:
        self._map, self._begin, self._buckets, self.held = mapped, begin, buckets, held

    def get(self, key: str) -> Row | None:
        """The row of a key, or None."""
        try:
            place = self._begin + 4 * (crc32(key.encode()) % self._buckets)
            begin, end = _between(self._map, place)
            return decode(self._map[begin:end]).get(key)
        except UnicodeEncodeError:  # half of a surrogate pair: no key of a table holds one
            return None
        except DAMAGED as error:
            raise ArtifactError(f"the snapshot is damaged: {error}") from error

    def places(self, bucket: int) -> tuple[int, int]:
        """Where a bucket begins and ends."""
        begin, end = _between(self._map, self._begin + 4 * bucket)
        return begin, end

    def items(self) -> Iterator[tuple[str, Row]]:
        """Every key and its row, bucket by bucket."""
        for bucket in range(self._buckets):
            begin, end = self.places(bucket)
            try:
                yield from decode(self._map[begin:end]).items()
            except DAMAGED as error:
                raise ArtifactError(f"the snapshot is damaged: {error}") from error


def write(
    path: str | os.PathLike[str],
    rows: Iterable[tuple[str, Row]],
    groups: Iterable[tuple[str, Row]],
    most_bytes: int,
) -> Written:
    """Write the file: groups first, in at most half of the bytes, then rows until the next would not fit.

    Holds in memory what the file will hold, once, and some 24 bytes a row; what does not fit is counted and let go.

    Args:
        path: where to; what is there is overwritten.
        rows: keys as `keys.joined` makes them, most frequent first. Of a key offered twice, the first stays.
        groups: coarsest first; the key is the number of columns, a tab, and the joined values.
        most_bytes: the file will not be larger, nor larger than 4 GiB.

    Raises:
        ValueError: when most_bytes does not hold even an empty file of SMALLEST bytes.
        Unavailable: when the disk is full.
    """
    if most_bytes < SMALLEST:
        raise ValueError(f"a snapshot has {SMALLEST} bytes or more, not {most_bytes}")
    room = min(most_bytes, LARGEST) - HEADER.size - 4
    coarse = _Heap(max(BUCKET_BYTES, min(most_bytes // 2, room - BUCKET_BYTES)))
    left_out = coarse.fill(groups)
    fine = _Heap(room - coarse.bytes())
    left_out += fine.fill(rows)
    places = array("I")
    with disk(), Path(path).open("wb") as file:
        file.seek(HEADER.size + 4 * (fine.buckets + coarse.buckets + 1))
        held = [heap.write(file, places) for heap in (fine, coarse)]
        size = file.tell()
        places.append(size)
        file.seek(0)
        file.write(HEADER.pack(MAGIC, *held, fine.buckets, coarse.buckets, size))
        file.write(struct.pack(f"<{len(places)}I", *places))
    return Written(held[0], held[1], left_out + len(fine) + len(coarse) - sum(held), size)


class _Heap:
    """Records in the order offered, as long as their table takes no more than `room` bytes."""

    def __init__(self, room: int) -> None:
        self.room, self.buckets = room, 1
        self._records, self._ends, self._hashes = bytearray(), array("Q", [0]), array("I")

    def __len__(self) -> int:
        return len(self._hashes)

    def fill(self, pairs: Iterable[tuple[str, Row]]) -> int:
        """Take what fits; how many were left out."""
        offered = iter(pairs)
        left_out = 0
        for key, row in offered:
            record = encode(key) + packed(row)
            filled = len(self._records) + len(record)
            if filled + BUCKET_BYTES * _buckets(len(self) + 1) > self.room:
                left_out = 1 + sum(1 for _ in offered)
                break
            self._records += record
            self._ends.append(filled)
            self._hashes.append(crc32(key.encode()))
        self.buckets = _buckets(len(self))
        return left_out + self._fit()

    def bytes(self) -> int:
        """What the table takes, places and all."""
        _, counts = self._spread()
        longer = 2 * int((counts > 15).sum() + (counts > 65535).sum())
        return len(self._records) + BUCKET_BYTES * self.buckets + longer

    def _fit(self) -> int:
        """Take back the last rows where full buckets with longer headers made it too large; how many."""
        before = len(self)
        while (excess := self.bytes() - self.room) > 0:
            while excess > 0:
                excess -= self._ends.pop() - self._ends[-1]
                self._hashes.pop()
            del self._records[self._ends[-1] :]
        return before - len(self)

    def _spread(self) -> tuple[np.ndarray, np.ndarray]:
        """The bucket of each record, and the number of records of each bucket."""
        import numpy as np

        bucket = np.asarray(self._hashes, np.uint32) % np.uint32(self.buckets)
        return bucket, np.bincount(bucket, minlength=self.buckets)

    def write(self, file: BinaryIO, places: array[int]) -> int:
        """Write the buckets one after the other, note where each begins; how many keys they hold."""
        bucket, counts = self._spread()
        order = bucket.argsort(kind="stable").data
        records, ends = memoryview(self._records), self._ends
        held, begin, at = 0, 0, file.tell()
        for count in counts.tolist():
            parts = [records[ends[i] : ends[i + 1]] for i in order[begin : begin + count]]
            begin += count
            whole = _bucket(parts)
            if len(decode(whole)) < count:
                parts = _first_of_each(parts)
                whole = _bucket(parts)
            places.append(at)
            held, at = held + len(parts), at + file.write(whole)
        return held


def _buckets(rows: int) -> int:
    return -(-rows // KEYS_PER_BUCKET) or 1


def _bucket(parts: Sequence[bytes | memoryview]) -> bytes:
    return b"".join((head(len(parts), 0x80, 0xDE), *parts))


def _first_of_each(parts: list[memoryview]) -> list[memoryview]:
    """Of records with the same key, the one offered first."""
    return list({next(iter(decode(b"\x81" + part))): part for part in reversed(parts)}.values())
