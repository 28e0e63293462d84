# SPDX-License-Identifier: Apache-2.0
"""A fitted estimator -> a file that serves, believed only after it has agreed with the estimator row by row.

ONNX first. An estimator that has no faithful ONNX form is stored by skops and served by scikit-learn itself, slower.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import msgspec
import numpy as np

from . import probe, skops_model
from .artifacts import MAX_ARTIFACT
from .errors import ArtifactError, ExportError
from .manifest import Parity, Runtime
from .probe import FLOOR, TOLERANCE, differing
from .runtime import OnnxModel
from .training import raw_output

__all__ = ["ACCEPTED", "FLOOR", "SUFFIX", "TOLERANCE", "Exported", "aligned", "check", "export", "gaps", "to_onnx"]

Array = np.ndarray[Any, Any]
ACCEPTED = 1e-3
"""Share of rows (0 to 1) that may differ by more than float32 arithmetic leaves: a value on the edge of a split."""
SUFFIX: dict[Runtime, str] = {"onnxruntime": ".onnx", "skops": ".skops"}


class Exported(msgspec.Struct, frozen=True):
    """An estimator's file.

    Attributes:
        payload: the file.
        runtime: what executes it.
        reason: why it is not ONNX, empty when it is.
        parity: how far it is from the estimator.
        probe: some rows and what it answers, for whoever loads it.
    """

    payload: bytes
    runtime: Runtime
    reason: str
    parity: Parity
    probe: bytes

    @property
    def suffix(self) -> str:
        """What its name ends with."""
        return SUFFIX[self.runtime]


def export(estimator: Any, sample: Array, classes: int, gappy: Sequence[int] = ()) -> Exported:
    """The estimator as a file that serves: ONNX when that is faithful, else skops.

    Args:
        estimator: fitted.
        sample: float32, shape (rows, inputs).
        classes: number of classes; 0 for a quantity.
        gappy: positions of the columns that a request may leave missing, or fill with something never seen.

    Raises:
        ExportError: when neither is possible, or the estimator takes no gap where there can be one.
    """
    rows = np.vstack([sample, *gaps(estimator, sample, gappy)])
    try:
        payload = to_onnx(estimator, sample.shape[1])
        return _exported(estimator, payload, "onnxruntime", "", OnnxModel(payload), rows, len(sample), classes)
    except (ExportError, ArtifactError) as error:  # onnxruntime may not open what skl2onnx made
        reason = str(error)
    try:
        payload = skops_model.dump(estimator)
        return _exported(
            estimator, payload, "skops", reason, skops_model.SkopsModel(payload), rows, len(sample), classes
        )
    except (ExportError, ArtifactError) as error:
        raise ExportError(
            f"{reason}. Neither can scikit-learn serve it: {error}. docs/adapt.md says which estimators can be served"
        ) from error


def _exported(
    estimator: Any, payload: bytes, runtime: Runtime, reason: str, model: Any, rows: Array, whole: int, classes: int
) -> Exported:
    if len(payload) > MAX_ARTIFACT:
        raise ExportError(f"{len(payload):,} bytes are more than a version may hold ({MAX_ARTIFACT:,})")
    parity = _compare(estimator, model, rows, whole, classes, runtime)
    return Exported(payload, runtime, reason, parity, probe.make(model, rows))


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
            estimator,
            name="dropfit",  # else a random one: the same fit would never give the same file
            initial_types=[("features", FloatTensorType([None, inputs]))],
            options=options,
        )
    except Exception as error:  # converters raise whatever they like
        why = str(error).strip().splitlines() or [type(error).__name__]
        raise ExportError(f"{type(estimator).__name__} has no ONNX form: {why[0]}") from error
    return bytes(model.SerializeToString())


def check(estimator: Any, payload: bytes, sample: Array, classes: int, gappy: Sequence[int] = ()) -> Parity:
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
    rows = np.vstack([sample, *gaps(estimator, sample, gappy)])
    return _compare(estimator, OnnxModel(payload), rows, len(sample), classes, "onnxruntime")


def _compare(
    estimator: Any, model: Callable[[Array], Array], rows: Array, whole: int, classes: int, runtime: Runtime
) -> Parity:
    """Estimator against its served form; the first rows, `whole` of them, are those with nothing missing."""
    ours, theirs = aligned(estimator, model(rows), classes), raw_output(estimator, rows, classes)
    scale = 1.0 if classes else float(np.abs(theirs).max())
    wrong = differing(ours, theirs, scale)
    parity = Parity(len(rows), float(wrong.mean()), float(np.abs(ours - theirs).max()))
    if parity.differing > ACCEPTED:
        form = {"onnxruntime": "ONNX", "skops": "skops"}[runtime]
        raise ExportError(
            f"the {form} form of {type(estimator).__name__} differs from the estimator on {parity.differing:.2%} of "
            f"{parity.rows:,} rows (at most {ACCEPTED:.2%}; {wrong[:whole].mean():.2%} where nothing is missing), by "
            f"up to {parity.largest:.3g}"
        )
    return parity


def gaps(estimator: Any, sample: Array, gappy: Sequence[int]) -> list[Array]:
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


def aligned(estimator: Any, raw: Array, classes: int) -> Array:
    """The export's columns at the places of their classes, as `raw_output` gives them."""
    if not classes:
        return raw
    output = np.zeros((len(raw), classes))
    output[:, np.asarray(estimator.classes_, dtype=int)] = raw
    return output
