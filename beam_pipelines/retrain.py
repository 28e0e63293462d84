# SPDX-License-Identifier: Apache-2.0
"""The job an upload launches: ingest -> train -> gate -> fill table -> promote.

One job at a time, by a lease. What arrives meanwhile is taken in by one more round of the same job; a job that finds
another at work leaves at once. Every step can be done twice, so a job that was killed anywhere is simply run again:

    set -a; . .dropfit/env; .venv/bin/python -m beam_pipelines.retrain
"""

from __future__ import annotations

import logging
import os
import signal
import sys
from types import FrameType
from typing import TYPE_CHECKING

from beam_pipelines import intake, steps
from beam_pipelines.intake import Services
from dropfit import lease, orders, settings, storage
from dropfit.contract import load_problem
from dropfit.encoding import length
from dropfit.errors import Conflict, DropfitError, LeaseLost, TrainingError, Unavailable
from dropfit.lease import Lease
from dropfit.orders import TrainRequest
from dropfit.receipts import Receipt, Receipts, State
from dropfit.registry import Registry
from dropfit.runs import RunLog

if TYPE_CHECKING:
    from dropfit.contract import Columns
    from dropfit.registry import Current, Manifest

LOG = logging.getLogger("dropfit.retrain")


def main() -> int:
    """Work until nothing waits; 0 unless something has to be tried again."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s", stream=sys.stderr)
    for noisy in ("apache_beam", "skl2onnx", "google"):
        logging.getLogger(noisy).setLevel(logging.WARNING)
    # Google's clients log their own retries; urllib3's are google-auth asking where a local key may be used.
    logging.getLogger("urllib3").setLevel(logging.ERROR)
    signal.signal(signal.SIGTERM, _terminated)
    config = settings.load()
    buckets = storage.connect(config)
    services = Services(
        settings=config,
        problem=load_problem(config.problem),
        buckets=buckets,
        receipts=Receipts(buckets.data),
        registry=Registry(buckets.models),
    )
    try:
        work(services, os.environ.get("DROPFIT_JOB") or os.environ.get("CLOUD_RUN_EXECUTION") or "by-hand")
    except Unavailable as fault:
        LOG.error("stopped; the sweeper will start another job: %s", fault)
        return 1
    return 0


def _terminated(number: int, frame: FrameType | None) -> None:
    raise SystemExit(128 + number)  # unwinds through `with`, so that the lease is given back


def work(services: Services, job: str) -> None:
    """Rounds under the lease until nothing waits; then look once more, for what arrived as it was given back."""
    while True:
        try:
            with Lease(services.buckets.data, job, services.settings.lease_seconds) as held:
                while waiting(services):
                    Round(services, job, held).run()
        except Conflict as busy:
            if lease.read(services.buckets.data)[0] is None:
                continue
            LOG.info("%s: it will take in what waits", busy)
            return
        if not waiting(services):
            return


def waiting(services: Services) -> bool:
    """Whether an upload has no outcome, or somebody asked for a training."""
    return bool(services.receipts.open()) or orders.waiting(services.buckets.data)


class Round:
    """One pass over what waits now.

    Args:
        services: what the steps work with.
        job: the job's name, under which its log is found.
        held: the lease, checked before anything that others see.
    """

    def __init__(self, services: Services, job: str, held: Lease) -> None:
        self._services = services
        self._held = held
        self._log = RunLog(services.buckets.data, job)

    def run(self) -> None:
        """Ingest, and train if there is anything to train on; every receipt gets its outcome."""
        receipts = self._begin()
        requests = self._requests(bool(receipts))
        try:
            self._work(receipts, requests)
        except (SystemExit, Unavailable, LeaseLost) as interrupted:
            self._give_attempts_back()
            self._log.finish("interrupted", str(interrupted))
            raise
        except TrainingError as error:
            self._close(self._still_open(), "kept", f"taken in, and no version could be trained: {error}")
        except DropfitError as error:
            LOG.exception("the round failed")
            self._close(self._still_open(), "failed", str(error))
        for request in requests:
            orders.done(self._services.buckets.data, request)

    def _work(self, receipts: list[Receipt], requests: list[TrainRequest]) -> None:
        taken = self._ingest(receipts)
        if not requests and self._services.settings.training == "static":
            self._close(taken, "recorded", "training=static: `dropfit train` trains on it")
        elif taken or requests:
            self._train(taken, requests[0].objects if requests else ())
        else:
            self._log.finish("nothing", "no upload could be taken in")

    def _requests(self, uploads: bool) -> list[TrainRequest]:
        """Which orders this round fills: all that want the window, or else the oldest that names its uploads.

        New uploads come first: a training on named uploads says nothing about them.
        """
        pending = orders.pending(self._services.buckets.data)
        whole = [request for request in pending if not request.objects]
        return whole if whole or uploads else pending[:1]

    def _begin(self) -> list[Receipt]:
        """Count the attempt on everything that waits; what was begun too often without an outcome has failed."""
        services = self._services
        most = services.settings.max_attempts
        begun = []
        for receipt in services.receipts.open():
            if receipt.attempts >= most:
                reason = f"{most} jobs ended without an outcome; the logs of retrain-* say why"
                services.receipts.advance(receipt, state="failed", reason=reason, code="crashed", attempts=0)
            else:
                begun.append(services.receipts.advance(receipt, attempts=receipt.attempts + 1))
        self._log.run.receipts = [r.id for r in begun]
        return begun

    def _ingest(self, receipts: list[Receipt]) -> list[Receipt]:
        services = self._services
        with self._log.step("ingest") as detail:
            done = [intake.ingest(services, r) if r.accepted is None else r for r in receipts]
            taken = [r for r in done if r.state == "accepted"]
            detail["files"] = {state: sum(r.state == state for r in done) for state in {r.state for r in done}}
            detail["rows"] = sum(r.accepted.rows for r in taken if r.accepted)
            detail["rejected"] = sum(r.accepted.rejected for r in taken if r.accepted)
        return taken

    def _train(self, taken: list[Receipt], objects: tuple[str, ...]) -> None:
        services, log = self._services, self._log
        since = services.registry.current()
        inputs = intake.window(services, objects)
        if not inputs:
            named = f" among {', '.join(objects)}" if objects else ""
            raise TrainingError(f"no upload{named} fits the present problem.py")
        used = {r.id for r in inputs}
        self._settle([r for r in taken if r.id not in used], "recorded", "taken in; newer uploads fill the window")
        taken = [r for r in inputs if r.state in ("accepted", "recorded")]
        version = log.run.version = steps.version_id(services, inputs)
        if since.pointer is not None and since.pointer.version == version:
            steps.repair_view(services)
            self._close(taken, "promoted", "this very version is served already", version)
            return
        manifest, rows = self._version(version, inputs)
        report = steps.judge(services, manifest)
        if not report.passed:
            self._close(taken, "kept", "; ".join(report.reasons), version)
            return
        with log.step("table") as detail:
            table, detail["rows"] = steps.fill_table(services, manifest, rows)
            detail["table"] = table
        with log.step("promote") as detail:
            reason = self._promote(version, table, since)
            detail["previous"] = since.pointer.version if since.pointer else ""
        self._close(taken, "kept" if reason else "promoted", reason or "; ".join(report.reasons), version)

    def _version(self, version: str, inputs: list[Receipt]) -> tuple[Manifest, Columns]:
        """Fit and export, or find what an earlier job made; with the rows it was fitted on."""
        services, log = self._services, self._log
        manifest = steps.existing(services, version)
        with log.step("train") as detail:
            rows, duplicates = intake.accepted_rows(services, inputs)
            detail.update(rows=length(rows), duplicates=duplicates)
            if manifest is None:
                trained = steps.fit(services, rows)
                detail.update(metrics=trained.metrics, constant=trained.constant)
        with log.step("export") as detail:
            if manifest is None:
                manifest = steps.publish(services, version, inputs, trained, duplicates)
            detail.update(version=version, bytes=manifest.model.size, differing=manifest.parity.differing)
        return manifest, rows

    def _promote(self, version: str, table: str, since: Current) -> str:
        """The commit; returns why not, when the pointer was moved by somebody else meanwhile."""
        self._held.check()
        try:
            self._services.registry.promote(version, table, since)
        except Conflict:
            return "the pointer was moved while this version was in training; it was left where it is"
        finally:
            steps.repair_view(self._services)
        return ""

    def _close(self, receipts: list[Receipt], outcome: State, reason: str, version: str = "") -> None:
        """Write the outcome into the receipts, then into the run."""
        self._settle(receipts, outcome, reason, version)
        self._log.finish(outcome, reason)
        LOG.info("%s %s: %s", outcome, version, reason)

    def _settle(self, receipts: list[Receipt], state: State, reason: str, version: str = "") -> None:
        for receipt in receipts:
            self._services.receipts.advance(receipt, state=state, reason=reason, code="", version=version, attempts=0)

    def _still_open(self) -> list[Receipt]:
        mine = set(self._log.run.receipts)
        return [r for r in self._services.receipts.open() if r.id in mine]

    def _give_attempts_back(self) -> None:
        """An interruption is not the upload's fault."""
        try:
            for receipt in self._still_open():
                self._services.receipts.advance(receipt, attempts=max(0, receipt.attempts - 1))
        except DropfitError as error:
            LOG.warning("the attempts stay counted: %s", error)


if __name__ == "__main__":
    sys.exit(main())
