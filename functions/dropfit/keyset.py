# SPDX-License-Identifier: Apache-2.0
"""Keys as whole numbers: what is counted, sorted and joined ten million at a time without a text for any of them.

A column's distinct values are sorted by their text in a key (keys.normal); a key's number is that of its values'
places, in mixed radix, the first column weighing most. So numbers sort as keys do, column by column, a number
divided by the last columns' sizes is that of a beginning of the key, and a key is read back out of its number.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from .contract import Category, Contract, Feature
from .keys import MISSING, SEPARATOR, normal

Array = np.ndarray[Any, Any]
LARGEST = 2**62
CHUNK = 65_536


def kind(feature: Feature) -> Any:
    """A feature's Arrow type in the table: string, int64 or float64."""
    if isinstance(feature, Category):
        return pa.string()
    return pa.int64() if feature.integer else pa.float64()


def key_columns(contract: Contract, table: Any) -> Any:
    """The key's columns of a table, typed as in the static-serving table, and one value for what is one in a key.

    Args:
        contract: names the key.
        table: Arrow table or record batch that holds the key's columns, as texts (plain or dictionary-coded) or
            numbers of any type; NaN and null are missing.

    Returns:
        Arrow table of the key's columns alone, shape (rows,) each.
    """
    features = [contract.feature(name) for name in contract.key]
    return pa.table([_one(table.column(f.name), f) for f in features], list(contract.key))


def _one(column: Any, feature: Feature) -> Any:
    if isinstance(feature, Category):
        return column.cast(pa.string())
    if column.type != pa.int64():
        # -0.0 + 0 is 0.0.
        column = pc.add(column.cast(pa.float64()), 0.0)
        column = pc.if_else(pc.is_nan(column), None, column)
    return column.cast(kind(feature))


def texts(values: Any) -> Any:
    """Each value as it stands in a key: what keys.normal says, of an Arrow array of one of the table's types."""
    if pa.types.is_string(values.type):
        escaped = pc.replace_substring(pc.replace_substring(values, "\\", "\\\\"), SEPARATOR, "\\t")
        return pc.fill_null(escaped, MISSING)
    if pa.types.is_integer(values.type):
        return pc.fill_null(values.cast(pa.string()), MISSING)
    chunks = [values.slice(begin, CHUNK).to_pylist() for begin in range(0, len(values), CHUNK)]
    return pa.chunked_array([pa.array(map(normal, chunk), pa.string()) for chunk in chunks], pa.string())


def packed(codes: Sequence[Array], sizes: Sequence[int]) -> tuple[Array, dict[int, Array]]:
    """Rows of small numbers as one number each, in mixed radix: they sort as the rows do, column by column.

    Args:
        codes: per column each row's number, from 0 to below the column's size, shape (rows,).
        sizes: of the columns.

    Returns:
        int64, shape (rows,), and, for each column before which the numbers would have become too large, the
        beginnings that there are until then, ascending, whose places are counted on with instead.
    """
    numbers, span = np.zeros(len(codes[0]), dtype=np.int64), 1
    anew: dict[int, Array] = {}
    for place, (code, size) in enumerate(zip(codes, sizes, strict=True)):
        if span * size > LARGEST:
            anew[place], numbers = np.unique(numbers, return_inverse=True)
            span = len(anew[place])
        numbers *= size
        numbers += code
        span *= size
    return numbers, anew


class Axes:
    """The values that a key's columns can have, and keys as numbers over them.

    Args:
        names: the key's columns.
        values: per column an Arrow array of distinct values, null among them where a key may lack it.

    Attributes:
        names: the key's columns.
        values: the same, sorted by text.
    """

    def __init__(self, names: Sequence[str], values: Sequence[Any]) -> None:
        self.names = tuple(names)
        self._orders = [pc.sort_indices(texts(each)) for each in values]
        self.values = [each.take(order) for each, order in zip(values, self._orders, strict=True)]
        self.sizes = [len(each) for each in self.values]
        self._anew: dict[int, Array] = {}

    @classmethod
    def of(cls, names: Sequence[str], values: Sequence[Any], codes: Sequence[Array]) -> tuple[Axes, Array]:
        """The axes that hold some keys, and the keys' numbers.

        Args:
            names: the key's columns.
            values: per column the distinct values.
            codes: per column which of them each key has, shape (keys,).
        """
        axes = cls(names, values)
        placed = []
        for order, code in zip(axes._orders, codes, strict=True):
            places = np.empty(len(order), dtype=np.int32)
            places[order.to_numpy()] = np.arange(len(order), dtype=np.int32)
            placed.append(places[code])
        numbers, axes._anew = packed(placed, axes.sizes)
        return axes, numbers

    def _places(self, place: int, column: Any) -> tuple[Array, Array | None]:
        """Of each row its value's place on an axis, and which rows have one; None for all of them."""
        found = pc.index_in(column, self.values[place])
        found = found.combine_chunks() if isinstance(found, pa.ChunkedArray) else found
        if not found.null_count:
            return found.to_numpy(zero_copy_only=False), None
        known = pc.is_valid(found).to_numpy(zero_copy_only=False)
        return pc.fill_null(found, 0).to_numpy(zero_copy_only=False), known

    def numbers(self, table: Any) -> Array:
        """The keys of a table of key columns as numbers: int64, shape (rows,); -1 where the axes do not hold it."""
        numbers = np.zeros(table.num_rows, dtype=np.int64)
        good = np.ones(table.num_rows, dtype=bool)
        for place, name in enumerate(self.names):
            if place in self._anew:
                numbers, there = found_in(self._anew[place], numbers)
                good &= there
            at, known = self._places(place, table.column(name))
            if known is not None:
                good &= known
            numbers *= self.sizes[place]
            numbers += at
        numbers[~good] = -1
        return numbers

    def beginnings(self, numbers: Array, columns: int) -> Array:
        """The numbers of the keys' first columns; 0 for none of them."""
        for place in range(len(self.names) - 1, columns - 1, -1):
            numbers = numbers // self.sizes[place]
            if place in self._anew:
                numbers = self._anew[place][numbers]
        return numbers if columns else np.zeros(len(numbers), dtype=np.int64)

    def _split(self, numbers: Array, columns: int | None = None) -> Iterator[tuple[int, Array]]:
        """Numbers of keys, or of so many first columns -> each column and its values' places, the last first."""
        for place in range(len(self.names) if columns is None else columns)[::-1]:
            numbers, at = np.divmod(numbers, self.sizes[place])
            yield place, at
            if place in self._anew:
                numbers = self._anew[place][numbers]

    def table(self, numbers: Array) -> Any:
        """The keys of these numbers as an Arrow table of the key's columns."""
        columns = {self.names[p]: self.values[p].take(pa.array(at)) for p, at in self._split(numbers)}
        return pa.table({name: columns[name] for name in self.names})

    def texts(self, numbers: Array, columns: int | None = None) -> list[str]:
        """The keys of these numbers, or of so many first columns, as keys.joined makes them."""
        parts = [texts(self.values[place].take(pa.array(at))) for place, at in self._split(numbers, columns)][::-1]
        if not parts:
            return [""] * len(numbers)
        joined: list[str] = pc.binary_join_element_wise(*parts, SEPARATOR).to_pylist()
        return joined

    def lengths(self, numbers: Array) -> Array:
        """Bytes of each key's text: int64, shape (keys,)."""
        total = np.full(len(numbers), len(self.names) - 1, dtype=np.int64)
        for place, at in self._split(numbers):
            total += self._lengths[place][at]
        return total

    @functools.cached_property
    def _lengths(self) -> list[Array]:
        """Bytes of each value's text."""
        return [pc.binary_length(texts(values)).to_numpy() for values in self.values]


def found_in(ascending: Array, numbers: Array) -> tuple[Array, Array]:
    """Places of numbers among ascending ones, and whether each is there: shape (numbers,)."""
    places = np.searchsorted(ascending, numbers)
    places[places == len(ascending)] = 0
    return places, (ascending[places] == numbers if len(ascending) else np.zeros(len(numbers), dtype=bool))
