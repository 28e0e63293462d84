# SPDX-License-Identifier: Apache-2.0
"""May this version be served? Pure: numbers in, a verdict with its reasons out."""

from __future__ import annotations

import datetime as dt

from . import metrics
from .contract import Problem
from .manifest import Manifest, Report


def judge(problem: Problem, manifest: Manifest) -> Report:
    """A model must predict better on the holdout than the constant that knows the training rows' target alone."""
    metric = metrics.deciding(problem.gate, problem.target)
    model, constant = manifest.metrics[metric], manifest.constant[metric]
    passed = model < constant
    rows, first, last = (manifest.holdout[k] for k in ("rows", "first", "last"))
    verdict = "better than" if passed else "not better than"
    reason = f"{metric} {model:.4f} on {rows:,} rows of {first} to {last}: {verdict} the constant's {constant:.4f}"
    return Report(version=manifest.version, passed=passed, reasons=(reason,), judged_at=dt.datetime.now(dt.UTC))
