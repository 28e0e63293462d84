# SPDX-License-Identifier: Apache-2.0
"""Which rows judge: the newest time blocks that the served version has not learned from. Pure.

A block is a calendar day, or a distinct value of a time column that holds no dates. Rows of one day share what no
feature tells, so a day is judged as a whole, and never half learned from and half judged (docs/adr/0011).
"""

from __future__ import annotations

import zlib
from typing import Any, Literal

import msgspec
import numpy as np

from .contract import Columns, Problem
from .encoding import length, take
from .errors import ArtifactError
from .keys import joined

Array = np.ndarray[Any, Any]
Represented = Literal["final", "trial", "none"]

MOST, CHUNKS = 400, 100
"""With more than MOST distinct times (a running number), consecutive ones form CHUNKS blocks."""


class Holdout(msgspec.Struct, frozen=True):
    """The rows that judge.

    Attributes:
        mask: bool, shape (rows,), True where held out.
        first: its first time block, as text.
        last: its last.
        method: `newest` blocks by time, or `random` rows when all are of one time.
    """

    mask: Any
    first: str
    last: str
    method: str


class Seen(msgspec.Struct, frozen=True):
    """What the served version knows of the rows at hand; bool, shape (rows,).

    Attributes:
        fitted: rows that the served model was fitted on.
        learned: rows that its trial was fitted on; None when the trial cannot be known.
    """

    fitted: Any
    learned: Any | None


def without_duplicates(problem: Problem, columns: Columns) -> Columns:
    """Rows with one per identity: the one uploaded last."""
    if not problem.identity:
        return columns
    last = {key: row for row, key in enumerate(identities(problem, columns))}
    return take(columns, np.array(sorted(last.values()), dtype=np.int64))


def identities(problem: Problem, columns: Columns) -> list[str]:
    """One string per row that says which event it is; without a declared identity, all that is kept of the row."""
    names = problem.identity or problem.kept
    texts = {n: columns[n].astype(str).astype(object) if columns[n].dtype.kind == "M" else columns[n] for n in names}
    return joined(texts, names)


def seen(problem: Problem, columns: Columns, theirs: Columns, held: Array | None) -> Seen:
    """What a version knows of rows.

    Args:
        problem: for the identity.
        columns: the rows at hand.
        theirs: the rows the version was fitted on.
        held: which of its rows its trial was not fitted on, shape (rows of theirs,), when known.
    """
    mine, known = identities(problem, columns), identities(problem, theirs)
    tried = None if held is None else {key for key, out in zip(known, held.tolist(), strict=True) if not out}
    return Seen(_among(mine, set(known)), None if tried is None else _among(mine, tried))


def _among(keys: list[str], known: set[str]) -> Array:
    return np.fromiter((key in known for key in keys), dtype=bool, count=len(keys))


def blocks(problem: Problem, columns: Columns) -> Array:
    """The time block of every row, shape (rows,): integers from 0 that grow with time; random when it is one time."""
    times = columns[problem.time]
    days = times.astype("datetime64[D]") if times.dtype.kind == "M" else times
    where = np.unique(days, return_inverse=True)[1]
    count = int(where.max()) + 1
    if count == 1:
        count = len(times)
        where = np.random.default_rng(problem.seed).permutation(count)
    return where * CHUNKS // count if count > MOST else where


def plan(problem: Problem, columns: Columns, known: Seen | None = None) -> Holdout:
    """Hold out rows to judge a challenger by.

    Against a served version these are the newest `holdout_share` of the blocks it was not fitted on, if at least as
    many such blocks stay to learn from; else of the blocks its trial was not fitted on. Without one, or where neither
    gives enough, of all blocks.

    Args:
        problem: time column and gate.
        columns: accepted rows, at least one.
        known: what the served version knows of them.
    """
    where = blocks(problem, columns)
    total, share = len(np.unique(where)), problem.gate.holdout_share
    usual = max(1, round(total * share))
    if known is not None:
        fresh = len(np.unique(where[~known.fitted]))
        wanted = max(2, round(fresh * share))
        mask = _newest(where, ~known.fitted, wanted)
        if 2 * wanted <= fresh and enough(problem, where, mask):
            return _holdout(problem, columns, mask)
        if known.learned is not None:
            mask = _newest(where, ~known.learned, max(2, usual))
            if enough(problem, where, mask) and not mask.all():
                return _holdout(problem, columns, mask)
    return _holdout(problem, columns, _newest(where, np.ones(len(where), dtype=bool), min(total - 1, usual)))


def opponent(problem: Problem, where: Array, held: Array, known: Seen) -> tuple[Represented, Array]:
    """How the served version can be scored on rows held out from a challenger, and on which of them.

    Args:
        problem: the gate's least rows.
        where: block of every row, shape (rows,).
        held: the challenger's holdout, bool, shape (rows,).
        known: what the served version knows of the rows.

    Returns:
        `final`: its served model, which was fitted on none of them. `trial`: its own trial, on the rows that neither
        trial was fitted on. `none`: too few such rows.
    """
    if not (held & known.fitted).any() and enough(problem, where, held):
        return "final", held
    if known.learned is not None:
        both = held & ~known.learned
        if enough(problem, where, both):
            return "trial", both
    return "none", held


def why(problem: Problem, columns: Columns, represented: Represented, known: Seen) -> str:
    """The reason of a representation, and what to upload where there is none."""
    fresh = ~known.fitted
    where = blocks(problem, columns)
    word = "day" if _days(columns[problem.time]) else "block"
    days = len(np.unique(where[fresh]))
    new = f"{_count(int(fresh.sum()), 'row')} of {_count(days, word)} are new to it"
    if represented == "final":
        return f"{new}, so the served model is scored on the newest of them"
    if represented == "trial":
        return f"only {new}, so its own trial is scored, on rows that neither trial was fitted on"
    return (
        f"only {new}, and it takes {least(problem):,} rows of 2 {word}s that neither has learned from. Upload "
        f"{word}s that are not in yet; these rows are kept, and count in the next training"
    )


def _days(times: Array) -> bool:
    """Whether a block is one day, and not some of a long time's."""
    return times.dtype.kind == "M" and len(np.unique(times.astype("datetime64[D]"))) <= MOST


def _count(number: int, word: str) -> str:
    return f"{number:,} {word}{'' if number == 1 else 's'}"


def enough(problem: Problem, where: Array, mask: Array) -> bool:
    """Whether rows can judge: two blocks, and a tenth of the gate's minimum_rows."""
    return int(mask.sum()) >= least(problem) and len(np.unique(where[mask])) >= 2


def least(problem: Problem) -> int:
    """The fewest rows that judge."""
    return max(1, problem.gate.minimum_rows // 10)


def packed(mask: Array) -> bytes:
    """A mask as a small file: one bit a row, deflated."""
    return zlib.compress(np.packbits(mask).tobytes())


def unpacked(payload: bytes, rows: int) -> Array:
    """The mask of so many rows.

    Raises:
        ArtifactError: when it is not one.
    """
    try:
        bits = zlib.decompressobj().decompress(payload, rows // 8 + 2)
    except zlib.error as error:
        raise ArtifactError(f"a holdout of {rows:,} rows is not readable: {error}") from error
    if len(bits) != -(-rows // 8):
        raise ArtifactError(f"a holdout of {rows:,} rows is of another number of rows")
    return np.unpackbits(np.frombuffer(bits, dtype=np.uint8), count=rows).astype(bool)


def _newest(where: Array, eligible: Array, count: int) -> Array:
    """The rows of the newest `count` blocks among the eligible rows."""
    found = np.unique(where[eligible])
    return eligible & (where >= found[-count]) if 0 < count <= len(found) else eligible & (count > 0)


def _holdout(problem: Problem, columns: Columns, mask: Array) -> Holdout:
    times = columns[problem.time]
    single = len(np.unique(times.astype("datetime64[D]") if times.dtype.kind == "M" else times)) == 1
    judged = times[mask] if mask.any() else times
    return Holdout(mask, _named(judged.min()), _named(judged.max()), "random" if single else "newest")


def _named(block: Any) -> str:
    """A time block for people: the day, the number, the name."""
    if isinstance(block, np.datetime64):
        return str(block)[:10]
    return f"{block:g}" if isinstance(block, float) else str(block)


def span(problem: Problem, columns: Columns, mask: Array) -> dict[str, str | int]:
    """First and last block, method, rows and number of blocks of a choice of rows."""
    found = _holdout(problem, columns, mask)
    count = len(np.unique(blocks(problem, columns)[mask]))
    return {
        "first": found.first,
        "last": found.last,
        "method": found.method,
        "rows": length(take(columns, mask)),
        "blocks": count,
    }
