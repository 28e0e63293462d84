# SPDX-License-Identifier: Apache-2.0
"""What a training imports, all of it before the first step that needs some: then its steps' times are of their work.

A job that finds another at work, or nothing to train on, imports none of this.
"""

from __future__ import annotations

import contextlib
import importlib
import logging
import time

from dropfit.contract import Problem

LOG = logging.getLogger(__name__)
HEAVY = (
    "dropfit.warehouse",
    "dropfit.training",
    "dropfit.export",
    "skl2onnx",
    "beam_pipelines.judging",
    "beam_pipelines.head",
    "beam_pipelines.batch_predict",
    "beam_pipelines.keys",
    "beam_pipelines.sources",
    "dropfit.proof",
    "apache_beam.runners.portability.fn_api_runner.fn_runner",
)
"""Plots are not among them: they are drawn when everything is served."""


def prepare(problem: Problem) -> None:
    """Import them, and what the problem's estimator imports."""
    begun = time.monotonic()
    for name in HEAVY:
        importlib.import_module(name)
    with contextlib.suppress(Exception):  # the adopter's may raise anything; the training will say so
        problem.estimator(problem.inputs)
    LOG.info("imports: %.2f s", time.monotonic() - begun)
