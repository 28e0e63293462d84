# SPDX-License-Identifier: Apache-2.0
"""Row batches -> the model's float32 matrix, by what the version learned from its data.

One float32 matrix with category codes is what makes online scoring cheap and ONNX agree with scikit-learn to the last
split (docs/adr/0002). Training, batch and online call the same function, so they cannot disagree.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from typing import Any

import msgspec
import numpy as np

from . import documents
from .contract import Category, Columns, Contract, Number
from .errors import ArtifactError
from .keys import joined

Derive = Callable[[Columns], Columns]


class Pinned(msgspec.Struct, frozen=True):
    """A feature that other features determine, as the accepted data say.

    Attributes:
        by: the determining features.
        values: their values, joined by tabs -> the determined number.
    """

    by: tuple[str, ...]
    values: dict[str, float]


class Encoding(msgspec.Struct, frozen=True):
    """What encoding learned from the training rows; written into the version as JSON.

    Attributes:
        vocabularies: category feature -> its values; a value's position is its code.
        pinned: number feature -> what determines it.
        ranges: number, derived ones included -> its smallest and largest value; none where there was no value.
    """

    vocabularies: dict[str, tuple[str, ...]]
    pinned: dict[str, Pinned]
    ranges: dict[str, tuple[float, float]] = {}


def learn(contract: Contract, columns: Columns, derive: Derive | None = None) -> Encoding:
    """Vocabularies (sorted), pinned values (the last one wins) and ranges of training rows, in the rows' order.

    Args:
        contract: names and kinds of the features.
        columns: the rows, shape (rows,) each.
        derive: the problem's; without it the derived features have no range.
    """
    vocabularies = {
        f.name: tuple(sorted({v for v in columns[f.name].tolist() if v is not None}))
        for f in contract.features
        if isinstance(f, Category)
    }
    pinned = {
        f.name: Pinned(f.given_by, _known(joined(columns, f.given_by), columns[f.name]))
        for f in contract.features
        if isinstance(f, Number) and f.given_by
    }
    made = Encoding(vocabularies, pinned)
    given = contract.inputs if derive else contract.features
    numbers = [f.name for f in given if isinstance(f, Number)]
    filled = Encoder(contract, made, derive).everything(columns) if derive else columns
    return msgspec.structs.replace(made, ranges={n: seen for n in numbers if (seen := _range(filled[n]))})


def _range(values: np.ndarray[Any, Any]) -> tuple[float, float] | None:
    known = values[np.isfinite(values)]
    return (float(known.min()), float(known.max())) if len(known) else None


def _known(keys: list[str], values: np.ndarray[Any, Any]) -> dict[str, float]:
    return {key: value for key, value in zip(keys, values.tolist(), strict=True) if value == value}


class Encoder:
    """Row batch -> matrix, for one version.

    Args:
        contract: the version's contract.
        encoding: what it learned.
        derive: the problem's derive function, when the contract has derived features.

    Raises:
        ArtifactError: when the contract needs a derive function and none is given.
    """

    def __init__(self, contract: Contract, encoding: Encoding, derive: Derive | None = None) -> None:
        if contract.derived and derive is None:
            raise ArtifactError(f"{contract.name} needs the derive function of its problem, and there is none")
        self.contract = contract
        self.encoding = encoding
        self.derive = derive if contract.derived else None  # a version from before the first derive needs none
        self.codes = {
            name: {value: float(code) for code, value in enumerate(values)}
            for name, values in encoding.vocabularies.items()
        }

    def complete(self, columns: Columns) -> Columns:
        """The columns with missing pinned features filled in."""
        filled = dict(columns)
        for name, pinned in self.encoding.pinned.items():
            values = np.asarray(filled[name], dtype=np.float64)
            gaps = np.isnan(values)
            if gaps.any():
                keys = joined({n: filled[n][gaps] for n in pinned.by}, pinned.by)
                values = values.copy()
                values[gaps] = [pinned.values.get(key, np.nan) for key in keys]
                filled[name] = values
        return filled

    def matrix(self, columns: Columns) -> np.ndarray[Any, Any]:
        """The model's input.

        Args:
            columns: every feature of the contract, shape (rows,) each.

        Returns:
            float32, shape (rows, inputs), C order; missing and unseen are NaN.
        """
        return self.encode(self.everything(columns))

    def everything(self, columns: Columns) -> Columns:
        """The columns with missing pinned features filled in, and the derived ones."""
        filled = self.complete(columns)
        return filled if self.derive is None else {**filled, **self.derive(filled)}

    def encode(self, filled: Columns) -> np.ndarray[Any, Any]:
        """The matrix of columns that `everything` gave."""
        inputs = self.contract.inputs
        out = np.empty((len(filled[inputs[0].name]), len(inputs)), dtype=np.float32)
        for position, feature in enumerate(inputs):
            codes = self.codes.get(feature.name)
            values = filled[feature.name]
            out[:, position] = values if codes is None else [codes.get(v, np.nan) for v in values.tolist()]
        return out


def sha256(payload: bytes) -> str:
    """Hexadecimal SHA-256."""
    return hashlib.sha256(payload).hexdigest()


def loads(payload: bytes) -> Encoding:
    """An Encoding from its JSON (whose hash the caller has checked).

    Raises:
        ArtifactError: when it is not one.
    """
    return documents.decode(payload, Encoding)


def take(columns: Columns, rows: np.ndarray[Any, Any]) -> dict[str, np.ndarray[Any, Any]]:
    """The chosen rows (indices or a mask) of every column."""
    return {name: values[rows] for name, values in columns.items()}


def length(columns: Mapping[str, np.ndarray[Any, Any]]) -> int:
    """Rows in a batch."""
    return len(next(iter(columns.values()), ()))
