# SPDX-License-Identifier: Apache-2.0
"""FastAPI + scikit-learn as most people write it: a pandas DataFrame through a pipeline that encodes and predicts."""

from __future__ import annotations

import io

import joblib
import pandas as pd
from fastapi import FastAPI, Response

from .forms import Body
from .lookup import INPUTS, Lookup, fetch
from .replies import reply

lookup = Lookup(fetch("lookup.json"))
pipeline = joblib.load(io.BytesIO(fetch("pipeline.joblib")))
app = FastAPI()


@app.post("/predict")
async def predict(body: Body) -> Response:
    """Probabilities of being late."""
    frame = pd.DataFrame([i.model_dump() for i in body.instances])
    routes = zip(frame["origin"], frame["dest"], strict=True)
    known = pd.Series([lookup.distance(origin, dest) for origin, dest in routes], dtype="float64")
    frame["distance"] = frame["distance"].astype("float64").fillna(known)
    frame["hour_of_week"] = frame["weekday"] * 24 + frame["hour"]
    late = pipeline.predict_proba(frame[list(INPUTS)])[:, 1]
    return reply(late)
