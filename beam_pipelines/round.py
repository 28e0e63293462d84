# SPDX-License-Identifier: Apache-2.0
"""One pass of the retraining job over what waits now: every upload in it gets its outcome."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import TYPE_CHECKING

from beam_pipelines import intake, ready, steps, table
from beam_pipelines.intake import Services
from dropfit import attempts, orders
from dropfit.attempts import Attempts
from dropfit.encoding import length
from dropfit.errors import Conflict, DropfitError, LeaseLost, TrainingError, Unavailable, disk
from dropfit.lease import Lease
from dropfit.orders import TrainRequest
from dropfit.receipts import Receipt, State
from dropfit.runs import RunLog

if TYPE_CHECKING:
    from beam_pipelines.judging import Plan
    from dropfit.contract import Columns
    from dropfit.manifest import Manifest
    from dropfit.pointer import Current
    from dropfit.verdict import Completed

LOG = logging.getLogger(__name__)
MOVED = "the pointer was moved while this version was in training (a rollback, a pin, an approval) and stays"
ANEW = "`dropfit train` compares it with what is served now"
CRASHED = "jobs ended without an outcome; `dropfit logs retrain` says why, and `dropfit train` tries again"


class Round:
    """One pass over what waits now.

    Args:
        services: what the steps work with.
        job: the job's name, under which its log is found.
        held: the lease, checked before an outcome is written and before the promotion.
    """

    def __init__(self, services: Services, job: str, held: Lease) -> None:
        self._services = services
        self._data = services.buckets.data
        self._most = services.settings.max_attempts
        self._held = held
        self._log = RunLog(services.buckets.data, job)

    def run(self) -> None:
        """Ingest, and train if there is anything to train on."""
        requests = self._requests()
        receipts = self._begin(requests)
        try:
            with disk():
                self._work(receipts, requests)
        except LeaseLost as lost:
            self._log.finish("interrupted", str(lost))
            raise
        except (SystemExit, Unavailable) as interrupted:
            self._give_attempts_back()
            self._log.finish("interrupted", str(interrupted))
            raise
        except TrainingError as error:
            self._close(self._still_open(), "kept", f"taken in, and no version could be trained: {error}")
        except DropfitError as error:
            LOG.exception("the round failed")
            self._close(self._still_open(), "failed", str(error))
        for request in requests:
            orders.done(self._data, request)
        if self._log.run.version:
            # Last of all: until its outcomes are written a training is not over, and a job that is killed before
            # must not begin it anew, in an epoch in which a person may have rolled it back.
            attempts.forget(self._data, self._log.run.version)

    def _work(self, receipts: list[Receipt], requests: list[TrainRequest]) -> None:
        taken = self._ingest(receipts)
        if not requests and self._services.settings.training == "static":
            self._close(taken, "recorded", "training=static: `dropfit train` trains on it")
        elif taken or requests:
            self._train(taken, requests)
        else:
            self._log.finish("nothing", "no upload could be taken in")

    def _requests(self) -> list[TrainRequest]:
        """Which orders this round fills: all that want the window, or else the oldest that names its uploads.

        New uploads come first: a training on named uploads says nothing about them.
        """
        pending = []
        for request in orders.pending(self._data):
            if request.attempts < self._most:
                pending.append(request)
            else:
                self._log.finish("failed", f"the training ordered at {request.asked_at}: {self._most} {CRASHED}")
                orders.done(self._data, request)
        whole = [request for request in pending if not request.objects]
        chosen = whole if whole or self._services.receipts.any_open() else pending[:1]
        return [orders.begin(self._data, request) for request in chosen]

    def _begin(self, requests: list[TrainRequest]) -> list[Receipt]:
        """What waits, the least tried first; what was begun too often without an outcome has failed."""
        receipts = self._services.receipts
        for request in requests:
            for receipt in receipts.all():
                if receipt.state == "failed" and (not request.objects or receipt.object.name in request.objects):
                    state: State = "accepted" if receipt.accepted else "received"
                    receipts.advance(receipt, state=state, attempts=0, code="", reason="")
        begun = []
        for receipt in receipts.open():
            if receipt.attempts < self._most:
                begun.append(receipt)
            else:
                self._settle([receipt], "failed", f"{self._most} {CRASHED}", code="crashed")
        self._log.run.receipts = [r.id for r in begun]
        return sorted(begun, key=lambda r: r.attempts)

    def _ingest(self, receipts: list[Receipt]) -> list[Receipt]:
        """Read what has not been read, each with its own attempt counted, so that one cannot fail the others."""
        done = []
        self._services.known.expire()
        with self._log.step("ingest") as detail:
            for receipt in receipts:
                if receipt.state == "received":
                    receipt = self._services.receipts.advance(receipt, attempts=receipt.attempts + 1)
                    receipt = intake.ingest(self._services, receipt)
                done.append(receipt)
            taken = [r for r in done if r.state == "accepted"]
            detail["files"] = {state: sum(r.state == state for r in done) for state in {r.state for r in done}}
            detail["rows"] = sum(r.accepted.rows for r in taken if r.accepted)
            detail["rejected"] = sum(r.accepted.rejected for r in taken if r.accepted)
        return taken

    def _train(self, taken: list[Receipt], requests: list[TrainRequest]) -> None:
        services, log = self._services, self._log
        ready.prepare(services.problem)
        since = services.registry.current()
        if since.pointer is not None:
            services.registry.remember()
        steps.repair_view(services)  # an earlier job may have been killed between its promotion and the view
        inputs, left_out, idle = intake.window(services, requests[0].objects if requests else ())
        self._settle_unused(taken, inputs, left_out, idle)
        if not inputs:
            raise TrainingError(f"no upload fits the present problem.py: {left_out or 'none was taken in'}")
        concerned = [r for r in inputs if r.state != "promoted"]
        version = log.run.version = steps.version_id(services, inputs)
        if since.pointer is not None and since.pointer.version == version:
            steps.tell(services, version)
            self._close(concerned, "promoted", "this very version is served already", version)
            return
        begun = self._begun(version, since, again=any(r.attempts == 1 for r in requests))
        if begun.begun >= self._most:
            self._close(concerned, "failed", f"{self._most} {CRASHED}", version, "crashed")
            return
        if begun.epoch != _epoch(since):
            self._close(concerned, "kept", f"{MOVED}; {ANEW}", version)
            return
        outcome, reason = self._make(version, inputs, left_out, since)
        steps.tell(services, version)
        self._close(concerned, outcome, reason, version)

    def _begun(self, version: str, since: Current, again: bool) -> Attempts:
        """How the version's training stood before this attempt; a person's order tries it anew."""
        if again:
            attempts.forget(self._data, version)
        return attempts.begin(self._data, version, _epoch(since))

    def _settle_unused(
        self, taken: Sequence[Receipt], inputs: Sequence[Receipt], left_out: dict[str, str], idle: dict[str, str]
    ) -> None:
        """Outcomes of uploads that were taken in and are no part of this training."""
        used, names = {r.id for r in inputs}, {r.object.name for r in inputs}
        for receipt in taken:
            if receipt.object.name in left_out:
                self._settle([receipt], "kept", left_out[receipt.object.name], code="unfit")
            elif receipt.object.name in idle:
                self._settle([receipt], "recorded", idle[receipt.object.name], code="repeats")
            elif receipt.id not in used and receipt.object.name in names:
                self._settle([receipt], "superseded", "a newer generation of it is trained on", code="superseded")
            elif receipt.id not in used:
                self._settle([receipt], "recorded", "taken in; it is outside the training window")

    def _make(
        self, version: str, inputs: list[Receipt], left_out: dict[str, str], since: Current
    ) -> tuple[State, str]:
        """Fit, judge, fill the table and promote; returns the outcome and why."""
        services, log = self._services, self._log
        manifest, rows, planned = self._version(version, inputs, left_out, since)
        with log.step("gate") as detail:
            report = steps.judge(services, manifest, rows, planned)
            detail.update(passed=report.passed, champion=report.champion, reasons=list(report.reasons))
        if not report.passed:
            return "kept", "; ".join(report.reasons)
        with log.step("table") as detail:
            done = table.fill(services, manifest, rows, since)
            detail.update(table.told(services, done))
        if waits := steps.waits(services, since, report, done):
            return "held", f"{waits}; {'; '.join(report.reasons)}"
        with log.step("promote") as detail:
            detail["previous"] = since.pointer.version if since.pointer else ""
            reason = self._promote(done, since)
        return ("kept", reason) if reason else ("promoted", "; ".join(report.reasons))

    def _version(
        self, version: str, inputs: list[Receipt], left_out: dict[str, str], since: Current
    ) -> tuple[Manifest, Columns, Plan]:
        """Fit and export, or find what an earlier job made; with its rows, and what it is to be judged by."""
        services, log = self._services, self._log
        manifest = steps.existing(services, version)
        with log.step("train") as detail:
            rows, duplicates = intake.accepted_rows(services, inputs)
            detail.update(rows=length(rows), duplicates=duplicates, left_out=left_out)
            planned = steps.plan(services, rows, since)
            if manifest is None:
                trained = steps.fit(services, rows, planned)
                detail.update(metrics=trained.metrics, constant=trained.constant)
        with log.step("export") as detail:
            if manifest is None:
                manifest = steps.publish(services, version, inputs, trained, duplicates, left_out)
            detail.update(version=version, bytes=manifest.model.size, differing=manifest.parity.differing)
        return manifest, rows, planned

    def _promote(self, done: Completed, since: Current) -> str:
        """The commit; returns why not, when the pointer was moved by somebody else meanwhile."""
        self._held.check()
        try:
            registry = self._services.registry
            seal = registry.seal(done.version)
            registry.promote(done.version, done.table, since, self._log.run.job, seal, done.snapshot)
        except Conflict:
            return f"{MOVED}; {ANEW}"
        finally:
            steps.repair_view(self._services)
        return ""

    def _close(self, receipts: list[Receipt], outcome: State, reason: str, version: str = "", code: str = "") -> None:
        """Write the outcome into the run, then into the receipts, whose outcome ends every waiting for it."""
        self._log.finish(outcome, reason)
        self._settle(receipts, outcome, reason, version, code)

    def _settle(self, receipts: list[Receipt], state: State, reason: str, version: str = "", code: str = "") -> None:
        for receipt in receipts:
            self._held.check()
            try:
                self._services.receipts.advance(
                    receipt, state=state, reason=reason, code=code, version=version, attempts=0
                )
            except Conflict as error:
                raise LeaseLost(f"another job has written the receipt of {receipt.object.name}") from error

    def _still_open(self) -> list[Receipt]:
        return [r for r in self._services.receipts.open() if r.id in self._log.run.receipts]

    def _give_attempts_back(self) -> None:
        """An interruption is not the upload's fault."""
        try:
            if self._log.run.version:
                attempts.give_back(self._data, self._log.run.version)
            for receipt in self._still_open():
                self._services.receipts.advance(receipt, attempts=max(0, receipt.attempts - 1))
        except DropfitError as error:
            LOG.warning("the attempts stay counted: %s", error)


def _epoch(since: Current) -> int:
    return since.pointer.epoch if since.pointer else 0
