# SPDX-License-Identifier: Apache-2.0
"""How good predictions are. Definitions as in scikit-learn's user guide, "Metrics and scoring"."""

from __future__ import annotations

from typing import Any

import numpy as np

from .contract import METRICS, Gate, Label, Quantity, Target

Array = np.ndarray[Any, Any]


def measure(target: Target, truth: Array, raw: Array) -> dict[str, float]:
    """Metrics of a model's raw output.

    Args:
        target: what is predicted.
        truth: shape (rows,): 0/1, class positions in the order of the model's columns, or values.
        raw: shape (rows, classes) of probabilities, or (rows, 1) of values.

    Returns:
        log_loss, brier and auc (absent with one class) of a probability; log_loss and accuracy of a label; rmse,
        mae and r2 of a quantity.
    """
    from sklearn import metrics

    if isinstance(target, Quantity):
        values = raw[:, 0]
        return {
            "rmse": float(metrics.root_mean_squared_error(truth, values)),
            "mae": float(metrics.mean_absolute_error(truth, values)),
            "r2": float(metrics.r2_score(truth, values)) if len(truth) > 1 else 0.0,
        }
    labels = np.arange(raw.shape[1])
    # float64 rows that sum to one: float32 probabilities do so only nearly, and log_loss insists.
    rows = raw.astype(np.float64)
    rows /= rows.sum(axis=1, keepdims=True)
    found = {"log_loss": float(metrics.log_loss(truth, rows, labels=labels))}
    if isinstance(target, Label):
        return {**found, "accuracy": float((rows.argmax(axis=1) == truth).mean())}
    found["brier"] = float(np.mean((rows[:, 1] - truth) ** 2))
    if 0 < truth.mean() < 1:
        found["auc"] = float(metrics.roc_auc_score(truth, rows[:, 1]))
    return found


def constant(target: Target, truth: Array, classes: int, rows: int) -> Array:
    """What a model would say that knows the target's distribution alone.

    Args:
        target: what is predicted.
        truth: the training rows' target, shape (n,).
        classes: columns of the model's output.
        rows: rows to predict.

    Returns:
        Shape (rows, classes): the training frequencies, or (rows, 1): the training mean.
    """
    if isinstance(target, Quantity):
        return np.full((rows, 1), truth.mean())
    frequencies = np.bincount(truth.astype(int), minlength=classes) / len(truth)
    return np.tile(frequencies, (rows, 1))


def deciding(gate: Gate, target: Target) -> str:
    """The metric that decides, smaller being better."""
    return gate.metric or METRICS[type(target)][0]
