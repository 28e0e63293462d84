# SPDX-License-Identifier: Apache-2.0
"""The flights as those write them who have no Dropfit: a DataFrame through a scikit-learn pipeline."""

from __future__ import annotations

from typing import Any

TEXTS = ["carrier", "origin", "dest"]
NUMBERS = ["weekday", "hour", "distance"]
KEY = [*TEXTS, "weekday", "hour"]
DERIVED = "hour_of_week"


def with_derived(frame: Any) -> Any:
    """A DataFrame with what problem.py derives."""
    return frame.assign(**{DERIVED: frame["weekday"] * 24 + frame["hour"]})


def pipeline(frame: Any, fitted: Any) -> Any:
    """Ordinal codes learned from the frame, then the estimator as it was fitted.

    Args:
        frame: the training rows, a DataFrame.
        fitted: problem.py's estimator, fitted on the same codes.
    """
    import numpy as np
    from sklearn.compose import ColumnTransformer
    from sklearn.pipeline import Pipeline
    from sklearn.preprocessing import FunctionTransformer, OrdinalEncoder

    codes = OrdinalEncoder(handle_unknown="use_encoded_value", unknown_value=np.nan, dtype=np.float32)
    coded = ColumnTransformer([("codes", codes, TEXTS), ("numbers", "passthrough", [*NUMBERS, DERIVED])])
    derived = FunctionTransformer(with_derived)
    return Pipeline([("derive", derived), ("columns", coded.fit(with_derived(frame))), ("model", fitted)])
