# SPDX-License-Identifier: Apache-2.0
"""The job an upload launches: ingest -> train -> gate -> fill table -> promote; and `dropfit batch refresh`.

One job at a time, by a lease. What arrives meanwhile is taken in by one more round of the same job; a job that finds
another at work leaves at once. Every step can be done twice, so a job that was killed anywhere is simply run again:

    set -a; . .dropfit/env; .venv/bin/python -m beam_pipelines.retrain
"""

from __future__ import annotations

import logging
import signal
import sys
import time
from types import FrameType

from beam_pipelines.intake import Services
from beam_pipelines.refresh import Refresh
from beam_pipelines.round import Round
from dropfit import joblog, lease, orders, refreshes, settings, storage
from dropfit.contract import load_problem
from dropfit.errors import Conflict, ContractError, DropfitError
from dropfit.lease import Lease
from dropfit.receipts import Receipts
from dropfit.registry import Registry
from dropfit.runs import RunLog
from dropfit.settings import Settings
from dropfit.storage import Buckets

LOG = logging.getLogger("dropfit.retrain")
STARTED = time.monotonic()


def main() -> int:
    """Work until nothing waits; 0 unless something has to be tried again."""
    joblog.set_up()
    signal.signal(signal.SIGTERM, _terminated)
    config = settings.load()
    buckets = storage.connect(config)
    job = settings.job_name()
    try:
        problem = load_problem(config.problem)
    except ContractError as contradiction:
        return refuse_all(config, buckets, job, contradiction)
    services = Services(config, problem, buckets, Receipts(buckets.data), Registry(buckets.models))
    try:
        work(services, job)
    except DropfitError as fault:
        LOG.error("stopped; the sweeper will start another job: %s", fault)
        return 1
    return 0


def refuse_all(config: Settings, buckets: Buckets, job: str, why: ContractError) -> int:
    """With a problem.py that cannot be loaded nothing can be done: say so where people look, instead of for ever."""
    reason = f"{why}. Mend it, then `dropfit train`"
    LOG.error("%s", reason)
    log, receipts = RunLog(buckets.data, job), Receipts(buckets.data)
    try:
        with Lease(buckets.data, job, config.lease_seconds):
            waiting_now = receipts.open()
            log.run.receipts = [receipt.id for receipt in waiting_now]
            log.finish("failed", reason)
            for receipt in waiting_now:
                receipts.advance(receipt, state="failed", reason=reason, code="problem", attempts=0)
            for request in orders.pending(buckets.data):
                orders.done(buckets.data, request)
            for refresh in refreshes.pending(buckets.data):
                refreshes.done(buckets.data, refresh)
    except Conflict as busy:
        LOG.info("%s", busy)
    return 1


def _terminated(number: int, frame: FrameType | None) -> None:
    raise SystemExit(128 + number)  # unwinds through `with`, so that the lease is given back


def work(services: Services, job: str) -> None:
    """Rounds under the lease until nothing waits; then look once more, for what arrived as it was given back."""
    while True:
        try:
            with Lease(services.buckets.data, job, services.settings.lease_seconds) as held:
                while waiting(services):
                    LOG.info("begun: %.2f s after this module's import", time.monotonic() - STARTED)
                    if trains(services):
                        Round(services, job, held).run()
                    else:
                        Refresh(services, job, held).run()
        except Conflict as busy:
            if not lease.is_held(services.buckets.data):
                continue
            LOG.info("%s: it will take in what waits", busy)
            return
        if not waiting(services):
            return


def waiting(services: Services) -> bool:
    """Whether an upload has no outcome, or somebody asked for a training or a refresh."""
    return trains(services) or refreshes.waiting(services.buckets.data)


def trains(services: Services) -> bool:
    """Whether a round has something to do, which goes before a refresh: it may serve another version."""
    return services.receipts.any_open() or orders.waiting(services.buckets.data)


if __name__ == "__main__":
    sys.exit(main())
