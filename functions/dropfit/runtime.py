# SPDX-License-Identifier: Apache-2.0
"""A version's model in ONNX form, and what its outputs mean."""

from __future__ import annotations

import threading
from typing import Any

import msgspec
import numpy as np
import onnxruntime

from .contract import Columns, Contract
from .encoding import Encoder
from .errors import ArtifactError
from .policy import Fired, Guard


class OnnxModel:
    """An ONNX model over one float32 matrix, on one thread unless told otherwise.

    Args:
        payload: the model, its hash checked by the caller.
        threads: onnxruntime's intra-op threads.

    Raises:
        ArtifactError: when onnxruntime cannot load it.
    """

    def __init__(self, payload: bytes, threads: int = 1) -> None:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        options.inter_op_num_threads = 1
        options.log_severity_level = 3
        try:
            self._session = onnxruntime.InferenceSession(payload, options, providers=["CPUExecutionProvider"])
        except Exception as error:  # onnxruntime raises a family of its own without a common base
            raise ArtifactError(f"onnxruntime cannot load the model: {error}") from error
        self._input = self._session.get_inputs()[0].name
        # A classifier gives its labels and then the probabilities; a regressor gives one column.
        self._outputs = [self._session.get_outputs()[-1].name]
        self._row: _OneRow | None = None

    def __call__(self, matrix: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
        """Probabilities (rows, classes) of a classifier, values (rows, 1) of a regressor.

        Args:
            matrix: float32, shape (rows, inputs).
        """
        if len(matrix) == 1:
            row = self._row or self._bind(matrix)
            if row.free.acquire(blocking=False):
                try:
                    return row(matrix)
                finally:
                    row.free.release()
        result: np.ndarray[Any, Any] = self._session.run(self._outputs, {self._input: matrix})[0]
        return result.reshape(len(matrix), -1)

    def _bind(self, matrix: np.ndarray[Any, Any]) -> _OneRow:
        """Arrays for a single row, found out by running it once."""
        (result,) = self._session.run(self._outputs, {self._input: matrix})
        self._row = _OneRow(self._session, self._input, self._outputs[0], matrix, result)
        return self._row


class _OneRow:
    """A run of one row over arrays that are made once: what a run otherwise spends on its arguments is most of it."""

    def __init__(self, session: Any, source: str, sink: str, matrix: Any, result: Any) -> None:
        self.free = threading.Lock()
        self._session = session
        self._in = np.ascontiguousarray(matrix, dtype=np.float32).copy()
        self._out = np.ascontiguousarray(result).copy()
        self._binding = session.io_binding()
        for bind, name, array in (
            (self._binding.bind_input, source, self._in),
            (self._binding.bind_output, sink, self._out),
        ):
            bind(name, "cpu", 0, array.dtype.type, array.shape, array.ctypes.data)
        self._answer = self._out.reshape(1, -1)

    def __call__(self, matrix: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
        self._in[:] = matrix
        self._session.run_with_iobinding(self._binding)
        answer: np.ndarray[Any, Any] = self._answer.copy()
        return answer


class Scored(msgspec.Struct, frozen=True):
    """Predictions for a row batch.

    Attributes:
        values: shape (rows,): float64; labels, or numbers and None where the policy abstains, as an object array.
        probabilities: shape (rows, classes) for a label target, else None; a row of zeros where all is denied.
        fired: per row, the policy's rules that changed the value.
    """

    values: Any
    probabilities: Any
    fired: Fired


class Scorer:
    """Row batches -> predictions, as a version makes them: the one path of HTTP, batch and evaluation.

    Args:
        contract: the version's contract.
        encoder: features -> matrix.
        model: matrix -> raw output; the ONNX model, or an estimator's function when both are compared.
        classes: labels in the order of the model's probabilities.
    """

    def __init__(self, contract: Contract, encoder: Encoder, model: Any, classes: tuple[str, ...]) -> None:
        self.contract = contract
        self.encoder = encoder
        self.classes = classes
        self.model = model
        self.guard = Guard(contract, classes, encoder.encoding.ranges)

    def score(self, columns: Columns) -> Scored:
        """Predictions for features, shape (rows,) each.

        Raises:
            ArtifactError: when the model answers something that is no number.
        """
        filled = self.encoder.everything(columns)
        raw = self.model(self.encoder.encode(filled))
        lost = np.flatnonzero(~np.isfinite(raw).all(axis=1))
        if len(lost):
            raise ArtifactError(f"the model answers no number for {len(lost)} rows, the first of them row {lost[0]}")
        return Scored(*self.guard.apply(filled, raw))
