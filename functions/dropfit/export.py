# SPDX-License-Identifier: Apache-2.0
"""A fitted estimator -> ONNX, believed only after it has agreed with the estimator row by row."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from .errors import ExportError
from .manifest import Parity
from .runtime import OnnxModel
from .training import raw_output

TOLERANCE = 1e-5
"""Relative difference that float32 arithmetic may leave ..."""
FLOOR = 1e-6
"""... and what it may leave of values near zero, as a share of the predictions' scale: sums over many trees do."""
ACCEPTED = 1e-3
"""Share of rows (0 to 1) that may differ by more: a float32 value on the edge of a split."""


def to_onnx(estimator: Any, inputs: int) -> bytes:
    """The estimator's ONNX form over one float32 matrix of shape (rows, inputs).

    Raises:
        ExportError: when skl2onnx has no converter for it.
    """
    from skl2onnx import convert_sklearn
    from skl2onnx.common.data_types import FloatTensorType
    from sklearn.base import is_classifier

    options = {id(estimator): {"zipmap": False}} if is_classifier(estimator) else None
    try:
        model = convert_sklearn(
            estimator, initial_types=[("features", FloatTensorType([None, inputs]))], options=options
        )
    except Exception as error:  # converters raise whatever they like
        raise ExportError(f"{type(estimator).__name__} has no ONNX form: {error}") from error
    return bytes(model.SerializeToString())


def check(
    estimator: Any, payload: bytes, sample: np.ndarray[Any, Any], classes: int, gappy: Sequence[int] = ()
) -> Parity:
    """Compare estimator and export on the sample, and on the sample with gaps in each column that can have some.

    Args:
        estimator: fitted.
        payload: its ONNX form.
        sample: float32, shape (rows, inputs).
        classes: number of classes; 0 for a quantity.
        gappy: positions of the columns that a request may leave missing, or fill with something never seen.

    Raises:
        ExportError: when more than ACCEPTED of the rows differ, or the estimator takes no gap where there can be one.
    """
    probe = np.vstack([sample, *gaps(estimator, sample, gappy)])
    ours = aligned(estimator, OnnxModel(payload)(probe), classes)
    theirs = raw_output(estimator, probe, classes)
    apart = np.abs(ours - theirs)
    scale = 1.0 if classes else float(np.abs(theirs).max())
    differing = ~(apart <= TOLERANCE * np.abs(theirs) + FLOOR * scale).all(axis=1)  # a NaN differs too
    parity = Parity(len(probe), float(differing.mean()), float(apart.max()))
    if parity.differing > ACCEPTED:
        whole = differing[: len(sample)].mean()
        raise ExportError(
            f"the ONNX form of {type(estimator).__name__} differs from the estimator on {parity.differing:.2%} of "
            f"{parity.rows:,} rows (at most {ACCEPTED:.2%}; {whole:.2%} where nothing is missing), by up to "
            f"{parity.largest:.3g}: it is not served. docs/adapt.md says which estimators export faithfully"
        )
    return parity


def gaps(estimator: Any, sample: np.ndarray[Any, Any], gappy: Sequence[int]) -> list[np.ndarray[Any, Any]]:
    """Some sample rows with one column missing each.

    Raises:
        ExportError: when the estimator refuses them, as it would refuse such a request.
    """
    holed = []
    for column in gappy:
        rows = sample[:200].copy()
        rows[:, column] = np.nan
        try:
            estimator.predict(rows[:1])
        except ValueError as error:
            raise ExportError(
                f"{type(estimator).__name__} takes no missing values, and input {column + 1} can be missing or never "
                "seen before: put an imputer before it, in a pipeline"
            ) from error
        holed.append(rows)
    return holed


def aligned(estimator: Any, raw: np.ndarray[Any, Any], classes: int) -> np.ndarray[Any, Any]:
    """The export's columns at the places of their classes, as `raw_output` gives them."""
    if not classes:
        return raw
    output = np.zeros((len(raw), classes))
    output[:, np.asarray(estimator.classes_, dtype=int)] = raw
    return output
