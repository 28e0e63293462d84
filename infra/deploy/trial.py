# SPDX-License-Identifier: Apache-2.0
"""A deployment tried as a person would: an upload, a training, a prediction, the way back. It knows no problem."""

from __future__ import annotations

import csv
import datetime as dt
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import msgspec

from dropfit import client, launch, lease, orders, splits, storage
from dropfit.contract import Contract, Problem, load_problem
from dropfit.errors import BadFile, BadRequest, SettingsError, Unavailable
from dropfit.follow import Follower, Moment
from dropfit.receipts import Receipts, UploadedObject
from dropfit.registry import Registry
from dropfit.settings import Settings

from .stages import Tell

PATIENCE = 45 * 60.0
"""Seconds for one training: a new trigger may miss its first event, and then a sweep finds the file."""
SWAP = 180.0
"""Seconds until predict serves what is promoted: a cold start, and a new right that Google has not heard of yet."""
LOOK = 1.0
"""Seconds between two looks at predict."""
MOST = 3
"""Instances that are predicted."""
GOOD = ("promoted", "kept", "held")


class Proof(msgspec.Struct):
    """What is known of a deployment now.

    Attributes:
        proven: what was seen to work.
        open: what could not be tried, and why.
    """

    proven: list[str] = []
    open: list[str] = []


class Trial:
    """Tries a deployment.

    Args:
        settings: where it is.
        tell: what a person reads meanwhile.
        patience: seconds for one training.
    """

    def __init__(self, settings: Settings, tell: Tell, patience: float = PATIENCE) -> None:
        self._settings, self._tell, self._patience = settings, tell, patience
        self._buckets = storage.connect(settings)
        self._registry = Registry(self._buckets.models)
        self.proof = Proof()

    def served(self) -> str:
        """The version that the pointer names, empty before the first promotion."""
        pointer = self._registry.current().pointer
        return pointer.version if pointer else ""

    def serves(self, file: Path | None = None) -> None:
        """Ready, and it predicts; without a file, the example of its own OpenAPI document.

        Raises:
            Unavailable: when it is not, or does not answer with the version that is promoted.
            BadFile: when the file holds nothing to predict.
        """
        version = self.served()
        if not version:
            self._waits()
            return
        _, reply = self._until(
            lambda: client.look(self._settings, "/ready"), lambda told: told.get("version"), version
        )
        self._proves(f"/ready says that {reply['version']} is served")
        contract = self._registry.manifest(version).contract
        wanted = instances(file, load_problem(self._settings.problem), contract) if file else self._example()
        _, reply = self._until(
            lambda: (200, client.predict(self._settings, wanted)), lambda told: told.get("model_version"), version
        )
        answers = reply["predictions"]
        if len(answers) != len(wanted):
            raise Unavailable(f"{len(wanted)} instances were asked for, and {len(answers)} answered")
        shown = ", ".join(f"{answer['value']} ({answer['source']})" for answer in answers)
        self._proves(f"{version} predicts {shown}")

    def trains(self, file: Path) -> None:
        """A file is uploaded and learned from, what comes of it is served, and the version before comes back.

        Raises:
            DropfitError: when any of this does not happen.
        """
        before = self.served()
        state = self._upload(file)
        if state == "recorded":
            state = self._order()
        self._proves(f"a training came to its end: {state}")
        self.serves(file)
        if state != "promoted":
            self.proof.open.append(f"a promotion and the way back: this training was {state}, as it may be")
        elif not before:
            self.proof.open.append("the way back: this is the first version")
        else:
            self._roll_back(before, file)

    def _upload(self, file: Path) -> str:
        """What became of the upload."""
        following = Follower(self._buckets.data, self._patience)
        name = f"smoke-{dt.datetime.now(dt.UTC):%Y%m%dT%H%M%S%f}-{file.name}"
        with file.open("rb") as stream:
            stored = self._buckets.landing.put(name, stream)
        self._tell(f"uploaded {self._buckets.landing.uri(name)}")
        last = self._follow(following.uploads([UploadedObject(stored.bucket, stored.name, stored.generation).id]))
        state = str(last.get("state"))
        if state not in (*GOOD, "recorded"):
            raise Unavailable(f"{name} was {state}: {last.get('reason')}")
        self._proves(f"an upload is noticed and taken in: {state}")
        return state

    def _order(self) -> str:
        """What came of a training that is asked for, since the upload brought nothing that was not known."""
        self._tell("its rows are known already: asking for a training")
        following = Follower(self._buckets.data, self._patience)
        request = orders.ask(self._buckets.data, ())
        if lease.read(self._buckets.data)[0] is None:
            self._tell(f"launched {launch.launcher(self._settings).launch()}")
        last = self._follow(following.run(lambda: not orders.is_waiting(self._buckets.data, request)))
        outcome = str(last.get("outcome"))
        if outcome not in GOOD:
            raise Unavailable(f"the training was {outcome}: {last.get('reason')}")
        return outcome

    def _roll_back(self, before: str, file: Path) -> None:
        from dropfit.operations import Desk
        from dropfit.warehouse import Warehouse

        desk = Desk(self._registry, Receipts(self._buckets.data), Warehouse(self._settings), "smoke test")
        moved = desk.rollback(before)
        for warning in moved.warnings:
            raise Unavailable(warning)
        self.serves(file)
        self._proves(f"the way back: {before} is served again")

    def _waits(self) -> None:
        """Before the first version predict has to answer all the same, and to say so."""
        status, _ = self._until(lambda: client.look(self._settings, "/ready"), lambda told: told.get("status"), 503)
        self._proves(f"predict answers: {status}, it waits for its first version")
        self.proof.open.append(
            "a prediction: no version is served yet; upload a file, or `dropfit approve` what waits"
        )

    def _example(self) -> list[dict[str, Any]]:
        """What the function itself gives as an example: values that its training saw."""
        _, document = client.look(self._settings, "/openapi.json")
        try:
            return [dict(document["components"]["schemas"]["Instance"]["examples"][0])]
        except (LookupError, TypeError) as error:
            raise Unavailable(f"/openapi.json has no example to ask for: {str(document)[:200]}") from error

    def _until(
        self, ask: Callable[[], tuple[int, dict[str, Any]]], part: Callable[[dict[str, Any]], Any], wanted: Any
    ) -> tuple[int, dict[str, Any]]:
        """The first answer that says what is wanted; others, and none, may come before it."""
        deadline = time.monotonic() + SWAP
        while True:
            try:
                status, reply = ask()
                if part(reply) == wanted:
                    return status, reply
                said = f"{status} {str(reply)[:300]}"
            except (Unavailable, BadRequest) as error:
                if isinstance(error, BadRequest) and error.status not in (401, 403, 404):
                    raise
                said = str(error)
            if time.monotonic() > deadline:
                raise Unavailable(f"predict did not come to {wanted} within {SWAP:.0f} s; at last: {said}")
            time.sleep(LOOK)

    def _follow(self, moments: Iterable[Moment]) -> dict[str, Any]:
        """Tell what happens; returns the end of it."""
        from dropfit import display

        last: dict[str, Any] = {}
        for moment in moments:
            what, detail = display.told(moment)
            self._tell(f"{moment.seconds:8.1f} s  {what}  {detail}".rstrip())
            if moment.what in ("outcome", "finished"):
                last = moment.detail
        return last

    def _proves(self, what: str) -> None:
        self.proof.proven.append(what)
        self._tell(f"ok: {what}")


def instances(file: Path, problem: Problem, contract: Contract) -> list[dict[str, Any]]:
    """The first rows of a file as a request has them.

    Args:
        file: of any kind that may be uploaded.
        problem: knows how a file becomes features.
        contract: of the version that will answer.

    Raises:
        BadFile: when no row of it could be asked for.
    """
    from dropfit.checks import check

    names = [feature.name for feature in contract.features]
    with file.open("rb") as stream:
        for split in splits.plan(stream, file.name):
            for raw in splits.read(stream, split, contract, problem.nulls):
                table = check(problem, contract, raw).table
                rows = table.select(names).slice(0, MOST).to_pylist()
                if rows:
                    return [{name: value for name, value in row.items() if value is not None} for row in rows]
    raise BadFile(f"{file.name} holds no row that could be predicted", "no-rows")


def example(problem: Problem, folder: Path) -> Path:
    """The example's data, if they are what the problem wants.

    Raises:
        SettingsError: when they are not.
    """
    from localcloud import flights

    january = flights.months(folder, (1,))[0]
    with january.open(newline="") as stream:
        header = next(csv.reader(stream))
    lacking = [column.name for column in problem.columns if column.name not in header]
    if lacking:
        raise SettingsError(
            f"{problem.name} needs a small data file of its own to be tried with: --file FILE "
            "(in the pipelines: the variable smoke_file, or SMOKE_FILE)"
        )
    return january
