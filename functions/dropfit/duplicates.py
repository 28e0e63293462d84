# SPDX-License-Identifier: Apache-2.0
"""Rows that were accepted before, by the declared identity and never by features.

No row is removed here: the newest upload of an identity wins at training, and an earlier file may still be
overwritten. What is found out is whether an upload brings anything: a row that no other upload in use holds, or other
values for one that is held. An upload that brings nothing counts nothing, whatever its name.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from typing import Any, NamedTuple

import numpy as np

from .contract import Columns, Problem
from .encoding import length
from .receipts import Receipt, upload_order

Array = np.ndarray[Any, Any]
MAX_KNOWN = 20_000_000
"""Rows that are remembered, at 16 bytes each; what is beyond is taken for new. It still counts once in a training."""
CHUNK = 1_000_000
"""Rows that are looked up at a time."""


class Hashes(NamedTuple):
    """Rows as two numbers each.

    Attributes:
        identities: uint64, shape (rows,): of the columns that make two rows the same event.
        contents: uint32, shape (rows,): of all columns of an accepted row; compared for equal identities alone.
    """

    identities: Array
    contents: Array


class Held(NamedTuple):
    """What an upload holds: of each identity the last row, sorted by identity.

    Attributes:
        identities: uint64, shape (identities,), ascending.
        contents: uint32, shape (identities,).
        rows: of the file, those of one identity included.
    """

    identities: Array
    contents: Array
    rows: int


class Repeats(NamedTuple):
    """What of an upload was there before.

    Attributes:
        fresh: identities that no other upload in use holds.
        changed: identities that are held with other values: corrections.
        twice: rows of an identity that stands further down in the same file.
        holders: receipt id of an upload that holds rows of this one -> how many.
    """

    fresh: int
    changed: int
    twice: int
    holders: dict[str, int]


def hashes(problem: Problem, columns: Columns) -> Hashes:
    """Accepted rows as hashes; the same rows give the same on every machine."""
    parts = {name: _hashed(columns[name]) for name in problem.kept}
    identity = problem.identity or problem.kept
    rows = length(columns)
    contents = _combined([parts[n] for n in problem.kept], rows)
    return Hashes(_combined([parts[n] for n in identity], rows), contents.astype(np.uint32))


def digest(batches: Iterable[Columns], names: Sequence[str]) -> str:
    """A text for a set of rows that holds each once: the same rows in any order give the same on every machine.

    Args:
        batches: of the rows.
        names: of the columns that count.

    Returns:
        How many rows, a hyphen, and 32 hexadecimal digits.
    """
    rows, total, crossed = 0, 0, 0
    for columns in batches:
        found = _combined([_hashed(columns[name]) for name in names], length(columns))
        rows += len(found)
        total += int(np.add.reduce(found, dtype=np.uint64))
        crossed ^= int(np.bitwise_xor.reduce(found, initial=0))
    return f"{rows}-{total % 2**64:016x}{crossed:016x}"


def _hashed(values: Array) -> Array:
    from pandas.util import hash_array

    if values.dtype.kind == "M":
        values = values.astype("datetime64[us]").astype(np.int64)
    elif values.dtype.kind == "f":
        values = np.where(np.isnan(values), np.nan, values + 0.0)  # one zero and one NaN, whatever their bits were
    return np.asarray(hash_array(values), dtype=np.uint64)


def _combined(parts: Sequence[Array], rows: int) -> Array:
    """64-bit FNV-1a over the columns' hashes: the order of the columns matters."""
    total = np.full(rows, 0xCBF29CE484222325, dtype=np.uint64)
    for part in parts:
        total = (total ^ part) * np.uint64(0x100000001B3)
        total ^= total >> np.uint64(29)
    return total


def gathered(batches: Iterable[Hashes], rows: int) -> Held:
    """What the batches of a file hold together; ten million rows take 120 MB, and thrice that on the way.

    Args:
        batches: in the order of the file.
        rows: of all of them, at least one.
    """
    identities, contents = np.empty(rows, dtype=np.uint64), np.empty(rows, dtype=np.uint32)
    end = 0
    for batch in batches:
        begin, end = end, end + len(batch.identities)
        identities[begin:end], contents[begin:end] = batch
    order = np.argsort(identities, kind="stable")
    identities = identities[order]
    contents = contents[order]
    del order
    last = np.append(identities[1:] != identities[:-1], True)
    return Held(identities, contents, rows) if last.all() else Held(identities[last], contents[last], rows)


class _Run(NamedTuple):
    """Known rows sorted by identity, and among equals by age."""

    identities: Array
    contents: Array
    owners: Array


class KnownRows:
    """Which upload holds which row: sorted runs, each at least twice as long as the next, as in a merge sort.

    Adding costs O(log n) per row over a job's life and looking up O(log^2 n), so that the thousandth upload of a
    burst costs what the first did.
    """

    def __init__(self) -> None:
        self._runs: list[_Run] = []
        self._owners: list[str] = []
        self._places: dict[str, int] = {}
        self._dead: set[int] = set()

    def __contains__(self, owner: str) -> bool:
        return self._places.get(owner, -1) not in {-1, *self._dead}

    def __len__(self) -> int:
        return sum(len(run.identities) for run in self._runs)

    def add(self, owner: str, held: Held) -> None:
        """An upload was accepted: from now on it holds its rows."""
        if len(self) + len(held.identities) > MAX_KNOWN:
            return
        place = self._places[owner] = len(self._owners)
        self._owners.append(owner)
        owners = np.full(len(held.identities), place, dtype=np.int32)
        self._runs.append(_Run(held.identities, held.contents, owners))
        while len(self._runs) > 1 and 2 * len(self._runs[-1].identities) > len(self._runs[-2].identities):
            older, newer = self._runs[-2:]
            self._runs[-2:] = [_merged(older, newer)]

    def forget(self, owner: str) -> None:
        """An upload is out of use: a newer generation took its name."""
        if owner in self._places:
            self._dead.add(self._places[owner])

    def keep(self, owners: Collection[str]) -> None:
        """All others are out of use."""
        self._dead |= {place for owner, place in self._places.items() if owner not in owners}

    def compare(self, held: Held, instead_of: str = "") -> Repeats:
        """What an upload brings beside the uploads in use.

        Args:
            held: by the upload.
            instead_of: the upload that it would replace, whose rows therefore do not count.
        """
        out = self._dead | ({self._places[instead_of]} if instead_of in self._places else set())
        fresh = changed = 0
        counts = np.zeros(len(self._owners), dtype=np.int64)
        for begin in range(0, len(held.identities), CHUNK):
            there = slice(begin, begin + CHUNK)
            owner, content = self._find(held.identities[there], out)
            known = owner >= 0
            fresh += int(np.sum(~known))
            changed += int(np.sum(known & (content != held.contents[there])))
            counts += np.bincount(owner[known], minlength=len(counts))
        holders = {self._owners[place]: int(counts[place]) for place in np.flatnonzero(counts)}
        return Repeats(fresh, changed, held.rows - len(held.identities), holders)

    def _find(self, identities: Array, out: set[int]) -> tuple[Array, Array]:
        """The newest owner of each identity (-1 for none) that is not out of use, and what it holds there."""
        unused = np.isin(np.arange(len(self._owners)), list(out))
        owner = np.full(len(identities), -1, dtype=np.int32)
        held = np.zeros(len(identities), dtype=np.uint32)
        for run in reversed(self._runs):
            rows = np.flatnonzero(owner < 0)
            at = np.searchsorted(run.identities, identities[rows], side="right") - 1
            while len(rows):
                hit = (at >= 0) & (run.identities[at] == identities[rows])
                rows, at = rows[hit], at[hit]
                good = ~unused[run.owners[at]]
                owner[rows[good]], held[rows[good]] = run.owners[at[good]], run.contents[at[good]]
                rows, at = rows[~good], at[~good] - 1
        return owner, held


def _merged(older: _Run, newer: _Run) -> _Run:
    """Two sorted runs as one, the older first among equals; takes little more memory than the result."""
    few = len(newer.identities) <= len(older.identities)
    # Only the shorter run's places are looked for.
    if few:
        places = np.searchsorted(older.identities, newer.identities, side="right") + np.arange(len(newer.identities))
    else:
        places = np.searchsorted(newer.identities, older.identities, side="left") + np.arange(len(older.identities))
    is_older = np.full(len(older.identities) + len(newer.identities), few)
    is_older[places] = not few
    return _Run(*(_interleaved(old, new, is_older) for old, new in zip(older, newer, strict=True)))


def _interleaved(older: Array, newer: Array, is_older: Array) -> Array:
    out = np.empty(len(is_older), dtype=older.dtype)
    out[is_older] = older
    out[~is_older] = newer
    return out


def in_use(receipts: Sequence[Receipt], problem_sha256: str, window: int = 0) -> tuple[list[Receipt], list[Receipt]]:
    """The uploads to train on, and those left out because they bring nothing beside them.

    Args:
        receipts: accepted, one per object name, in the order of upload.
        problem_sha256: the present problem's; what was taken in under another one is never left out.
        window: only so many of the newest; 0 means all. What brings nothing takes no place in it.
    """
    idle = [r for r in receipts if _brings_nothing(r, problem_sha256)]
    while True:
        left_out = {r.id for r in idle}
        counted = [r for r in receipts if r.id not in left_out]
        used = counted[-window:] if window else counted
        # Whoever holds the rows must be used, or be idle for the same reason. Older, so that no two hold each other.
        there = {r.id: upload_order(r) for r in [*used, *idle]}
        still = [r for r in idle if all(h in there and there[h] < upload_order(r) for h in _holders(r))]
        if len(still) == len(idle):
            return used, idle
        idle = still


def _holders(receipt: Receipt) -> dict[str, int]:
    return receipt.accepted.repeats if receipt.accepted else {}


def _brings_nothing(receipt: Receipt, problem_sha256: str) -> bool:
    found = receipt.accepted
    if found is None or found.problem_sha256 != problem_sha256:
        return False
    return bool(found.repeats) and not found.fresh and not found.changed
