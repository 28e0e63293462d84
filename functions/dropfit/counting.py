# SPDX-License-Identifier: Apache-2.0
"""How often each key came: batches of Arrow rows -> the universe of all keys that they hold.

A key is kept as the places of its values among those met so far (four bytes a column) and its count, sorted; new rows
are sorted by themselves and merged in.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from .contract import Category, Columns, Contract
from .encoding import length
from .keyset import Array, Axes, key_columns, kind, packed
from .universe import ROWS, Source, Universe, in_order

PENDING = 2**20
"""Rows that wait to be counted together."""


class Seen:
    """Counts keys, batch by batch; ten million different ones take less than a gigabyte.

    Args:
        contract: names the key.
    """

    def __init__(self, contract: Contract) -> None:
        self._contract = contract
        self._values = [pa.array([], kind(contract.feature(name))) for name in contract.key]
        self._codes = [np.empty(0, dtype=np.int32) for _ in contract.key]
        self._counts = np.empty(0)
        self._pending: list[Any] = []
        self._weights: list[Array] = []
        self._beside = 0.0

    def add(self, table: Any, weights: Array | None = None) -> None:
        """Count some rows.

        Args:
            table: Arrow table that holds the key's columns.
            weights: how much each row counts, shape (rows,); 1 each.
        """
        self._pending.append(key_columns(self._contract, table))
        self._weights.append(np.ones(table.num_rows) if weights is None else np.asarray(weights, dtype=np.float64))
        if sum(map(len, self._weights)) >= PENDING:
            self._count()

    def add_columns(self, columns: Columns) -> None:
        """Count the rows of a row batch."""
        texts = {n for n in self._contract.key if isinstance(self._contract.feature(n), Category)}
        kinds = {n: pa.string() if n in texts else pa.float64() for n in self._contract.key}
        for begin in range(0, length(columns), ROWS):
            part = {n: columns[n][begin : begin + ROWS] for n in kinds}
            self.add(pa.table({n: pa.array(part[n], kinds[n], from_pandas=True) for n in kinds}))

    def add_beside(self, weight: float) -> None:
        """Count what has no usable key: nothing can cover it."""
        self._beside += weight

    def _count(self) -> None:
        """Count what waits."""
        if not self._pending:
            return
        keys, weights = pa.concat_tables(self._pending), np.concatenate(self._weights)
        self._pending, self._weights = [], []
        codes = [self._coded(place, keys.column(name)) for place, name in enumerate(self._contract.key)]
        codes, counts = self._distinct(codes, weights)
        for place, code in enumerate(codes):
            self._codes[place] = np.concatenate([self._codes[place], code])
        self._codes, self._counts = self._distinct(self._codes, np.concatenate([self._counts, counts]))

    def _coded(self, place: int, column: Any) -> Array:
        """Of each row the place of its value among those met so far."""
        found = pc.index_in(column, self._values[place])
        if found.null_count:
            new = pc.unique(column.filter(pc.is_null(found)))
            self._values[place] = pa.concat_arrays([self._values[place], new])
            found = pc.index_in(column, self._values[place])
        return np.asarray(found.to_numpy())

    def _distinct(self, codes: Sequence[Array], counts: Array) -> tuple[list[Array], Array]:
        """Each key once, sorted, and the sum of its counts."""
        numbers, _ = packed(codes, [len(values) for values in self._values])
        order = np.argsort(numbers, kind="stable")  # merges in one pass what is sorted in two parts
        numbers = numbers[order]
        first = np.flatnonzero(np.append(True, numbers[1:] != numbers[:-1])) if len(numbers) else order
        del numbers
        counts = np.add.reduceat(counts[order], first) if len(first) else counts
        order = order[first]
        return [code[order] for code in codes], counts

    def universe(self, source: Source = "accepted") -> Universe:
        """All keys that were counted; a sum of weights below 1 counts 1."""
        self._count()
        axes, numbers = Axes.of(self._contract.key, self._values, self._codes)
        counts = np.maximum(np.rint(self._counts), 1).astype(np.int64)
        numbers, counts = in_order(numbers, counts)
        total = int(counts.sum()) + round(self._beside)
        return Universe(axes=axes, numbers=numbers, counts=counts, population=counts, total=total, source=source)


def of_rows(contract: Contract, rows: Columns) -> Universe:
    """Every key that a row batch holds."""
    seen = Seen(contract)
    seen.add_columns(rows)
    return seen.universe()
