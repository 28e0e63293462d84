# SPDX-License-Identifier: Apache-2.0
"""A version's model in ONNX form, and what its outputs mean."""

from __future__ import annotations

import struct
from collections.abc import Callable
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

    def __call__(self, matrix: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
        """Probabilities (rows, classes) of a classifier, values (rows, 1) of a regressor.

        Args:
            matrix: float32, shape (rows, inputs).
        """
        result: np.ndarray[Any, Any] = self._session.run(self._outputs, {self._input: matrix})[0]
        return result.reshape(len(matrix), -1)

    def one_row(self) -> Callable[[list[float]], list[float]]:
        """The model for one row at a time, over memory that is laid out once; for one thread.

        A good part of a run for one row goes into making and naming its arrays (docs/adr/0015).

        Returns:
            A function: the row's inputs, NaN for missing -> its probabilities, or its one value. It raises
            OverflowError where an input does not fit float32.
        """
        inputs = self._session.get_inputs()[0].shape[1]
        given = np.zeros((1, inputs), dtype=np.float32)
        found = np.ascontiguousarray(self._session.run(self._outputs, {self._input: given})[0])
        binding = self._session.io_binding()
        binding.bind_input(self._input, "cpu", 0, np.float32, given.shape, given.ctypes.data)
        binding.bind_output(self._outputs[0], "cpu", 0, found.dtype.type, found.shape, found.ctypes.data)
        run, pack, into = (
            self._session.run_with_iobinding,
            struct.Struct(f"{inputs}f").pack_into,
            given.data.cast("B"),
        )
        answer: Any = found.reshape(-1).data

        def predict(row: list[float]) -> list[float]:
            pack(into, 0, *row)
            run(binding)
            told: list[float] = answer.tolist()
            return told

        return predict


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
        return self.guarded(filled, self.model(self.encoder.encode(filled)))

    def guarded(self, filled: Columns, raw: np.ndarray[Any, Any]) -> Scored:
        """What the policy leaves of the model's answers.

        Args:
            filled: every feature, completed, and the derived ones, shape (rows,) each.
            raw: what the model answers, shape (rows, classes) or (rows, 1).

        Raises:
            ArtifactError: when it is no number.
        """
        lost = np.flatnonzero(~np.isfinite(raw).all(axis=1))
        if len(lost):
            raise ArtifactError(f"the model answers no number for {len(lost)} rows, the first of them row {lost[0]}")
        return Scored(*self.guard.apply(filled, raw))
