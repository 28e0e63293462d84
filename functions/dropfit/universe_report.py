# SPDX-License-Identifier: Apache-2.0
"""What a key universe is worth: how many keys, how peaked, what they cover, and what table and snapshot take."""

from __future__ import annotations

import math
from typing import Any

import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from . import snapshot
from .contract import Contract, Label
from .keyset import Array
from .settings import Settings
from .universe import Source, Universe

LEVELS = (0.5, 0.8, 0.9, 0.95, 0.99)
"""Coverages that the curve tells."""
STATIC, DYNAMIC = 0.99, 0.5
"""From so much coverage of the head on the table alone is enough, and below so much it is hardly asked."""
VERSION = 24
"""Letters of a version's id."""
FEW = 65_536
"""Keys whose bytes stand for all keys'."""


class Report(msgspec.Struct, frozen=True, kw_only=True):
    """A key universe in numbers.

    Attributes:
        universe: the setting: seen, domains or frequent.
        source: what was counted: accepted rows or requests.
        counted: so many of them.
        seen: distinct keys among them: the cardinality.
        keys: keys that the table holds.
        entropy: of the counted keys, normalised (0 to 1): 1 where all come equally often, 0 where there is one.
        top_1: share (0 to 1) of what was counted that the most frequent 1% of the keys seen have, at least one key.
        top_10: the same of 10%.
        unseen: share of what is still to come whose key was never counted, estimated.
        coverage: share of what was counted whose key the table holds.
        curve: coverage -> how many of the most frequent keys reach it; null where all of them do not.
        table_bytes: of the table in BigQuery, uncompressed, as BigQuery bills it; estimated.
        snapshot_keys: keys that the snapshot holds; estimated.
        snapshot_bytes: its size; estimated.
        snapshot_coverage: share of what was counted whose key the snapshot holds.
        advice: a sentence.
        notes: what people should know of the choice, as sentences.
    """

    universe: str
    source: Source
    counted: int
    seen: int
    keys: int
    entropy: float
    top_1: float
    top_10: float
    unseen: float
    coverage: float
    curve: dict[str, int | None]
    table_bytes: int
    snapshot_keys: int
    snapshot_bytes: int
    snapshot_coverage: float
    advice: str
    notes: tuple[str, ...] = ()


def report(contract: Contract, universe: Universe, settings: Settings) -> Report:
    """The numbers of a universe.

    Args:
        contract: of the table.
        universe: its keys.
        settings: which universe it is, and how large the snapshot may be.
    """
    each = _row_bytes(contract)
    head = fitting(universe, np.broadcast_to(each, len(universe)), settings.snapshot_bytes)
    lengths = _lengths(universe)
    total = max(1, universe.total)
    by_head = int(universe.counts[:head].sum()) / total
    return Report(
        universe=settings.universe,
        source=universe.source,
        counted=universe.total,
        seen=len(universe.population),
        keys=len(universe),
        entropy=entropy(universe.population),
        top_1=top(universe.population, 0.01),
        top_10=top(universe.population, 0.1),
        unseen=unseen(universe),
        coverage=int(universe.counts.sum()) / total,
        curve=curve(universe),
        table_bytes=round(len(universe) * (_table_bytes(contract) + _key_bytes(universe))),
        snapshot_keys=head,
        snapshot_bytes=min(settings.snapshot_bytes, round(head * (each + snapshot.LEAST + lengths))),
        snapshot_coverage=by_head,
        advice=_advice(universe, head, by_head * (1.0 if settings.universe == "domains" else 1 - unseen(universe))),
        notes=universe.notes,
    )


def entropy(counts: Array) -> float:
    """Shannon's entropy as a share of the largest that so many keys can have: H / ln K; 0 for one key or none.

    C. E. Shannon, A Mathematical Theory of Communication (1948), section 6; the ratio is his relative entropy (7).

    Args:
        counts: above 0, shape (keys,).
    """
    if len(counts) < 2:
        return 0.0
    shares = counts / counts.sum()
    return min(1.0, float(-(shares * np.log(shares)).sum()) / math.log(len(counts)))


def top(counts: Array, share: float) -> float:
    """What share of the counts the most frequent keys have, so large a share of the keys, rounded up.

    Args:
        counts: descending, shape (keys,).
        share: 0 to 1.
    """
    total = int(counts.sum())
    return int(counts[: math.ceil(share * len(counts))].sum()) / total if total else 0.0


def unseen(universe: Universe) -> float:
    """What share of the next rows has a key that was never counted: the share of those whose key came only once.

    The estimate of Turing, after I. J. Good, The population frequencies of species (1953).
    """
    return int((universe.population == 1).sum()) / universe.total if universe.total else 1.0


def curve(universe: Universe) -> dict[str, int | None]:
    """Coverage -> how many of the most frequent keys reach it."""
    reached = np.cumsum(universe.population)
    found = {}
    for level in LEVELS:
        needed = int(np.searchsorted(reached, level * universe.total - 1e-9)) + 1
        found[f"{level:.0%}"] = needed if needed <= len(reached) else None
    return found


def fitting(universe: Universe, more: Array, room: int) -> int:
    """How many of the first keys a snapshot of so many bytes could hold at most.

    Args:
        universe: the keys.
        more: bytes that each row takes at least beside its key and `snapshot.LEAST`, shape (keys,).
        room: bytes.
    """
    for begin in range(0, len(universe), 2**20):
        part = slice(begin, begin + 2**20)
        ends = np.cumsum(universe.axes.lengths(universe.numbers[part]) + more[part] + snapshot.LEAST)
        if ends[-1] > room:
            return begin + int(np.searchsorted(ends, room, side="right"))
        room -= int(ends[-1])
    return len(universe)


def told(found: Report) -> dict[str, Any]:
    """What a run says of it: the numbers, without sentences and without what it says elsewhere."""
    numbers: dict[str, Any] = msgspec.to_builtins(found)
    return {name: value for name, value in numbers.items() if name not in ("advice", "snapshot_keys")}


def line(found: Report) -> str:
    """The same in one line, for a log."""
    what = "rows" if found.source == "accepted" else "requests"
    return (
        f"universe={found.universe}: {found.keys:,} of {found.seen:,} keys seen in {found.counted:,} {what}, "
        f"coverage {found.coverage:.1%}, normalised entropy {found.entropy:.2f}, top 1% {found.top_1:.1%}, "
        f"top 10% {found.top_10:.1%}, about {found.table_bytes:,} bytes"
    )


def _some(universe: Universe) -> Array:
    """Keys that stand for all."""
    return universe.numbers[:: max(1, len(universe) // FEW)]


def _lengths(universe: Universe) -> float:
    """Bytes of a key's text, on average."""
    return float(universe.axes.lengths(_some(universe)).mean()) if len(universe) else 0.0


def _key_bytes(universe: Universe) -> float:
    """Logical bytes of a key's columns in BigQuery, on average: 8 a number, 2 and its length a text, 0 a null.

    https://cloud.google.com/bigquery/docs/reference/standard-sql/data-types#data_type_sizes
    """
    keys = universe.axes.table(_some(universe))
    texts = [column for column in keys.columns if pa.types.is_string(column.type)]
    there = sum(keys.num_rows - column.null_count for column in keys.columns)
    letters = sum(pc.sum(pc.binary_length(column)).as_py() or 0 for column in texts)
    short = 6 * sum(len(column) - column.null_count for column in texts)
    return float((8 * there - short + letters) / max(1, keys.num_rows))


def _row_bytes(contract: Contract) -> int:
    """Bytes of a snapshot's row beyond its key and what every row takes: a float32, or a label and its shares."""
    target = contract.target
    if not isinstance(target, Label):
        return 4
    return 3 + 5 * len(target.values) + sum(map(len, target.values)) // max(1, len(target.values))


def _table_bytes(contract: Contract) -> int:
    """Logical bytes of a row in BigQuery beside its key: features, prediction, shares, policy, version and time."""
    target, others = contract.target, len(contract.features) - len(contract.key)
    shares = sum(2 + len(value) + 8 for value in target.values) if isinstance(target, Label) else 0
    return 8 * others + 8 + shares + 2 + (2 + VERSION) + 8


def _advice(universe: Universe, head: int, expected: float) -> str:
    """Which mode suits, in a sentence.

    Args:
        universe: its source is named.
        head: keys in the snapshot.
        expected: share of what is still to come that they answer.
    """
    what = "rows" if universe.source == "accepted" else "requests"
    answer = f"the snapshot's {head:,} keys can be expected to answer {expected:.1%} of further {what}"
    if expected >= STATIC:
        return f"DROPFIT_MODE=static can do: {answer}, and the back-off groups the rest."
    if expected < DYNAMIC:
        return f"DROPFIT_MODE=dynamic suits: {answer}, and the model has to answer most of them anyway."
    return f"DROPFIT_MODE=hybrid suits: {answer}, and the model the rest."
