# SPDX-License-Identifier: Apache-2.0
"""The key universe: which keys the static-serving table holds, and how often each was counted.

Keys are counted batch by batch in Arrow, and held as numbers (keyset.py) in one order, which the table's input, its
head and its group means share: the most frequent first, of one frequency in the order of their texts, column by
column.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, Literal

import msgspec
import numpy as np
import pyarrow as pa

from .contract import Category, Contract
from .errors import ArtifactError
from .keyset import Array, Axes, found_in, key_columns, kind
from .tables import ordered

if TYPE_CHECKING:
    from .encoding import Encoding

ROWS = 131_072
"""Rows of a batch."""
Source = Literal["accepted", "requests"]


class Universe(msgspec.Struct, frozen=True, kw_only=True, eq=False):
    """The keys of a table.

    Attributes:
        axes: of the key's columns.
        numbers: the keys, distinct: int64, shape (keys,).
        counts: how often each was counted: int64, shape (keys,), descending; 0 for one that never came.
        population: counts of all keys that were counted, chosen or not: int64, descending.
        total: rows or requests counted, those without a usable key included.
        source: what was counted.
        notes: what people should know of the choice, as sentences.
    """

    axes: Axes
    numbers: Array
    counts: Array
    population: Array
    total: int
    source: Source = "accepted"
    notes: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.numbers)

    def first(self, keys: int) -> Universe:
        """The most frequent so many of them."""
        return msgspec.structs.replace(self, numbers=self.numbers[:keys], counts=self.counts[:keys])

    def noted(self, *notes: str) -> Universe:
        """The same, with more to be known of it."""
        return msgspec.structs.replace(self, notes=(*self.notes, *notes))

    def batches(self) -> Iterator[Any]:
        """Batches of at most ROWS keys, in the order: Arrow tables of the key's columns."""
        for begin in range(0, len(self), ROWS):
            yield self.axes.table(self.numbers[begin : begin + ROWS])

    def features(self, contract: Contract, encoding: Encoding) -> Iterator[Any]:
        """Batches of rows as the table is predicted from, typed as `tables.features_table` makes them.

        A feature that is no key column has the value that the version pinned to the key, never that of some row, and
        is missing where none is pinned: a row of the table is what a request that leaves the feature out gets. What
        is missing in a key stays so: filled in, it would be another key.

        Args:
            contract: of the version.
            encoding: knows the pinned values.
        """
        for keys in self.batches():
            yield _completed(contract, encoding, keys)


class Places:
    """Where rows of a table stand in a universe; takes 16 bytes a key.

    Args:
        contract: names the key.
        universe: the keys.
    """

    def __init__(self, contract: Contract, universe: Universe) -> None:
        self._contract, self._axes = contract, universe.axes
        self._order = np.argsort(universe.numbers)
        self._ascending = universe.numbers[self._order]

    def of(self, table: Any) -> Array:
        """The place of each row's key: int64, shape (rows,).

        Args:
            table: Arrow table with the key's columns.

        Raises:
            ArtifactError: when a key is none of the universe's.
        """
        places, there = found_in(self._ascending, self._axes.numbers(key_columns(self._contract, table)))
        if not there.all():
            raise ArtifactError(f"{int((~there).sum()):,} keys of the table are none that were to be predicted")
        return np.asarray(self._order[places])


def in_order(numbers: Array, counts: Array) -> tuple[Array, Array]:
    """Keys and their counts in the order of a universe."""
    order = np.lexsort((numbers, -counts))
    return numbers[order], counts[order]


def covering(counted: Universe, coverage: float) -> int:
    """How many of the most frequent keys cover so large a share (0 to 1) of what was counted; all where none do."""
    reached = np.cumsum(counted.population)
    return min(int(np.searchsorted(reached, coverage * counted.total - 1e-9)) + 1, len(reached))


def frequent(counted: Universe, coverage: float, most: int) -> Universe:
    """The most frequent keys, until so large a share of what was counted is covered, or there are so many."""
    needed = covering(counted, coverage)
    if needed <= most:
        return counted.first(needed)
    return counted.first(most).noted(
        f"{coverage:.0%} coverage would take {needed:,} keys: DROPFIT_TABLE_ROWS={most} cuts it short"
    )


def within(counted: Universe, most: int) -> Universe:
    """All keys, or the most frequent where they are more than the table may hold."""
    if len(counted) <= most:
        return counted
    return counted.first(most).noted(
        f"{len(counted):,} keys were seen, and DROPFIT_TABLE_ROWS={most} keeps the most frequent"
    )


def _completed(contract: Contract, encoding: Encoding, keys: Any) -> Any:
    """Key columns -> all features, as the version completes them."""
    from .columnar import Texts, completed

    texts = {
        f.name: Texts(keys.column(f.name).combine_chunks()) for f in contract.features if isinstance(f, Category)
    }
    numbers = {
        f.name: keys.column(f.name).cast(pa.float64()).to_numpy() if f.name in contract.key else _missing(keys)
        for f in contract.features
        if f.name not in texts
    }
    for name, pinned in encoding.pinned.items():
        numbers[name] = completed(numbers[name], pinned, texts, numbers)
    return pa.table(
        {
            f.name: keys.column(f.name)
            if f.name in contract.key
            else pa.array(numbers[f.name], kind(f), from_pandas=True)
            for f in ordered(contract)
        }
    )


def _missing(keys: Any) -> Array:
    return np.full(keys.num_rows, np.nan)
