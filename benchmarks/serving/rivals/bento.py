# SPDX-License-Identifier: Apache-2.0
"""BentoML's service over the same estimator: pydantic in and out, one float32 matrix."""

from __future__ import annotations

import io

import bentoml
import joblib

from benchmarks.serving.rivals.forms import Answer, Instance, Prediction
from benchmarks.serving.rivals.lookup import Lookup, fetch


@bentoml.service(workers=1)
class Flights:
    """The flights model."""

    def __init__(self) -> None:
        self.lookup = Lookup(fetch("lookup.json"))
        self.estimator = joblib.load(io.BytesIO(fetch("estimator.joblib")))

    @bentoml.api
    async def predict(self, instances: list[Instance]) -> Answer:
        """Probabilities of being late."""
        late = self.estimator.predict_proba(self.lookup.matrix(instances))[:, 1]
        return Answer(predictions=[Prediction(value=value) for value in late.tolist()])
