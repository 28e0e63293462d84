# SPDX-License-Identifier: Apache-2.0
"""The serving endpoint, an HTTP function on the async door of functions-framework.

    curl -H 'Content-Type: application/json' $DROPFIT_PREDICT_URL/predict \
      -d '{"instances": [{...}]}'

What an instance holds is the contract's: `GET /openapi.json` describes it, `GET /model` says what is served.
"""

from __future__ import annotations

import gc
import logging
from functools import cache

import functions_framework.aio
from starlette.requests import Request

from dropfit import joblog, settings, storage
from dropfit.bodies import give_back_large_blocks
from dropfit.contract import load_problem
from dropfit.errors import DropfitError
from dropfit.predictionlog import PredictionLog
from dropfit.registry import Registry
from dropfit.replies import Reply, problem_json
from dropfit.serving import Service

LOG = logging.getLogger(__name__)


@cache
def service() -> Service:
    """The service, wired at the first request of the worker: a thread started at import would die in the fork."""
    joblog.set_up_function()
    give_back_large_blocks()
    config = settings.load()
    gc.freeze()  # what was imported stays: the collector need not look at it again and again
    log = PredictionLog(config.project, config.log_share, config.log_buffer_bytes)
    log.install()
    return Service(config, load_problem(config.problem), Registry(storage.connect(config).models), log)


@functions_framework.aio.http
async def predict(request: Request) -> Reply:
    """`POST /predict`; `GET /openapi.json`, `/model`, `/health`, `/ready`, `/metrics`."""
    try:
        wired = service()
    except DropfitError as error:  # a setting, or problem.py: a person has to mend it
        LOG.error("the function cannot start: %s", error)
        return problem_json(503, "the function is not set up rightly; its log says what to mend")
    return await wired.handle(request.scope, request.receive)
