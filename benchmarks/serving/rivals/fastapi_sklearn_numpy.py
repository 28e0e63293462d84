# SPDX-License-Identifier: Apache-2.0
"""FastAPI + scikit-learn without pandas and without a pipeline: the quickest that scikit-learn itself allows."""

from __future__ import annotations

import io

import joblib
from fastapi import FastAPI

from .forms import Answer, Body, Prediction
from .lookup import Lookup, fetch

lookup = Lookup(fetch("lookup.json"))
estimator = joblib.load(io.BytesIO(fetch("estimator.joblib")))
app = FastAPI()


@app.post("/predict")
async def predict(body: Body) -> Answer:
    """Probabilities of being late."""
    late = estimator.predict_proba(lookup.matrix(body.instances))[:, 1]
    return Answer(predictions=[Prediction(value=value) for value in late.tolist()])
