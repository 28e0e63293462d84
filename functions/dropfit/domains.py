# SPDX-License-Identifier: Apache-2.0
"""The key universe as the contract declares it: the cross product of what each key column can have."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import msgspec
import numpy as np
import pyarrow as pa

from .contract import Category, Contract, Feature
from .errors import SettingsError
from .keyset import Axes
from .universe import ROWS, Universe, in_order


def domains(contract: Contract, counted: Universe, most: int) -> Universe:
    """The cross product of the key columns' domains; what was counted outside of them is covered by nothing.

    A category's declared values, an integer's bounds; for a category that declares no values, those that were seen.

    Args:
        contract: declares them.
        counted: what was seen, and how often.
        most: keys that the table may hold.

    Raises:
        SettingsError: when a column has no domain, or the product is larger than the table may be.
    """
    features = [contract.feature(name) for name in contract.key]
    sizes = [_size(f, seen) for f, seen in zip(features, counted.axes.values, strict=True)]
    loose = [f.name for f, size in zip(features, sizes, strict=True) if size is None]
    if loose:
        raise SettingsError(
            f"DROPFIT_UNIVERSE=domains: {', '.join(loose)} can have any value; declare integer=True, minimum and "
            "maximum in problem.py, or set DROPFIT_UNIVERSE=seen or frequent"
        )
    count = math.prod(size or 0 for size in sizes)
    if count > most:
        parts = " x ".join(f"{size:,} {f.name}" for f, size in zip(features, sizes, strict=True))
        raise SettingsError(
            f"DROPFIT_UNIVERSE=domains: {parts} are {count:,} keys, and DROPFIT_TABLE_ROWS allows {most:,}; "
            "raise it, declare narrower domains in problem.py, or set DROPFIT_UNIVERSE=frequent"
        )
    axes = Axes(contract.key, [_domain(f, seen) for f, seen in zip(features, counted.axes.values, strict=True)])
    counts = np.zeros(count, dtype=np.int64)
    for begin, keys in zip(range(0, len(counted), ROWS), counted.batches(), strict=True):
        numbers, often = axes.numbers(keys), counted.counts[begin : begin + ROWS]
        counts[numbers[numbers >= 0]] = often[numbers >= 0]
    numbers, counts = in_order(np.arange(count), counts)
    made = msgspec.structs.replace(counted, axes=axes, numbers=numbers, counts=counts)
    open_ones = [f.name for f in features if isinstance(f, Category) and not f.values]
    if not open_ones:
        return made
    return made.noted(f"{', '.join(open_ones)}: no values are declared, so those seen in accepted rows are taken")


def _size(feature: Feature, seen: Any) -> int | None:
    """How many values a column can have; None where that is not declared."""
    if isinstance(feature, Category):
        return len(_domain(feature, seen))
    if not feature.integer or feature.minimum is None or feature.maximum is None:
        return None
    return math.floor(feature.maximum) - math.ceil(feature.minimum) + 1 + feature.missing


def _domain(feature: Feature, seen: Any) -> Any:
    """All values that a column can have."""
    missing = [None] if feature.missing else []
    if not isinstance(feature, Category):
        assert feature.minimum is not None and feature.maximum is not None  # noqa: S101, PT018 (`_size` has seen to it)
        return pa.array([*range(math.ceil(feature.minimum), math.floor(feature.maximum) + 1), *missing], pa.int64())
    values: Sequence[str | None] = feature.values or [v for v in seen.to_pylist() if v is not None]
    return pa.array([*dict.fromkeys(values), *missing], pa.string())
