# SPDX-License-Identifier: Apache-2.0
"""Accepted rows -> a fitted, measured model. Pure: arrays in, arrays and an estimator out."""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import msgspec
import numpy as np

from . import metrics, rowwise
from .contract import Columns, Label, Problem, Quantity, describe
from .encoding import Encoder, Encoding, learn, length, take
from .errors import TrainingError
from .holdout import Holdout, least, plan

Array = np.ndarray[Any, Any]


class Trained(msgspec.Struct, frozen=True):
    """What training made.

    Attributes:
        estimator: fitted on all rows: the one that is served.
        encoding: learned from all rows.
        trial: the same estimator fitted on all but the holdout: the one that is judged.
        trial_encoding: learned from those rows.
        classes: labels in the order of the probabilities, for a label target.
        width: columns of the model's probabilities; 0 for a quantity.
        rows: rows it was fitted on.
        metrics: of the trial, on the holdout.
        constant: of the constant prediction, on the holdout.
        holdout: first, last, method and number of rows.
        mask: bool, shape (rows,), True where held out.
        sample: matrix of holdout rows, shape (rows, inputs), for the parity check.
        trial_sample: the same rows as the trial's encoding gives them.
    """

    estimator: Any
    encoding: Encoding
    trial: Any
    trial_encoding: Encoding
    classes: tuple[str, ...]
    width: int
    rows: int
    metrics: dict[str, float]
    constant: dict[str, float]
    holdout: dict[str, str | int]
    mask: Any
    sample: Any
    trial_sample: Any


def train(problem: Problem, columns: Columns, held: Holdout | None = None) -> Trained:
    """Fit on all but the holdout and measure there, then fit on everything.

    Args:
        problem: features, estimator, gate.
        columns: accepted rows in the order of upload, duplicates dropped.
        held: the rows that judge; the newest of all when not given.

    Raises:
        TrainingError: when there are too few rows, one class only, derive does not look at each row by
            itself, or the estimator refuses the data.
    """
    held = held or plan(problem, columns)
    judged, rest = take(columns, held.mask), take(columns, ~held.mask)
    _enough(problem, rest, judged)
    classes = classes_of(problem, columns)
    classes_of(problem, rest)  # the rows that are not held out must teach something too
    trial, trial_encoding = _fit(problem, rest, classes)
    rowwise.check(problem, Encoder(problem, trial_encoding, problem.derive), columns)
    matrix = _matrix(problem, trial_encoding, judged)
    answers = truth(problem, judged, classes)
    estimator, encoding = _fit(problem, columns, classes)
    return Trained(
        estimator=estimator,
        encoding=encoding,
        trial=trial,
        trial_encoding=trial_encoding,
        classes=classes if isinstance(problem.target, Label) else (),
        width=len(classes),
        rows=length(columns),
        metrics=metrics.measure(problem.target, answers, raw_output(trial, matrix, len(classes))),
        constant=metrics.measure(problem.target, answers, baseline(problem, rest, classes, length(judged))),
        holdout={"first": held.first, "last": held.last, "method": held.method, "rows": length(judged)},
        mask=held.mask,
        sample=_matrix(problem, encoding, judged),
        trial_sample=matrix,
    )


def baseline(problem: Problem, rest: Columns, classes: tuple[str, ...], rows: int) -> Array:
    """What the constant that knows the target of `rest` alone says of so many rows, shape (rows, classes or 1)."""
    return metrics.constant(problem.target, truth(problem, rest, classes), len(classes), rows)


def raw_output(estimator: Any, matrix: Array, classes: int) -> Array:
    """What the ONNX model gives too: probabilities (rows, classes), or values (rows, 1).

    Args:
        estimator: fitted.
        matrix: float32, shape (rows, inputs).
        classes: number of classes; 0 for a quantity.
    """
    if not classes:
        return np.asarray(estimator.predict(matrix), dtype=np.float64).reshape(-1, 1)
    output = np.zeros((len(matrix), classes))
    # A class that the fit never saw has no column: its probability is zero.
    output[:, np.asarray(estimator.classes_, dtype=int)] = estimator.predict_proba(matrix)
    return output


def _fit(problem: Problem, columns: Columns, classes: tuple[str, ...]) -> tuple[Any, Encoding]:
    encoding = _learned(problem, columns)
    matrix = _matrix(problem, encoding, columns)
    # An estimator without a random_state of its own draws from these: the same data and seed give the same model.
    random.seed(problem.seed)
    np.random.seed(problem.seed)
    try:
        estimator = problem.estimator(problem.inputs)
        return estimator.fit(matrix, truth(problem, columns, classes)), encoding
    except Exception as error:  # the adopter's estimator may raise anything
        raise TrainingError(f"the estimator refused the data: {describe(error)}") from error


def _learned(problem: Problem, columns: Columns) -> Encoding:
    with _derive_may_raise():
        return learn(problem, columns, problem.derive)


def _matrix(problem: Problem, encoding: Encoding, columns: Columns) -> Array:
    with _derive_may_raise():
        return Encoder(problem, encoding, problem.derive).matrix(columns)


@contextmanager
def _derive_may_raise() -> Iterator[None]:
    try:
        yield
    except Exception as error:
        raise TrainingError(f"problem.py's derive raised {describe(error)}") from error


def classes_of(problem: Problem, columns: Columns) -> tuple[str, ...]:
    """The classes that rows hold, in the order of the model's probabilities; none of a quantity.

    Raises:
        TrainingError: when there is only one.
    """
    if isinstance(problem.target, Quantity):
        return ()
    values = set(columns[problem.target.name].tolist())
    if len(values) < 2:
        raise TrainingError(f"every row has the same {problem.target.name}: there is nothing to learn")
    if isinstance(problem.target, Label):
        return tuple(label for label in problem.target.values if label in values)
    return ("0", "1")


def truth(problem: Problem, columns: Columns, classes: tuple[str, ...]) -> Array:
    """The target of rows, shape (rows,): 0/1, positions in `classes`, or values."""
    values = columns[problem.target.name]
    if not isinstance(problem.target, Label):
        return values.astype(np.float64 if isinstance(problem.target, Quantity) else np.int64)
    position = {label: place for place, label in enumerate(classes)}
    return np.array([position[v] for v in values.tolist()], dtype=np.int64)


def _enough(problem: Problem, rest: Columns, judged: Columns) -> None:
    fewest, tenth = problem.gate.minimum_rows, least(problem)
    if length(rest) < fewest or length(judged) < tenth:
        raise TrainingError(
            f"{length(rest):,} training rows and {length(judged):,} holdout rows; the gate wants at least "
            f"{fewest:,} and {tenth:,}: upload more data, or lower gate.minimum_rows in problem.py"
        )
