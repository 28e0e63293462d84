# SPDX-License-Identifier: Apache-2.0
"""A few decoded instances -> keys and the model's matrix, in microseconds.

What `keys.joined` and `Encoder.matrix` say of a row batch, said of the instances of a request without building an
array per column: in a server such small arrays cost more than the model. A test holds both ways equal, bit by bit.
"""

from __future__ import annotations

import math
import operator
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from .contract import Category
from .encoding import Encoder, Pinned
from .keys import SEPARATOR, normal

Array = np.ndarray[Any, Any]
Values = list[Sequence[Any]]
"""Per feature, in the contract's order, the values of all instances."""


NAN = float("nan")
MOST_TEXTS = 16_384
MOST_PATHS = 4
"""Sets of features that a derive function may look at, one after the other, and still be remembered."""


class Texts(dict[Any, str]):
    """Value -> its text in a key, remembered for so many values: most requests ask for the same few."""

    def __missing__(self, value: Any) -> str:
        text = normal(value)
        if len(self) < MOST_TEXTS:
            self[value] = text
        return text


class Pins(dict[tuple[Any, ...], Any]):
    """Values of the determining features -> the value pinned to them, remembered likewise.

    Args:
        pinned: what the version pinned.
        text: value -> its text in a key.
    """

    def __init__(self, pinned: Pinned, text: Callable[[Any], str]) -> None:
        self._values, self._text = pinned.values, text

    def __missing__(self, by: tuple[Any, ...]) -> float | None:
        value = self._values.get(SEPARATOR.join(map(self._text, by)))
        if len(self) < MOST_TEXTS:
            self[by] = value
        return value


class Batch(Mapping[str, Array]):
    """Some instances as a row batch whose arrays are made when they are asked for: `derive` wants few of them.

    Args:
        places: feature -> its place among the values, and the dtype of its array.
        values: theirs.

    Attributes:
        seen: places of what has been looked at.
    """

    def __init__(self, places: Mapping[str, tuple[int, type]], values: Values) -> None:
        self._place = places
        self._values = values
        self.seen: set[int] = set()

    def __getitem__(self, name: str) -> Array:
        place, kind = self._place[name]
        self.seen.add(place)
        return np.array(self._values[place], dtype=kind)

    def __iter__(self) -> Iterator[str]:
        return iter(self._place)

    def __len__(self) -> int:
        return len(self._place)


class Rows:
    """What a version makes of decoded instances: objects with an attribute per feature, None where it is missing.

    Args:
        encoder: of the version.
    """

    def __init__(self, encoder: Encoder) -> None:
        features = encoder.contract.features
        places = {f.name: place for place, f in enumerate(features)}
        self._features = features
        self._get = _getter([f.name for f in features])
        self._key = _getter(encoder.contract.key)
        self._codes = {places[name]: codes for name, codes in encoder.codes.items() if name in places}
        self._categories = tuple(self._codes)
        self._text = Texts().__getitem__
        pins = {name: Pins(pinned, self._text) for name, pinned in encoder.encoding.pinned.items()}
        self._pinned = [
            (places[name], [places[by] for by in pinned.by], pins[name])
            for name, pinned in encoder.encoding.pinned.items()
        ]
        self._loose = [
            (operator.attrgetter(name), _getter(pinned.by), pins[name])
            for name, pinned in encoder.encoding.pinned.items()
            if name not in encoder.contract.key
        ]
        self._text = Texts().__getitem__
        self._kinds = {
            f.name: (place, object if isinstance(f, Category) else np.float64) for place, f in enumerate(features)
        }
        self._memo: dict[tuple[int, ...], dict[tuple[Any, ...], list[float]]] = {}
        self._derive = encoder.derive
        self._derived = [f.name for f in encoder.contract.derived]
        self._names = [*places, *self._derived]
        self.inputs = tuple(self._names)

    def values(self, instances: Sequence[Any]) -> Values:
        """The features' values, with what others determine filled in where it was left out."""
        values: Values = list(zip(*map(self._get, instances), strict=True))
        for place, by, pinned in self._pinned:
            if None in values[place]:
                keys = zip(*(values[b] for b in by), strict=True)
                column = zip(values[place], keys, strict=True)
                values[place] = [pinned[key] if value is None else value for value, key in column]
        return values

    def one(self, instance: Any) -> tuple[list[Any], list[Any], str]:
        """A single instance, as `values` and `codes` have it and without a column: most requests hold just one.

        Returns:
            Its values; the same with codes, NaN for missing and unseen; and the first category whose value was never
            seen in training, empty when there is none.
        """
        values = [*self._get(instance)]
        for place, by, pinned in self._pinned:
            if values[place] is None:
                values[place] = pinned[tuple([values[b] for b in by])]
        coded, unseen = values.copy(), ""
        for place in self._categories:
            coded[place] = self._codes[place].get(values[place])
            if coded[place] is None and values[place] is not None:
                unseen = unseen or self._features[place].name
        return values, [NAN if value is None else value for value in coded], unseen

    def codes(self, values: Values) -> tuple[Values, dict[int, str]]:
        """Categories as codes, None for missing and unseen; and where a value was never seen in training, of what."""
        columns = list(values)
        unseen: dict[int, str] = {}
        for place in self._categories:
            coded = columns[place] = [*map(self._codes[place].get, values[place])]
            if None in coded:
                for position, (code, value) in enumerate(zip(coded, values[place], strict=True)):
                    if code is None and value is not None:
                        unseen.setdefault(position, self._features[place].name)
        return columns, unseen

    def derived(self, values: Values) -> Values:
        """What `derive` makes of them, in the contract's order."""
        if self._derive is None:
            return []
        made = self._derive(Batch(self._kinds, values))
        return [_column(made[name], len(values[0])) for name in self._derived]

    def derived_of_one(self, values: list[Any]) -> list[float]:
        """What `derive` makes of a single instance, remembered by the values that it looked at.

        A pure function looks at the same features, and says the same, wherever those that it looked at are the same:
        so what it said once is found again by them alone.
        """
        if self._derive is None:
            return []
        for places, known in self._memo.items():
            looked_at = tuple([values[place] for place in places])
            found = known.get(looked_at)
            if found is not None and not (0 in looked_at and any(map(_negative_zero, looked_at))):
                return found
        batch = Batch(self._kinds, [(value,) for value in values])
        made = self._derive(batch)
        found = [_column(made[name], 1)[0] for name in self._derived]
        places = tuple(sorted(batch.seen))
        if places in self._memo or len(self._memo) < MOST_PATHS:
            known = self._memo.setdefault(places, {})
            if len(known) < MOST_TEXTS and not any(map(_negative_zero, values)):
                known[tuple([values[place] for place in places])] = found
        return found

    @staticmethod
    def matrix(columns: Values) -> Array:
        """The model's input: float32, shape (instances, inputs); missing and unseen are NaN.

        Args:
            columns: as `codes` gives them, and the derived ones.
        """
        return np.array([*zip(*columns, strict=True)], dtype=np.float32)

    def named(self, values: Values, derived: Values) -> list[dict[str, Any]]:
        """Each instance by name, completed, as the policy looks at it."""
        return [dict(zip(self._names, row, strict=True)) for row in zip(*values, *derived, strict=True)]

    def batch(self, values: Values, derived: Values) -> dict[str, Array]:
        """All instances as a row batch, derived features included."""
        made = {name: np.array(values[place], dtype=kind) for name, (place, kind) in self._kinds.items()}
        return made | {name: np.array(column) for name, column in zip(self._derived, derived, strict=True)}

    def named_one(self, values: list[Any], derived: list[float]) -> list[dict[str, Any]]:
        """The same of a single instance."""
        return [dict(zip(self._names, [*values, *derived], strict=False))]  # derive may have failed

    def hits(self, instance: Any) -> bool:
        """Whether the features beside the key are what the table's row of that key has there, or left out."""
        for given, by, pinned in self._loose:
            value = given(instance)
            if value is not None and pinned[by(instance)] != value:
                return False
        return True

    def key(self, instance: Any) -> str:
        """The text of an instance's key."""
        return SEPARATOR.join(map(self._text, self._key(instance)))

    def key_values(self, instance: Any) -> tuple[Any, ...]:
        """The values of an instance's key, in the key's order."""
        return self._key(instance)


def _negative_zero(value: Any) -> bool:
    """Whether a value equals 0.0 and is another: 1 / it is -inf."""
    return value == 0 and type(value) is float and math.copysign(1.0, value) < 0


def _getter(names: Sequence[str]) -> Callable[[Any], tuple[Any, ...]]:
    """Attributes as a tuple, also when there is only one."""
    get = operator.attrgetter(*names)
    return get if len(names) > 1 else lambda instance: (get(instance),)


def _column(made: Any, rows: int) -> list[Any]:
    """What derive made of one feature; it may be one number for all rows."""
    found = np.asarray(made)
    return found.tolist() if found.ndim else [found.item()] * rows
