# SPDX-License-Identifier: Apache-2.0
"""FastAPI + onnxruntime, written by hand: pydantic in, orjson out, codes by dict, one float32 matrix, one thread.

Lean on purpose: no modes, no policy, no log, no metrics, no swap.
"""

from __future__ import annotations

import onnxruntime
from fastapi import FastAPI, Response

from .forms import Body
from .lookup import Lookup, fetch
from .replies import reply

lookup = Lookup(fetch("lookup.json"))
options = onnxruntime.SessionOptions()
options.intra_op_num_threads = options.inter_op_num_threads = 1
session = onnxruntime.InferenceSession(fetch("model.onnx"), options, providers=["CPUExecutionProvider"])
source = session.get_inputs()[0].name
wanted = [session.get_outputs()[-1].name]
app = FastAPI()


@app.post("/predict")
async def predict(body: Body) -> Response:
    """Probabilities of being late."""
    late = session.run(wanted, {source: lookup.matrix(body.instances)})[0][:, 1]
    return reply(late)
