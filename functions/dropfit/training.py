# SPDX-License-Identifier: Apache-2.0
"""Accepted rows -> a fitted, measured model. Pure: arrays in, arrays and an estimator out."""

from __future__ import annotations

import random
from typing import Any

import msgspec
import numpy as np

from . import metrics
from .contract import Columns, Label, Problem, Quantity, describe
from .encoding import Encoder, Encoding, joined, learn, length, take
from .errors import TrainingError

Array = np.ndarray[Any, Any]


class Holdout(msgspec.Struct, frozen=True):
    """The rows that judge.

    Attributes:
        mask: shape (rows,), True where held out.
        first: its first time block, as text.
        last: its last.
        method: `newest` blocks by time, or `random` when all rows are of one block.
    """

    mask: Any
    first: str
    last: str
    method: str


class Trained(msgspec.Struct, frozen=True):
    """What training made.

    Attributes:
        estimator: fitted on all rows: the one that is served.
        encoding: learned from all rows.
        classes: labels in the order of the probabilities, for a label target.
        width: columns of the model's probabilities; 0 for a quantity.
        rows: rows it was fitted on.
        metrics: of the same estimator fitted on all but the holdout, on the holdout.
        constant: of the constant prediction, on the holdout.
        holdout: first, last, method and number of rows.
        sample: matrix of holdout rows, shape (rows, inputs), for the parity check.
    """

    estimator: Any
    encoding: Encoding
    classes: tuple[str, ...]
    width: int
    rows: int
    metrics: dict[str, float]
    constant: dict[str, float]
    holdout: dict[str, str | int]
    sample: Any


def without_duplicates(problem: Problem, columns: Columns) -> Columns:
    """Rows with one per identity: the one uploaded last."""
    if not problem.identity:
        return columns
    last = {key: row for row, key in enumerate(_identities(problem, columns))}
    return take(columns, np.array(sorted(last.values()), dtype=np.int64))


def _identities(problem: Problem, columns: Columns) -> list[str]:
    texts = {
        n: columns[n].astype(str).astype(object) if columns[n].dtype.kind == "M" else columns[n]
        for n in problem.identity
    }
    return joined(texts, problem.identity)


def hold_out(problem: Problem, columns: Columns) -> Holdout:
    """The newest blocks by the time column; a random fifth says nothing about the days to come (docs/adr/0003)."""
    times = columns[problem.time]
    blocks = np.unique(times)
    if len(blocks) < 2:
        mask = np.random.default_rng(problem.seed).random(len(times)) < problem.gate.holdout_share
        return Holdout(mask, _named(blocks[0]), _named(blocks[0]), "random")
    held = min(len(blocks) - 1, max(1, round(len(blocks) * problem.gate.holdout_share)))
    first, last = (_named(b) for b in (blocks[-held], blocks[-1]))
    return Holdout(times >= blocks[-held], first, last, "newest")


def _named(block: Any) -> str:
    """A time block for people: the day, the number, the name."""
    return (
        str(block)[:10]
        if isinstance(block, np.datetime64)
        else f"{block:g}"
        if isinstance(block, float)
        else str(block)
    )


def train(problem: Problem, columns: Columns) -> Trained:
    """Judge on the newest block, then fit on everything.

    Args:
        problem: features, estimator, gate.
        columns: accepted rows in the order of upload, duplicates dropped.

    Raises:
        TrainingError: when there are too few rows, one class only, or the estimator refuses the data.
    """
    held = hold_out(problem, columns)
    judged, rest = take(columns, held.mask), take(columns, ~held.mask)
    _enough(problem, rest, judged)
    classes = _classes(problem, columns)
    _classes(problem, rest)  # the rows that are not held out must teach something too
    trial, encoding = _fit(problem, rest, classes)
    matrix = _matrix(problem, encoding, judged)
    truth, known = _truth(problem, judged, classes), _truth(problem, rest, classes)
    measured = metrics.measure(problem.target, truth, raw_output(trial, matrix, len(classes)))
    baseline = metrics.constant(problem.target, known, len(classes), len(truth))
    estimator, encoding = _fit(problem, columns, classes)
    return Trained(
        estimator=estimator,
        encoding=encoding,
        classes=classes if isinstance(problem.target, Label) else (),
        width=len(classes),
        rows=length(columns),
        metrics=measured,
        constant=metrics.measure(problem.target, truth, baseline),
        holdout={"first": held.first, "last": held.last, "method": held.method, "rows": length(judged)},
        sample=_matrix(problem, encoding, judged),
    )


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
    encoding = learn(problem, columns)
    matrix = _matrix(problem, encoding, columns)
    # An estimator without a random_state of its own draws from these: the same data and seed give the same model.
    random.seed(problem.seed)
    np.random.seed(problem.seed)
    try:
        estimator = problem.estimator(problem.inputs)
        return estimator.fit(matrix, _truth(problem, columns, classes)), encoding
    except Exception as error:  # the adopter's estimator may raise anything
        raise TrainingError(f"the estimator refused the data: {describe(error)}") from error


def _matrix(problem: Problem, encoding: Encoding, columns: Columns) -> Array:
    try:
        return Encoder(problem, encoding, problem.derive).matrix(columns)
    except Exception as error:  # so may derive
        raise TrainingError(f"problem.py's derive raised {describe(error)}") from error


def _classes(problem: Problem, columns: Columns) -> tuple[str, ...]:
    if isinstance(problem.target, Quantity):
        return ()
    values = set(columns[problem.target.name].tolist())
    if len(values) < 2:
        raise TrainingError(f"every row has the same {problem.target.name}: there is nothing to learn")
    if isinstance(problem.target, Label):
        return tuple(label for label in problem.target.values if label in values)
    return ("0", "1")


def _truth(problem: Problem, columns: Columns, classes: tuple[str, ...]) -> Array:
    values = columns[problem.target.name]
    if not isinstance(problem.target, Label):
        return values.astype(np.float64 if isinstance(problem.target, Quantity) else np.int64)
    position = {label: place for place, label in enumerate(classes)}
    return np.array([position[v] for v in values.tolist()], dtype=np.int64)


def _enough(problem: Problem, rest: Columns, judged: Columns) -> None:
    least = problem.gate.minimum_rows
    tenth = max(1, least // 10)
    if length(rest) < least or length(judged) < tenth:
        raise TrainingError(
            f"{length(rest):,} training rows and {length(judged):,} holdout rows; the gate wants at least "
            f"{least:,} and {tenth:,}: upload more data, or lower gate.minimum_rows in problem.py"
        )
