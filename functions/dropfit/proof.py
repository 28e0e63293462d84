# SPDX-License-Identifier: Apache-2.0
"""A loaded table against the model it is said to be of: some rows are read back and predicted once more.

The batch job scores Arrow columns; this takes the way of a request, row batches through `Scorer`. The two agree bit
by bit, so what differs is the table's fault.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from .contract import Category, Contract, Label, Quantity
from .errors import Conflict
from .probe import differing
from .runtime import Scored, Scorer
from .tables import ordered
from .verdict import Sampled

Array = np.ndarray[Any, Any]
SAMPLE = 1000
"""Rows that are read back, or all of a smaller table."""
ACCEPTED = 1e-3
"""Share of them (0 to 1) that may differ: what the export itself may (export.ACCEPTED), for a rounding on an edge."""


def features(contract: Contract, rows: Sequence[Mapping[str, Any]]) -> dict[str, Array]:
    """What a request would hold that names the key of each row and nothing else, shape (rows,) each."""
    named = set(contract.key)
    return {
        f.name: np.array(
            [row[f.name] if f.name in named else None for row in rows],
            dtype=object if isinstance(f, Category) else np.float64,
        )
        for f in ordered(contract)
    }


def compare(table: str, scorer: Scorer, rows: Sequence[Mapping[str, Any]], expected: int) -> Sampled:
    """Predict rows of a table again.

    Args:
        table: its name, for people.
        scorer: of the version that it is of.
        rows: of the table, every column of each.
        expected: how many rows the sample must have.

    Returns:
        How many rows, and by how much their numbers differ at most.

    Raises:
        Conflict: when rows are missing, or more of them differ than ACCEPTED allows.
    """
    if len(rows) != expected:
        raise Conflict(f"{table}: {len(rows):,} rows could be read back instead of {expected:,}; it is not served")
    again = scorer.score(features(scorer.contract, rows))
    theirs, ours = _numbers(scorer, rows), _predicted(scorer, again)
    quantity = isinstance(scorer.contract.target, Quantity)
    scale = float(np.nanmax(np.abs(ours), initial=0.0, where=~np.isnan(ours))) if quantity else 1.0
    # Two abstentions are equal, and an abstention equals no number.
    wrong = differing(np.nan_to_num(theirs), np.nan_to_num(ours), scale)
    wrong |= (np.isnan(theirs) != np.isnan(ours)).any(axis=1)
    wrong |= np.array([row["policy"] for row in rows]) != np.array([",".join(fired) for fired in again.fired])
    if isinstance(scorer.contract.target, Label):
        wrong |= np.array([row["prediction"] for row in rows], dtype=object) != again.values
    apart = np.abs(theirs - ours)
    largest = float(np.nanmax(apart, initial=0.0, where=~np.isnan(apart)))
    if wrong.mean() > ACCEPTED:
        raise Conflict(
            f"{table}: of {len(rows):,} rows that were read back and predicted again {int(wrong.sum()):,} are not "
            f"what the model says, by up to {largest:.3g}; it is not served"
        )
    return Sampled(len(rows), int(wrong.sum()), largest)


def _predicted(scorer: Scorer, scored: Scored) -> Array:
    """What was predicted again as numbers, shape (rows, classes) or (rows, 1); NaN for an abstention."""
    if scored.probabilities is not None:
        return np.asarray(scored.probabilities, dtype=np.float64)
    return np.array(scored.values, dtype=np.float64).reshape(-1, 1)


def _numbers(scorer: Scorer, rows: Sequence[Mapping[str, Any]]) -> Array:
    """The same of the table's rows; where every label is denied it has no probabilities, and all are 0."""
    if not isinstance(scorer.contract.target, Label):
        return np.array([row["prediction"] for row in rows], dtype=np.float64).reshape(-1, 1)
    numbers = np.zeros((len(rows), len(scorer.classes)))
    for place, row in enumerate(rows):
        shares = {share["label"]: share["probability"] for share in row["probabilities"] or ()}
        numbers[place] = [shares.get(label, 0.0 if not shares else np.nan) for label in scorer.classes]
    return numbers
