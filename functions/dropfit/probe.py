# SPDX-License-Identifier: Apache-2.0
"""A version's probe: some rows of its model's input and what the model answered when it was made.

Whoever loads the version asks again. The same answers prove that this machine, with these libraries, serves the model
that was judged.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec
import numpy as np

from . import documents
from .errors import ArtifactError

Array = np.ndarray[Any, Any]
TOLERANCE = 1e-5
"""Relative difference that float32 arithmetic may leave ..."""
FLOOR = 1e-6
"""... and what it may leave of values near zero, as a share of the outputs' scale: sums over many trees do."""
ROWS = 64


class Probe(msgspec.Struct, frozen=True):
    """Rows and answers, bit by bit.

    Attributes:
        matrix: float32, little-endian, C order.
        inputs: its columns.
        outputs: float64, little-endian, C order.
        columns: its columns.
    """

    matrix: bytes
    inputs: int
    outputs: bytes
    columns: int


def differing(ours: Array, theirs: Array, scale: float) -> Array:
    """Which rows (mask of shape (rows,)) differ by more than float32 arithmetic explains; a NaN always does.

    Args:
        ours: shape (rows, columns).
        theirs: the same shape.
        scale: of the outputs: 1 for probabilities.
    """
    same: Array = (np.abs(ours - theirs) <= TOLERANCE * np.abs(theirs) + FLOOR * scale).all(axis=1)
    return ~same


def make(model: Callable[[Array], Array], matrix: Array) -> bytes:
    """Ask the model about rows spread over a matrix of shape (rows, inputs), float32."""
    chosen = np.unique(np.linspace(0, len(matrix) - 1, ROWS).astype(np.int64))
    rows = np.ascontiguousarray(matrix[chosen], dtype="<f4")
    outputs = np.ascontiguousarray(model(rows), dtype="<f8")
    return msgspec.json.encode(Probe(rows.tobytes(), rows.shape[1], outputs.tobytes(), outputs.shape[1]))


def check(payload: bytes, model: Callable[[Array], Array]) -> None:
    """Ask again.

    Args:
        payload: the probe, its hash checked by the caller.
        model: as loaded here.

    Raises:
        ArtifactError: when it is no probe, or the model answers otherwise.
    """
    probe = documents.decode(payload, Probe)
    try:
        matrix = np.frombuffer(probe.matrix, "<f4").reshape(-1, probe.inputs)
        wanted = np.frombuffer(probe.outputs, "<f8").reshape(len(matrix), probe.columns)
        given = np.asarray(model(matrix), dtype=np.float64).reshape(wanted.shape)
    except Exception as error:  # shapes that do not fit, and whatever a runtime raises
        raise ArtifactError(f"the model cannot answer its probe: {error}") from error
    scale = float(np.abs(wanted).max(initial=0.0))
    wrong = differing(given, wanted, scale)
    if wrong.any():
        largest = float(np.abs(given - wanted).max())
        raise ArtifactError(
            f"the model answers {wrong.sum()} of {len(matrix)} rows of its probe otherwise than when it was made, "
            f"by up to {largest:.3g}"
        )
