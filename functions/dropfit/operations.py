# SPDX-License-Identifier: Apache-2.0
"""What a person decides about the served version: roll back, pin, approve, reject.

The pointer is swapped first and alone decides; the view follows it. BigQuery being down delays the view, never a
rollback.
"""

from __future__ import annotations

import datetime as dt
import logging
from typing import TYPE_CHECKING

import msgspec

from . import view, whole
from .errors import ArtifactError, Conflict, DropfitError, NotFound, Unavailable
from .manifest import table_name
from .pointer import Current, Pointer, Served
from .receipts import Receipts, State
from .registry import Registry
from .verdict import Decision

if TYPE_CHECKING:
    from .warehouse import Warehouse

LOG = logging.getLogger(__name__)
TRIES = 5
"""A training may move the pointer while a person does: the person's word is tried again."""


class Moved(msgspec.Struct, frozen=True):
    """What became of a person's decision.

    Attributes:
        before: the version served until now, empty when the pointer told none.
        pointer: the pointer now.
        warnings: what could not be done at once, and who makes up for it.
    """

    before: str
    pointer: Pointer
    warnings: tuple[str, ...] = ()


class Desk:
    """Where a person's decisions are carried out.

    Args:
        registry: versions and the pointer.
        receipts: of the uploads, whose outcome an approval changes.
        warehouse: the dataset of the tables.
        by: who decides.
    """

    def __init__(self, registry: Registry, receipts: Receipts, warehouse: Warehouse, by: str) -> None:
        self._registry = registry
        self._receipts = receipts
        self._warehouse = warehouse
        self._by = by

    def rollback(self, version: str = "") -> Moved:
        """Serve an older version again, model and table together.

        Args:
            version: which; the one served before the present one when empty.

        Raises:
            NotFound: when there is no such version, or none was served before.
            ArtifactError: when its files or its table are not whole.
        """
        return self._move(version, pinned=None)

    def pin(self, version: str = "") -> Moved:
        """Hold the served version, or the one named, against trainings.

        Raises:
            NotFound, ArtifactError: as of `rollback`.
        """
        return self._move(version, pinned=True)

    def unpin(self) -> Moved:
        """Let trainings promote again.

        Raises:
            NotFound: when nothing is served.
        """
        return self._move("", pinned=False)

    def approve(self, version: str, anyway: bool = False) -> Moved:
        """Serve a version that has passed the gate and waits.

        Args:
            version: which.
            anyway: although another version is served than the one it was compared with.

        Raises:
            NotFound: when there is no such version.
            Conflict: when it did not pass the gate, has no table, or was judged against another version than the
                served one; or when the served version is pinned.
        """
        since = self._registry.current()
        target = self._approvable(version, since, anyway)
        whole.check(self._registry, self._warehouse, target)
        pointer = self._registry.move(target, since, self._by)
        self._still_complete(pointer, since)
        self._say(version, approved=True)
        self._settle(version, "promoted", f"approved by {self._by}")
        return Moved(since.pointer.version if since.pointer else "", pointer, self._point_view())

    def reject(self, version: str, reason: str = "") -> None:
        """Say that a version that waits is not to be served.

        Raises:
            NotFound: when there is no such version.
            Conflict: when it is served, or does not wait.
        """
        self._registry.manifest(version)
        pointer = self._registry.current().pointer
        if pointer is not None and pointer.version == version:
            raise Conflict(f"{version} is served: `dropfit rollback` takes it back")
        report = self._registry.report(version) if self._registry.is_complete(version) else None
        if report is None or not report.passed:
            raise Conflict(f"{version} does not wait for anybody: `dropfit why {version}`")
        self._say(version, approved=False, reason=reason)
        self._settle(version, "kept", f"rejected by {self._by}{': ' if reason else ''}{reason}")

    def _move(self, version: str, pinned: bool | None) -> Moved:
        """Swap the pointer to a version; `pinned` None is a rollback, else the served version when none is named."""
        for _ in range(TRIES):
            since = self._look()
            target = self._target(version, since, back=pinned is None)
            if since.pointer is None or target.version != since.pointer.version:
                whole.check(self._registry, self._warehouse, target)
            try:
                # A rollback leaves a pin as it is: a person who pinned does not want trainings to serve anything.
                pin = pinned if pinned is not None else since.pointer is not None and since.pointer.pinned
                pointer = self._registry.move(target, since, self._by, pin)
            except Conflict as moved:
                LOG.warning("%s; trying again", moved)
                continue
            self._still_complete(pointer, since)
            return Moved(since.pointer.version if since.pointer else "", pointer, self._point_view())
        raise Unavailable("the pointer was moved by others each time; try again")

    def _look(self) -> Current:
        """The pointer; when it is not readable, its generation, over which a rollback may write."""
        try:
            return self._registry.current()
        except ArtifactError as broken:
            LOG.warning("%s", broken)
            return Current(None, self._registry.generation())

    def _target(self, version: str, since: Current, back: bool) -> Served:
        pointer = since.pointer
        if not version:
            if pointer is None and not since.generation and not self._registry.was_lost():
                raise NotFound("no version has been promoted yet")
            if pointer is None:
                raise NotFound("the pointer tells no version: name one of `dropfit versions`")
            if not back:
                return pointer.as_served()
            if not pointer.previous:
                raise NotFound(f"nothing was served before {pointer.version}: name one of `dropfit versions`")
            version = pointer.previous
        if pointer is not None and version == pointer.version:
            return pointer.as_served()
        known = {served.version: served for served in (pointer.trail if pointer else ())}
        if version in known:
            return known[version]
        return self._unserved(version, pointer.version if pointer else "")

    def _approvable(self, version: str, since: Current, anyway: bool) -> Served:
        manifest, pointer = self._registry.manifest(version), since.pointer
        served = pointer.version if pointer else ""
        try:
            report = self._registry.report(manifest.version)
        except NotFound as error:
            raise Conflict(f"{version} has not been judged yet") from error
        if not report.passed:
            raise Conflict(f"{version} did not pass the gate: {'; '.join(report.reasons)}")
        if served == version:
            raise Conflict(f"{version} is served already")
        if pointer is not None and pointer.pinned:
            raise Conflict(f"{served} is pinned by {pointer.by}: `dropfit unpin` first")
        if report.champion != served and not anyway:
            raise Conflict(
                f"{version} was compared with {report.champion or 'nothing'}, and {served or 'nothing'} is served "
                "now: `dropfit train` compares anew, or approve it with --anyway"
            )
        return self._unserved(version, served)

    def _unserved(self, version: str, previous: str) -> Served:
        """What serving a version takes that the pointer does not remember; it is not checked yet."""
        try:
            done = self._registry.completed(version)
        except NotFound:  # it is not complete, as the check will say
            return Served(version, table_name(version), previous, self._registry.seal(version))
        return Served(version, done.table, previous, self._registry.seal(version), snapshot=done.snapshot)

    def _still_complete(self, pointer: Pointer, since: Current) -> None:
        """Take the swap back when `dropfit gc` began to remove the version just before it."""
        try:
            self._registry.completed(pointer.version)
        except NotFound as error:
            if since.pointer is not None:
                back = Current(pointer, self._registry.generation())
                self._registry.move(since.pointer.as_served(), back, self._by, since.pointer.pinned)
            raise Conflict(f"{pointer.version} was being removed by `dropfit gc`; nothing was changed") from error

    def _point_view(self) -> tuple[str, ...]:
        try:
            view.repair(self._registry, self._warehouse)
        except DropfitError as error:
            return (f"the view does not follow yet ({error}); the next sweep or training mends it",)
        return ()

    def _say(self, version: str, approved: bool, reason: str = "") -> None:
        now = dt.datetime.now(dt.UTC)
        self._registry.decide(Decision(version=version, approved=approved, by=self._by, at=now, reason=reason))

    def _settle(self, version: str, state: State, reason: str) -> None:
        """The outcome of the uploads that the version was trained on and that waited for it."""
        for used in self._registry.manifest(version).inputs:
            try:
                receipt = self._receipts.get(used.receipt)
                if receipt.version == version and receipt.state in ("held", "kept"):
                    self._receipts.advance(receipt, state=state, reason=reason)
            except (NotFound, Conflict) as error:
                LOG.warning("the outcome of %s was not written: %s", used.object, error)


def settle_decided(registry: Registry, receipts: Receipts) -> int:
    """Write the outcomes that a decision broke off before writing; returns how many.

    Raises:
        Unavailable: when storage does not answer.
    """
    settled = 0
    for receipt in receipts.held():
        pointer, decision = registry.current().pointer, registry.decision(receipt.version)
        served = {pointer.version, *(s.version for s in pointer.trail)} if pointer else set()
        if receipt.version in served:
            receipts.advance(receipt, state="promoted", reason="approved")
        elif decision is not None and not decision.approved:
            receipts.advance(receipt, state="kept", reason=f"rejected by {decision.by}")
        else:
            continue
        settled += 1
    return settled
