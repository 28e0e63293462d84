# SPDX-License-Identifier: Apache-2.0
"""The safeguard on outputs: what may be served, whatever the model says."""

from __future__ import annotations

from typing import Any

import numpy as np

from .contract import Policy

Fired = list[tuple[str, ...]]
"""Per prediction, the names of the rules that changed it."""


def apply(policy: Policy, values: np.ndarray[Any, Any]) -> tuple[np.ndarray[Any, Any], Fired]:
    """Predictions as they may be served.

    Args:
        policy: the version's policy.
        values: shape (rows,), float64; labels (object arrays) pass untouched.

    Returns:
        The values within bounds and rounded, and per row the rules that fired. Rounding is form, not a rule.
    """
    rows = len(values)
    if values.dtype == object:
        return values, [()] * rows
    kept = np.asarray(values, dtype=np.float64)
    fired: Fired = [()] * rows
    if policy.minimum is not None and (low := kept < policy.minimum).any():
        kept = np.maximum(kept, policy.minimum)
        fired = [(*f, "minimum") if hit else f for f, hit in zip(fired, low, strict=True)]
    if policy.maximum is not None and (high := kept > policy.maximum).any():
        kept = np.minimum(kept, policy.maximum)
        fired = [(*f, "maximum") if hit else f for f, hit in zip(fired, high, strict=True)]
    if policy.digits is not None:
        # Rounding must not leave the bounds again.
        smallest = -np.inf if policy.minimum is None else policy.minimum
        largest = np.inf if policy.maximum is None else policy.maximum
        kept = np.clip(np.round(kept, policy.digits), smallest, largest)
    return kept, fired
