# SPDX-License-Identifier: Apache-2.0
"""FastAPI + scikit-learn without pandas and without a pipeline: the quickest that scikit-learn itself allows."""

from __future__ import annotations

import io

import joblib
from fastapi import FastAPI, Response

from .forms import Body
from .lookup import Lookup, fetch
from .replies import reply

lookup = Lookup(fetch("lookup.json"))
estimator = joblib.load(io.BytesIO(fetch("estimator.joblib")))
app = FastAPI()


@app.post("/predict")
async def predict(body: Body) -> Response:
    """Probabilities of being late."""
    late = estimator.predict_proba(lookup.matrix(body.instances))[:, 1]
    return reply(late)
