# SPDX-License-Identifier: Apache-2.0
"""Fill the served version's table anew, without a training: keys that came since are predicted by that version.

A refresh decides nothing about versions. It fills another table of the served one and exchanges the two in the
pointer by compare-and-swap, and only while that version is served from the table that it was to replace. Killed
anywhere it leaves the old world; repeated, it finds the table that it filled before.
"""

from __future__ import annotations

import datetime as dt
import logging
from typing import TYPE_CHECKING, NamedTuple

import msgspec

from beam_pipelines import intake, steps, table
from beam_pipelines.intake import Services
from dropfit import documents, refreshes
from dropfit.encoding import length, sha256
from dropfit.errors import ArtifactError, Conflict, DropfitError, LeaseLost, NotFound, Unavailable, disk
from dropfit.lease import Lease
from dropfit.manifest import FOLDER, Manifest, table_name
from dropfit.pointer import Current, Pointer
from dropfit.refreshes import RefreshRequest
from dropfit.runs import RunLog
from dropfit.verdict import Completed

if TYPE_CHECKING:
    from beam_pipelines.table import Wanted

LOG = logging.getLogger(__name__)
TRIES = 5
"""A person may pin the served version meanwhile, any number of times: its table is exchanged all the same."""
FORCE = "`dropfit batch refresh --force` serves it all the same"


class Ended(NamedTuple):
    """How a refresh ended: outcome and reason as a run has them."""

    outcome: str
    reason: str


class Refresh:
    """One refresh, for all orders that wait.

    Args:
        services: what the steps work with.
        job: the job's name, under which its log is found.
        held: the lease, checked before the pointer is swapped.
    """

    def __init__(self, services: Services, job: str, held: Lease) -> None:
        self._services = services
        self._registry = services.registry
        self._data = services.buckets.data
        self._held = held
        self._log = RunLog(services.buckets.data, job)

    def run(self) -> None:
        """Carry the orders out, and say how it ended."""
        begun = self._begin()
        if not begun:
            return
        try:
            with disk():
                ended = self._work(any(request.force for request in begun))
        except (SystemExit, Unavailable, LeaseLost) as interrupted:
            if not isinstance(interrupted, LeaseLost):
                self._give_attempts_back(begun)
            self._log.finish("interrupted", str(interrupted))
            raise
        except DropfitError as error:
            LOG.exception("the refresh failed")
            ended = Ended("failed", f"{error}; what was served is served on")
        self._close(begun, ended)

    def _begin(self) -> list[RefreshRequest]:
        """The orders, each with one attempt more; what was begun too often has failed."""
        begun, most = [], self._services.settings.max_attempts
        for request in refreshes.pending(self._data):
            if request.attempts < most:
                begun.append(refreshes.count(self._data, request, request.attempts + 1))
            else:
                crashed = f"{most} jobs ended without an outcome; `dropfit logs retrain` says why"
                self._close([request], Ended("failed", f"the refresh ordered at {request.asked_at}: {crashed}"))
        return begun

    def _close(self, requests: list[RefreshRequest], ended: Ended) -> None:
        """Say how it ended, and that somebody has looked: the schedule does not ask for the same again at once."""
        if ended.outcome != "refreshed":
            self._look()
        self._log.finish(*ended)
        for request in requests:
            refreshes.done(self._data, request)

    def _look(self) -> None:
        try:
            pointer = self._registry.current().pointer
            if pointer is not None:
                done = self._registry.completed(pointer.version)
                self._registry.complete(msgspec.structs.replace(done, looked_at=dt.datetime.now(dt.UTC)))
        except (ArtifactError, NotFound) as error:
            LOG.warning("that somebody looked is not noted: %s", error)

    def _give_attempts_back(self, begun: list[RefreshRequest]) -> None:
        try:
            for request in begun:
                refreshes.count(self._data, request, request.attempts - 1)
        except DropfitError as error:
            LOG.warning("the attempts stay counted: %s", error)

    def _work(self, force: bool) -> Ended:
        since = self._registry.current()
        if since.pointer is None:
            return Ended("nothing", "nothing is served yet: the first training fills the first table")
        steps.repair_view(self._services)
        manifest = self._registry.manifest(since.pointer.version, since.pointer.manifest_sha256)
        self._log.run.version = manifest.version
        served = self._settled(manifest, since.pointer)
        with self._log.step("universe") as detail:
            found = self._wanted(manifest)
            same = served is not None and served.universe == found.digest
            detail.update(keys=int(found.digest.split("-")[0]), before=served.rows if served else 0, same=same)
        if same and not force:
            return Ended("nothing", f"no key has come or gone: {since.pointer.table} holds all {detail['keys']:,}")
        filling = f"r{sha256(f'{found.digest} {since.pointer.table}'.encode())[:8]}"
        with self._log.step("table") as detail:
            done = self._filled(manifest, found, filling, since)
            detail.update(table.told(self._services, done))
        if done.shift is not None and done.shift.breaks and not force:
            return Ended("held", f"{done.table} has a {done.shift.told}: it is not served; {FORCE}")
        with self._log.step("swap") as detail:
            detail["previous"] = since.pointer.table
            return self._swapped(done, since.pointer)

    def _wanted(self, manifest: Manifest) -> Wanted:
        """The keys of all accepted rows, whatever the window is.

        Raises:
            ArtifactError: when problem.py has another key than the served version.
        """
        key, problem = manifest.contract.key, self._services.problem
        if [f for f in problem.features if f.name in key] != [f for f in manifest.contract.features if f.name in key]:
            raise ArtifactError(
                f"problem.py describes the key ({', '.join(key)}) otherwise than {manifest.version} does, so "
                "accepted rows say nothing about its table: `dropfit train`"
            )
        inputs = intake.window(self._services, everything=True).inputs
        rows, _ = intake.accepted_rows(self._services, inputs)
        if not length(rows):
            raise ArtifactError("there are no accepted rows any more: a table of no keys serves nobody")
        return table.wanted(self._services, manifest, rows)

    def _filled(self, manifest: Manifest, found: Wanted, filling: str, since: Current) -> Completed:
        """Another table of the version, made now or by a job that was killed before it could serve it."""
        note = f"{FOLDER}/{manifest.version}/{filling}.json"
        done = self._noted(note)
        try:
            if done is None:
                raise NotFound("no job has come so far")
            table.check(self._services, manifest, done)
        except (NotFound, Conflict, ArtifactError):
            name = table_name(manifest.version, filling)
            if name in _pointed_at(since):
                raise Conflict(f"{name} is served, or may be again: it is not filled") from None
            done = table.made(self._services, manifest, found, name, filling)
        moved = table.shifted(self._services, manifest, done.table, since)
        done = msgspec.structs.replace(done, shift=moved)
        self._data.put(note, documents.encode(done), "application/json")
        return done

    def _noted(self, note: str) -> Completed | None:
        try:
            return documents.decode(self._data.read(note), Completed, documents.SMALL)
        except (NotFound, ArtifactError):
            return None

    def _settled(self, manifest: Manifest, pointer: Pointer) -> Completed | None:
        """What is known of the served table; a job may have been killed between the swap and its note of it."""
        try:
            done = self._registry.completed(manifest.version)
        except NotFound:
            return None
        if done.table == pointer.table:
            return done
        noted = self._noted(f"{FOLDER}/{manifest.version}/{pointer.table.rsplit('__', 1)[-1]}.json")
        if noted is None or noted.table != pointer.table:
            return None
        self._registry.complete(noted)
        return noted

    def _swapped(self, done: Completed, base: Pointer) -> Ended:
        """The commit. Dropped when another version, or another table, is served by now."""
        self._held.check()
        for _ in range(TRIES):
            now = self._registry.current()
            if now.pointer is None or (now.pointer.version, now.pointer.table) != (base.version, base.table):
                served = now.pointer.version if now.pointer else "nothing"
                return Ended("kept", f"{served} is served by now: {done.table} of {done.version} is dropped")
            try:
                self._registry.refill(done.table, now, done.snapshot)
            except Conflict as moved:
                LOG.info("%s; looking again", moved)
                continue
            self._registry.complete(done)
            steps.repair_view(self._services)
            return Ended("refreshed", f"{done.table} is served: {done.rows:,} keys, predicted by {done.version}")
        raise Unavailable("the pointer was moved by others each time")


def _pointed_at(since: Current) -> set[str]:
    """The tables that somebody is, or may again be, served from."""
    pointer = since.pointer
    return {pointer.table, *(served.table for served in pointer.trail)} if pointer else set()
