# SPDX-License-Identifier: Apache-2.0
"""Each guard is switched off in turn, and at least one test must turn red: a guard that no test misses is none.

This module is a pytest plugin too. With a guard's name in GUARD_OFF it puts a no-op in the guard's place before any
test is imported:

    GUARD_OFF=lease PYTHONPATH=tests/torture .venv/bin/python -m pytest -p guards tests/unit/test_lease.py
    .venv/bin/python tests/torture/guards.py               all of them
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from typing import Any, NamedTuple

import msgspec
import pytest
import red

VARIABLE = "GUARD_OFF"
Patch = pytest.MonkeyPatch


class Guard(NamedTuple):
    """Something that keeps a fault from doing harm.

    Attributes:
        off: puts a no-op in its place.
        tests: files, or tests in them, of which one must then turn red.
    """

    off: Callable[[Patch], None]
    tests: tuple[str, ...]


def claim(patch: Patch) -> None:
    """A receipt is created only where there is none."""
    from dropfit.receipts import Receipts, name

    real = Receipts._write

    def written(self: Any, receipt: Any, generation: int) -> None:
        stored = self._bucket.stat(name(receipt.id))
        real(self, receipt, generation or (stored.generation if stored else 0))

    patch.setattr(Receipts, "_write", written)


def receipt_swap(patch: Patch) -> None:
    """A receipt is advanced only from what was read."""
    from dropfit.receipts import Receipts

    real = Receipts.advance

    def advanced(self: Any, receipt: Any, **changes: Any) -> Any:
        self._generations.pop(receipt.id, None)
        return real(self, receipt, **changes)

    patch.setattr(Receipts, "advance", advanced)


def lease(patch: Patch) -> None:
    """One job at a time."""
    from dropfit import lease

    patch.setattr(lease, "_expired", lambda *given: True)


def lease_check(patch: Patch) -> None:
    """A job that was not heard of for too long writes nothing more."""
    from dropfit.lease import Lease

    patch.setattr(Lease, "check", lambda self: None)


def server_clock(patch: Patch) -> None:
    """Storage's clock decides whether a lease has expired."""
    import datetime as dt

    from dropfit import lease

    patch.setattr(lease, "server_time", lambda bucket: dt.datetime.now(dt.UTC))


def compare_and_swap(patch: Patch) -> None:
    """The pointer is swapped only from what was read."""
    from dropfit.pointer import PointerFile

    real = PointerFile._swap

    def swapped(self: Any, since: Any, *given: Any, **named: Any) -> Any:
        return real(self, msgspec.structs.replace(since, generation=self.generation()), *given, **named)

    patch.setattr(PointerFile, "_swap", swapped)


def precondition(patch: Patch) -> None:
    """Storage is asked to write only over the generation that was read."""
    from dropfit.storage import Bucket

    real = Bucket._upload

    def uploaded(self: Any, *given: Any, **named: Any) -> Any:
        named.pop("if_generation_match", None)
        return real(self, *given, **named)

    patch.setattr(Bucket, "_upload", uploaded)


def epoch(patch: Patch) -> None:
    """A training that is resumed knows whether a person has moved the pointer since it began."""
    from dropfit import attempts

    real = attempts.begin

    def begun(bucket: Any, version: str, epoch: int) -> Any:
        return msgspec.structs.replace(real(bucket, version, epoch), epoch=epoch)

    patch.setattr(attempts, "begin", begun)


def pin(patch: Patch) -> None:
    """A pinned version is not replaced by a training."""
    from dropfit import pointer

    real = pointer.PointerFile.current

    def current(self: Any) -> Any:
        found = real(self)
        if found.pointer is None:
            return found
        return msgspec.structs.replace(found, pointer=msgspec.structs.replace(found.pointer, pinned=False))

    patch.setattr(pointer.PointerFile, "current", current)


def hold(patch: Patch) -> None:
    """With publish=hold a version waits for a person."""
    from beam_pipelines import steps

    patch.setattr(steps, "waits", lambda *given: "")


def artifact_hash(patch: Patch) -> None:
    """An artifact is read only when its size and hash are as declared."""
    from dropfit import artifacts

    patch.setattr(artifacts, "read", lambda bucket, artifact: bucket.read(artifact.name))


def file_hash(patch: Patch) -> None:
    """A snapshot is opened, and pointed at, only when its hash is as declared."""
    from dropfit import artifacts

    patch.setattr(artifacts, "_check", lambda artifact, stream: None)


def own_files(patch: Patch) -> None:
    """A version's files lie in its own folder, whoever names them."""
    from dropfit import artifacts

    patch.setattr(artifacts, "check_name", lambda version, artifact: None)


def manifest_hash(patch: Patch) -> None:
    """A manifest is believed only when its hash is the pointer's."""
    from dropfit import artifacts

    patch.setattr(artifacts, "read_sealed", lambda bucket, stored, expected="": bucket.read(stored.name))


def gate(patch: Patch) -> None:
    """A model that is not good enough is not served."""
    from dropfit import gate

    real = gate.judge
    patch.setattr(gate, "judge", lambda *given, **named: msgspec.structs.replace(real(*given, **named), passed=True))


def parity(patch: Patch) -> None:
    """An export that differs from its estimator is refused."""
    from dropfit import export

    patch.setattr(export, "ACCEPTED", 2.0)


def table_verify(patch: Patch) -> None:
    """A table is served only when it holds each key once, predicted by its own version."""
    from dropfit import tables

    patch.setattr(tables, "verify", lambda *given: None)


def table_proof(patch: Patch) -> None:
    """A table is served only when a sample of it is what its model says."""
    from beam_pipelines import table
    from dropfit.verdict import Sampled

    patch.setattr(table, "_proved", lambda warehouse, version, name, rows: Sampled(rows, 0, 0.0))


def table_shift(patch: Patch) -> None:
    """A table whose predictions lie far from the served ones waits for a person."""
    from dropfit.verdict import Shift

    patch.setattr(Shift, "breaks", False)


def refill_swap(patch: Patch) -> None:
    """A table is exchanged only in the pointer that was read."""
    from dropfit.pointer import PointerFile

    real = PointerFile.refill

    def refilled(self: Any, table: str, since: Any, *given: Any) -> Any:
        return real(self, table, msgspec.structs.replace(since, generation=self.generation()), *given)

    patch.setattr(PointerFile, "refill", refilled)


def completeness(patch: Patch) -> None:
    """A person's decision points at whole versions only."""
    from dropfit import whole
    from dropfit.operations import Desk

    patch.setattr(whole, "check", lambda registry, warehouse, target: None)
    patch.setattr(Desk, "_still_complete", lambda self, *given: None)


def references(patch: Patch) -> None:
    """What is referred to is not collected."""
    from dropfit.collect import Collector

    patch.setattr(Collector, "_needed", lambda self: set())
    patch.setattr(Collector, "_served", lambda self: {})


def view(patch: Patch) -> None:
    """The view is repaired from the pointer."""
    from dropfit import view

    patch.setattr(view, "repair", lambda *given: "")


def sweeper(patch: Patch) -> None:
    """An upload whose event was lost is found."""
    from dropfit import sweep

    patch.setattr(sweep, "register_missing", lambda *given: 0)


def attempt_limit(patch: Patch) -> None:
    """What kills its job each time is not tried for ever."""
    from beam_pipelines.round import Round

    real = Round.__init__

    def made(self: Any, *given: Any, **named: Any) -> None:
        real(self, *given, **named)
        self._most = 10**9

    patch.setattr(Round, "__init__", made)


HISTORIES = "tests/torture/test_histories.py::test_"
RESUMED = HISTORIES + "a_training_that_was_broken_off_anywhere_and_resumed_does_not_undo_a_rollback"


def _unit(*names: str) -> tuple[str, ...]:
    return tuple(f"tests/unit/test_{name}.py" for name in names)


GUARDS: dict[str, Guard] = {
    "claim": Guard(claim, _unit("receipts")),
    "receipt swap": Guard(receipt_swap, _unit("receipts")),
    "lease": Guard(lease, _unit("lease")),
    "lease check": Guard(lease_check, _unit("lease")),
    "server clock": Guard(server_clock, _unit("lease")),
    "compare-and-swap": Guard(compare_and_swap, _unit("registry")),
    "precondition": Guard(precondition, _unit("storage")),
    "epoch": Guard(epoch, (RESUMED,)),
    "pin": Guard(pin, _unit("operations")),
    "hold": Guard(hold, (HISTORIES + "with_hold_a_version_waits_until_a_person_approves_it",)),
    "artifact hash": Guard(artifact_hash, _unit("registry")),
    "file hash": Guard(file_hash, _unit("registry", "operations")),
    "own files": Guard(own_files, _unit("registry", "operations")),
    "manifest hash": Guard(manifest_hash, _unit("registry", "version")),
    "gate": Guard(gate, _unit("gate")),
    "parity": Guard(parity, _unit("export")),
    "table verify": Guard(table_verify, _unit("tables")),
    "table proof": Guard(table_proof, _unit("refresh")),
    "table shift": Guard(table_shift, _unit("refresh")),
    "refill swap": Guard(refill_swap, _unit("refresh")),
    "completeness": Guard(completeness, _unit("operations")),
    "references": Guard(references, _unit("collect")),
    "view": Guard(view, (RESUMED,)),
    "sweeper": Guard(sweeper, _unit("sweep")),
    "attempt limit": Guard(attempt_limit, (HISTORIES + "a_file_that_kills_its_jobs_is_given_up",)),
}


def pytest_configure(config: pytest.Config) -> None:
    """Switch off the guard that the environment names, for this process."""
    wanted = os.environ.get(VARIABLE)
    if wanted:
        GUARDS[wanted].off(Patch())


def first_red(guard: str) -> str:
    """The first test that fails with a guard off (or with none off, for an empty name); empty when all pass."""
    tests = GUARDS[guard].tests if guard else tuple(dict.fromkeys(t for one in GUARDS.values() for t in one.tests))
    search = os.pathsep.join((str(red.ROOT / "tests" / "torture"), os.environ.get("PYTHONPATH", "")))
    return red.first(
        tests, arguments=("-p", "guards", "-o", "timeout=300"), **{VARIABLE: guard, "PYTHONPATH": search}
    )


def run(workers: int = 2) -> red.Figure:
    """Switch each guard off in a process of its own.

    Args:
        workers: processes at a time.
    """
    tests = {name: guard.tests for name, guard in GUARDS.items()}
    return red.each("guards", "when off", tests, first_red, workers=workers)


def main() -> int:
    """Print which test misses which guard."""
    figure = run()
    print(figure.table)
    print(figure.sentence)
    return not figure.ok


if __name__ == "__main__":
    sys.exit(main())
