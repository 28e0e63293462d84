# SPDX-License-Identifier: Apache-2.0
"""Whether `derive` says the same of a row whatever stands beside it.

Training and the table see many rows at a time, a request often one: a derive that looks at a whole batch (its mean,
say) would give them different features, and the served prediction would not be the one that was judged.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from .contract import Columns, Problem, describe
from .encoding import Encoder, length, take
from .errors import TrainingError

ROWS = 32
TOLERANCE = 1e-6
"""Relative difference that numpy's arithmetic may leave between a batch and a row alone."""


def check(problem: Problem, encoder: Encoder, columns: Columns) -> None:
    """Ask derive about some rows together, in reverse, and one by one.

    Args:
        problem: whose derive it is.
        encoder: completes pinned features.
        columns: accepted rows.

    Raises:
        TrainingError: when it says something else, naming the derived feature.
    """
    if problem.derive is None:
        return
    chosen = np.unique(np.linspace(0, length(columns) - 1, ROWS).astype(np.int64))
    features = encoder.complete(take({f.name: columns[f.name] for f in problem.features}, chosen))
    places = np.arange(len(chosen))
    together = _made(problem, features, len(chosen))
    turned = _made(problem, take(features, places[::-1]), len(chosen))
    alone = [_made(problem, take(features, places[place : place + 1]), 1) for place in places]
    for feature in problem.derived:
        whole = together[feature.name]
        others = turned[feature.name][::-1], np.concatenate([one[feature.name] for one in alone])
        if not all(np.allclose(whole, other, TOLERANCE, 0.0, equal_nan=True) for other in others):
            raise TrainingError(
                f"problem.py's derive gives a row another {feature.name} when other rows stand beside it: it must "
                "look at each row by itself, or a request would not get what was trained and judged"
            )


def _made(problem: Problem, features: Mapping[str, Any], rows: int) -> dict[str, Any]:
    assert problem.derive is not None  # noqa: S101 (the caller has looked)
    try:
        made = problem.derive(features)
        return {f.name: np.broadcast_to(np.asarray(made[f.name], dtype=np.float64), rows) for f in problem.derived}
    except Exception as error:  # the adopter's function may raise anything
        raise TrainingError(f"problem.py's derive raised {describe(error)}") from error
