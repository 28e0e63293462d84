# SPDX-License-Identifier: Apache-2.0
"""Rows of tea and how often their keys were counted: shared by the tests of the key universe."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pyarrow as pa
from fakes import tea
from hypothesis import strategies as st

from dropfit.counting import Seen
from dropfit.universe import Universe

TEA = tea().contract
WORDS = st.text(st.sampled_from("ab\t\\N é\U0001f375"), max_size=4)
NUMBERS = st.sampled_from([math.nan, 0.0, -0.0, 5.0, 2.5, 1e-7, -3.0, 1e300, 0.1 + 0.2])
ROWS = st.lists(st.tuples(WORDS, st.none() | WORDS, NUMBERS), min_size=1, max_size=60)


def columns(rows: list[Any]) -> dict[str, Any]:
    leaf, cup, minutes = zip(*rows, strict=True)
    return {"leaf": np.array(leaf, dtype=object), "cup": np.array(cup, dtype=object), "minutes": np.array(minutes)}


def arrow(rows: list[Any]) -> Any:
    leaf, cup, minutes = zip(*rows, strict=True)
    return pa.table(
        {"leaf": pa.array(leaf, pa.string()), "cup": pa.array(cup, pa.string()), "minutes": list(minutes)}
    )


def counts_of(found: Universe) -> dict[str, int]:
    return dict(zip(found.axes.texts(found.numbers), found.counts.tolist(), strict=True))


def seen(rows: list[Any], cuts: int = 1, coded: bool = False) -> Universe:
    counter = Seen(TEA)
    for begin in range(0, len(rows), -(-len(rows) // cuts)):
        part = arrow(rows[begin : begin + -(-len(rows) // cuts)])
        if coded:
            part = part.set_column(0, "leaf", part.column("leaf").dictionary_encode())
        counter.add(part)
    return counter.universe()
