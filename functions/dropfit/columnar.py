# SPDX-License-Identifier: Apache-2.0
"""Arrow tables -> predictions, without a Python object for any cell.

What Encoder and Scorer say of a row batch of numpy arrays, said of Arrow columns whose texts stay codes of a
dictionary: a vocabulary is looked up once a distinct value, and a column is an object array only where `derive` or a
rule of the policy asks for it. A test holds both ways equal, bit by bit.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np
import pyarrow as pa

from .contract import Category
from .encoding import Encoder, Pinned
from .keys import joined
from .runtime import Scored, Scorer

Array = np.ndarray[Any, Any]
CODES = 2**40
"""Codes of several columns together stay below it; a table's rows are far fewer than its root times 2**23."""


class Texts:
    """A column of texts: distinct values, and which of them each row has.

    Args:
        column: Arrow array of strings, plain or dictionary-coded.

    Attributes:
        distinct: the values, an object array; None, for missing, is the last.
        places: int64, shape (rows,): of each row's value among them.
    """

    def __init__(self, column: Any) -> None:
        coded = column if pa.types.is_dictionary(column.type) else column.dictionary_encode()
        self.distinct = np.array([*coded.dictionary.to_pylist(), None], dtype=object)
        indices = coded.indices
        if indices.null_count:
            indices = indices.fill_null(len(self.distinct) - 1)
        self.places: Array = indices.to_numpy(zero_copy_only=False).astype(np.int64)

    def looked_up(self, codes: Mapping[Any, float]) -> Array:
        """Each row's number, NaN where there is none: float32, shape (rows,)."""
        numbers = np.array([codes.get(value, np.nan) for value in self.distinct], dtype=np.float32)
        return np.asarray(numbers[self.places])

    def objects(self) -> Array:
        """The values as a row batch holds them."""
        return np.asarray(self.distinct[self.places])


class Lazily(Mapping[str, Array]):
    """A row batch whose arrays are made when they are asked for.

    Args:
        makers: feature -> what makes its array.
    """

    def __init__(self, makers: Mapping[str, Callable[[], Array]]) -> None:
        self._makers = dict(makers)
        self._made: dict[str, Array] = {}

    def __getitem__(self, name: str) -> Array:
        if name not in self._made:
            self._made[name] = self._makers[name]()
        return self._made[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._makers)

    def __len__(self) -> int:
        return len(self._makers)

    def adopt(self, made: Mapping[str, Array], rows: int) -> None:
        """More columns; one number stands for all rows."""
        for name, values in made.items():
            array = np.asarray(values)
            self._made[name] = array if array.ndim else np.full(rows, array)
            self._makers[name] = self._made[name].view


class Columnar:
    """Arrow tables -> predictions, for one version.

    Args:
        scorer: of the version.
    """

    def __init__(self, scorer: Scorer) -> None:
        self._scorer = scorer
        self._encoder: Encoder = scorer.encoder

    def score(self, table: Any) -> Scored:
        """Predictions for rows that the contract allows.

        Args:
            table: every feature of the contract: strings (plain or dictionary-coded) or numbers, null for missing.

        Raises:
            ArtifactError: when the model answers something that is no number.
        """
        matrix, columns = self._inputs(table)
        return self._scorer.guarded(columns, self._answers(matrix))

    def _answers(self, matrix: Array) -> Array:
        """What the model answers; inputs that come again are asked once, where most do."""
        if not len(matrix):  # which some runtimes refuse
            return np.empty((0, max(1, len(self._scorer.classes))))
        again = distinct(matrix)
        if again is None:
            raw: Array = self._scorer.model(matrix)
            return raw
        first, places = again
        return np.asarray(self._scorer.model(matrix[first])[places])

    def _inputs(self, table: Any) -> tuple[Array, Lazily]:
        """The model's input, and all features as a row batch, completed."""
        contract, rows = self._encoder.contract, table.num_rows
        texts = {f.name: Texts(_whole(table, f.name)) for f in contract.features if isinstance(f, Category)}
        numbers = {f.name: _numbers(_whole(table, f.name)) for f in contract.features if f.name not in texts}
        for name, pinned in self._encoder.encoding.pinned.items():
            numbers[name] = completed(numbers[name], pinned, texts, numbers)
        columns = Lazily(
            {name: column.objects for name, column in texts.items()}
            | {name: values.view for name, values in numbers.items()}
        )
        if self._encoder.derive is not None:
            columns.adopt(self._encoder.derive(columns), rows)
        inputs = contract.inputs
        matrix = np.empty((rows, len(inputs)), dtype=np.float32)
        for place, feature in enumerate(inputs):
            coded = texts.get(feature.name)
            matrix[:, place] = (
                columns[feature.name] if coded is None else coded.looked_up(self._encoder.codes[feature.name])
            )
        return matrix, columns


def distinct(matrix: Array) -> tuple[Array, Array] | None:
    """Which rows are alike, bit by bit: column after column, by codes that are made anew when they grow too large.

    Args:
        matrix: float32, shape (rows, inputs).

    Returns:
        A row of each kind, shape (kinds,), and each row's kind, shape (rows,); None where over half of them differ.
    """
    rows = len(matrix)
    kinds: Array = np.zeros(rows, dtype=np.int64)
    most = 1
    for column in matrix.view(np.int32).T:
        coded = pa.array(column).dictionary_encode()
        values = len(coded.dictionary)
        if most * values >= CODES:
            kinds, most = _numbered(kinds)
        if 2 * values > rows:
            return None
        kinds, most = kinds * values + coded.indices.to_numpy(), most * values
    kinds, most = _numbered(kinds)
    if 2 * most > rows:
        return None
    first = np.empty(most, dtype=np.int64)
    first[kinds] = np.arange(rows)
    return first, kinds


def _numbered(codes: Array) -> tuple[Array, int]:
    """The same from 0 on without a gap, and how many there are."""
    coded = pa.array(codes).dictionary_encode()
    return coded.indices.to_numpy().astype(np.int64), len(coded.dictionary)


def _whole(table: Any, name: str) -> Any:
    """A column as one array."""
    column = table.column(name)
    return column.combine_chunks() if isinstance(column, pa.ChunkedArray) else column


def _numbers(column: Any) -> Array:
    """Float64 with NaN for missing."""
    if not pa.types.is_float64(column.type):
        column = column.cast(pa.float64(), safe=False)
    values: Array = column.to_numpy(zero_copy_only=False)
    return values


def completed(values: Array, pinned: Pinned, texts: Mapping[str, Texts], numbers: Mapping[str, Array]) -> Array:
    """A number with its gaps filled by what determines it; a combination of values is looked up once."""
    gaps = np.flatnonzero(np.isnan(values))
    if not len(gaps):
        return values
    code = np.zeros(len(gaps), dtype=np.int64)
    for name in pinned.by:
        column = texts.get(name)
        if column is not None:
            places, distinct = column.places[gaps], len(column.distinct)
        else:
            found, places = np.unique(numbers[name][gaps], return_inverse=True)
            distinct = len(found)
        # Kept small by counting the combinations anew after each column.
        code = np.unique(code * distinct + places, return_inverse=True)[1]
    first = np.unique(code, return_index=True)[1]
    of = {n: texts[n].objects()[gaps[first]] if n in texts else numbers[n][gaps[first]] for n in pinned.by}
    known = np.array([pinned.values.get(key, np.nan) for key in joined(of, pinned.by)], dtype=np.float64)
    filled = values.copy()
    filled[gaps] = known[code]
    return filled
