# SPDX-License-Identifier: Apache-2.0
"""Values -> the text of a key: one normalisation for the batch job, the table's snapshot and every request.

5 and 5.0 are one key, a missing value is `\\N`, and a tab inside a value is written `\\t`, so that different values
never become one key.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from .contract import Columns

MISSING = "\\N"
SEPARATOR = "\t"
MANY = 100
"""Rows from which on it pays to look for values that come again."""


def normal(value: Any) -> str:
    """One value (str, int, float, or None and NaN for missing) as it stands in a key."""
    if type(value) is str:
        return value if value.isalnum() else value.replace("\\", "\\\\").replace("\t", "\\t")
    if value is None or value != value:
        return MISSING
    return str(int(value)) if value == int(value) else repr(value)


def joined(columns: Columns, names: Iterable[str]) -> list[str]:
    """One string per row that identifies the values of the named columns."""
    return [SEPARATOR.join(parts) for parts in zip(*(_texts(columns[n].tolist()) for n in names), strict=True)]


def _texts(values: list[Any]) -> Iterable[str]:
    """Each value as it stands in a key; of many, most come again, and are written once."""
    if len(values) < MANY:
        return map(normal, values)
    known = {value: normal(value) for value in set(values)}  # NaN is no other's like, and found as the object it is
    return map(known.__getitem__, values)
