# SPDX-License-Identifier: Apache-2.0
"""JSON lines, one object a line -> batches of strings."""

from __future__ import annotations

import io
import re
from collections.abc import Iterator, Sequence
from typing import Any, Protocol

import msgspec
import numpy as np
import pyarrow as pa

from . import batches
from .batches import Batch, Broken, Caps, check_header, only_broken, row_too_large, torn

SHOWN = 1000
"""Characters kept of a line that is no object."""
PLACE = re.compile(r" \(byte \d+\)|: '.*codec.*")


class Ends(Protocol):
    """What is known of a file's bytes when all are read."""

    last: bytes


class Lines:
    """The lines read since the last batch."""

    def __init__(self, needed: Sequence[str]) -> None:
        self._decoder = msgspec.json.Decoder(dict[str, Any])
        self._needed = needed
        self._rows: list[dict[str, Any]] = []
        self._numbers: list[int] = []
        self._broken: list[Broken] = []
        self._bytes = 0
        self.seen: set[str] = set()

    @property
    def full(self) -> bool:
        """Whether they make a batch: by their number, or by what they weigh."""
        return len(self._rows) + len(self._broken) >= batches.ROWS or self._bytes >= 4 * batches.BLOCK

    def add(self, number: int, text: bytes) -> Broken | None:
        """One more line; returns it when it is no object."""
        self._bytes += len(text)
        try:
            row = self._decoder.decode(text)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            # Without the place, so that a million of them are one reason.
            reason = f"not a JSON object: {PLACE.sub('', str(error))}"
            self._broken.append(Broken(number, reason, text[:SHOWN].decode(errors="replace")))
            return self._broken[-1]
        self._rows.append(row)
        self._numbers.append(number)
        self.seen.update(row)
        return None

    def batch(self) -> Batch:
        """All of them, leaving none."""
        ignored = sorted(self.seen - set(self._needed))
        if self._rows:
            columns = {n: pa.array([_cell(row.get(n)) for row in self._rows], pa.string()) for n in self._needed}
            made = Batch(columns, np.array(self._numbers), self._broken, ignored)
        else:
            made = only_broken(self._broken, self._needed, ignored)
        self._rows, self._numbers, self._broken, self._bytes = [], [], [], 0
        return made


def read(lines: io.BufferedReader, ends: Ends, needed: Sequence[str], caps: Caps) -> Iterator[Batch]:
    """The needed columns of a JSON lines file.

    Args:
        lines: the file.
        ends: what is known of its bytes when all are read.
        needed: names of which at least one must be in some object.
        caps: what the file may be.

    Raises:
        BadFile: when the file as a whole cannot be used.
    """
    pending = Lines(needed)
    broken: Broken | None = None
    for number, line in enumerate(iter(lambda: lines.readline(caps.block + 1), b""), start=1):
        if len(line) > caps.block:
            raise row_too_large(caps, f"line {number:,}")
        text = line.removeprefix(b"\xef\xbb\xbf").strip() if number == 1 else line.strip()
        if text:
            broken = pending.add(number, text)
        if len(pending.seen) > caps.max_columns:
            check_header(sorted(pending.seen), needed, caps)
        if pending.full:
            yield pending.batch()
    if broken and "truncated" in broken.reason and ends.last != b"\n" and caps.judges("truncated"):
        raise torn(f"its last line ({broken.row:,}) is {broken.reason}")
    if pending.seen and not set(needed) & pending.seen:
        check_header(sorted(pending.seen), needed, caps)
    yield pending.batch()


def _cell(value: Any) -> str | None:
    if value is None or isinstance(value, str):
        return value
    return msgspec.json.encode(value).decode()
