# SPDX-License-Identifier: Apache-2.0
"""The pointer moves a hundred times under load: no error, and no reply that mixes two versions.

.venv/bin/python tests/torture swaps --seed 7

Every instance that is asked for was answered by both versions beforehand, outside the server; only those on which
they differ are asked. Between the swaps versions are broken, and at the end storage goes away.
"""

from __future__ import annotations

import random
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from http.client import HTTPException
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from door import Deployment, Door, Reply, asked, deploy, opened
from foretelling import Answers, foretold
from worlds import Figure, quiet_cloud

from dropfit import storage
from dropfit.pointer import CURRENT, Served
from localcloud import flights

QUICK = {"DROPFIT_POINTER_SECONDS": "0.1"}
PATIENCE = 60.0
STORAGES = 120.0
"""Seconds until a storage that is down must be told of: Google's client tries again for 60."""
LEAK = 20 * 1024**2


@dataclass
class Load:
    """Clients that ask until the block ends, each on its own connection; every reply is held to what was foretold.

    Attributes:
        replies: so many were right, by version.
        sources: how many instances came from where.
        wrong: what was not right.
        seconds: of every request.
        last: the version of the newest reply, by client.
    """

    door: Door
    answers: Answers
    clients: int
    seed: int
    replies: Counter[str] = field(default_factory=Counter)
    sources: Counter[str] = field(default_factory=Counter)
    wrong: list[str] = field(default_factory=list)
    seconds: list[float] = field(default_factory=list)
    last: dict[int, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._stop = threading.Event()
        self._threads = [threading.Thread(target=self._ask, args=(number,)) for number in range(self.clients)]

    def __enter__(self) -> Load:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join()

    def seen(self, served: str) -> bool:
        """Whether every client has been answered by this version in time."""
        deadline = time.monotonic() + PATIENCE
        while time.monotonic() < deadline:
            if [*self.last.values()] == [served] * self.clients:
                return True
            time.sleep(0.01)
        return False

    def _ask(self, number: int) -> None:
        dice, line = random.Random(self.seed + number), self.door.line()  # noqa: S311
        hits = range(self.answers.hits)
        misses = range(self.answers.hits, len(self.answers.instances))
        while not self._stop.is_set():
            places = [
                dice.choice(hits if dice.random() < 0.9 else misses) for _ in range(dice.choice([1, 1, 1, 8, 64]))
            ]
            body = {"instances": [self.answers.instances[place] for place in places]}
            try:
                reply = asked(line, "POST", "/predict", msgspec.json.encode(body), {"X-Deadline-Ms": "20000"})
                self._judge(places, reply)
                self.last[number] = reply.json().get("model_version", "") if reply.status == 200 else ""
            except (OSError, HTTPException) as error:
                self.wrong.append(f"no reply: {error!r}")
            self._stop.wait(0.005)

    def _judge(self, places: Sequence[int], reply: Reply) -> None:
        self.seconds.append(reply.seconds)
        if reply.status != 200:
            self.wrong.append(f"{reply.status} {reply.body[:300]!r}")
            return
        document = reply.json()
        served, predictions = document["model_version"], document["predictions"]
        if mixed := self.mixed(served, places, predictions):
            self.wrong.append(mixed)
        self.replies[served] += 1

    def mixed(self, served: str, places: Sequence[int], predictions: Sequence[Mapping[str, Any]]) -> str:
        """Which answer is not the one of the version that the reply names, if any."""
        told = self.answers.told.get(served)
        if told is None or len(predictions) != len(places):
            return f"a reply of {served!r} with {len(predictions)} predictions for {len(places)}"
        for place, prediction in zip(places, predictions, strict=True):
            self.sources[prediction["source"]] += 1
            value, best = told[place]
            shares = prediction.get("probabilities")
            found = max(shares.values()) if shares else prediction["value"]
            if (shares and prediction["value"] != value) or abs(found - best) > 1e-6:
                asked_for = self.answers.instances[place]
                return f"{served} says {prediction} for {asked_for}, and its own model {value} {best}"
            if place < self.answers.hits and prediction["source"] != "table":
                return f"{served} holds {self.answers.instances[place]}, which came from {prediction['source']}"
        return ""


def swap(
    deployment: Deployment,
    door: Door,
    versions: Sequence[str],
    seed: int,
    times: int,
    breakages: bool = True,
    tick: Callable[[], None] = lambda: None,
) -> tuple[dict[str, float], list[str]]:
    """Move the pointer so many times under load; the numbers, and what was not as it must be."""
    answers = foretold(deployment, versions, seed)
    numbers: dict[str, float] = {}
    failures: list[str] = []
    steady, files = Load(door, answers, 3, seed), set(door.files())
    with steady:
        time.sleep(min(3.0, times / 20))
    usage: list[tuple[int, int]] = []
    with Load(door, answers, 3, seed) as load:
        for number in range(times):
            target = versions[number % 2]
            _point(deployment, target)
            if not load.seen(target):
                failures.append(f"swap {number} to {target} was not seen within {PATIENCE:g} s")
            if number in (times // 10, times - 1):
                usage.append((door.memory(), door.descriptors()))
            tick()
        swapped = list(load.seconds)
        if breakages:
            failures += broken(deployment, door, load, versions)
    failures += steady.wrong + load.wrong
    if left := set(door.files()) - files:
        failures.append(f"files left behind: {left}")
    grown, opened_more = (usage[-1][0] - usage[0][0]), usage[-1][1] - usage[0][1]
    if grown > LEAK:
        failures.append(f"the server's memory grew by {grown / 1024**2:.0f} MB from the tenth swap to the last")
    if opened_more > 8:  # connections to storage come and go
        failures.append(f"{opened_more} more files are open after the last swap than after the tenth")
    if set(load.replies) != set(versions) or not load.sources["table"] or not load.sources["model"]:
        failures.append(f"not everything was asked: {load.replies} {load.sources}")
    numbers |= {"swaps": times, "requests": sum(load.replies.values()) + sum(steady.replies.values())}
    numbers |= {"grown_mb": grown / 1024**2, "descriptors": opened_more, "instances": sum(load.sources.values())}
    numbers |= {f"{source}_instances": count for source, count in load.sources.items()}
    numbers |= {"p99_ms": _p99(swapped), "steady_p99_ms": _p99(steady.seconds)}
    return numbers, failures


def _p99(seconds: Sequence[float]) -> float:
    return float(np.quantile(seconds, 0.99)) * 1000 if seconds else float("nan")


def _point(deployment: Deployment, target: str) -> None:
    registry = deployment.registry
    done, since = registry.completed(target), registry.current()
    before = since.pointer.version if since.pointer else ""
    registry.move(Served(target, done.table, before, registry.seal(target), snapshot=done.snapshot), since, "torture")


def broken(deployment: Deployment, door: Door, load: Load, versions: Sequence[str]) -> list[str]:
    """Break what comes next in every way; what was not as it must be."""
    models, registry, failures = storage.connect(deployment.settings).models, deployment.registry, []
    good, other = versions
    _point(deployment, good)
    assert load.seen(good)
    manifest, done = registry.manifest(other), registry.completed(other)
    assert done.snapshot is not None
    flipped = {"artifact": manifest.model.name, "snapshot": done.snapshot.name, "encoding": manifest.encoding.name}
    for what, name in flipped.items():
        whole = models.read(name)
        models.put(name, whole[:-9] + bytes([whole[-9] ^ 1]) + whole[-8:])
        _point(deployment, other)
        failures += _serves_on(what, door, load, good, "hash")
        models.put(name, whole)
        _point(deployment, good)
        failures += _mended(what, door, load, good)
    pointer = models.read(CURRENT)
    nothing = msgspec.json.encode(
        msgspec.structs.replace(registry.pointer(), version="20990101T000000-deadbeef", snapshot=None)
    )
    for what, payload, says in (
        ("pointer to nothing", nothing, "20990101T000000-deadbeef"),
        ("pointer torn", pointer[: len(pointer) // 2], "not readable"),
        ("pointer of zeros", bytes(len(pointer)), "not readable"),
    ):
        models.put(CURRENT, payload)
        failures += _serves_on(what, door, load, good, says)
        models.put(CURRENT, pointer)
        failures += _mended(what, door, load, good)
    models.delete(CURRENT)
    failures += _serves_on("pointer gone", door, load, good, "gone")
    models.put(CURRENT, pointer)
    return failures + _mended("pointer gone", door, load, good)


def _trouble(door: Door) -> str:
    line = door.line()
    ready, card = asked(line, "GET", "/ready", None), asked(line, "GET", "/model", None)
    line.close()
    if ready.status != 200 or card.status != 200:
        return f"/ready {ready.status}, /model {card.status}"
    told, again = ready.json().get("trouble") or "", card.json().get("trouble") or ""
    return told if bool(told) == bool(again) else ""


def _serves_on(what: str, door: Door, load: Load, good: str, says: str) -> list[str]:
    """While something is broken: the reason is told, and the old version answers."""
    deadline = time.monotonic() + PATIENCE
    while says not in (told := _trouble(door)):
        if time.monotonic() > deadline:
            return [f"{what}: /ready and /model do not tell why, but {told!r}"]
        time.sleep(0.05)
    return [] if load.seen(good) else [f"{what}: {good} did not serve on: {load.last}"]


def _mended(what: str, door: Door, load: Load, good: str) -> list[str]:
    deadline = time.monotonic() + PATIENCE
    while (told := _trouble(door)) and time.monotonic() < deadline:
        time.sleep(0.05)
    return [f"{what}: mended, and still {told!r}"] if told or not load.seen(good) else []


def run(count: int, seed: int, tick: Callable[..., None] = lambda: None) -> Figure:
    """So many swaps between January's and February's flights, then storage goes away."""
    with quiet_cloud() as cloud, tempfile.TemporaryDirectory(prefix="dropfit-torture-") as place:
        deployment = deploy(cloud.env)
        versions = deployment.upload(*flights.months(Path(place) / "files", (1, 2)))
        with opened(deployment, Path(place) / "server", **QUICK) as door:
            numbers, failures = swap(deployment, door, versions, seed, count, tick=tick)
            cloud.stop()
            failures += without_storage(door, foretold_once(door))
    sentence = (
        f"{numbers['swaps']:.0f} swaps under three clients, {numbers['requests']:,.0f} requests of "
        f"{numbers['instances']:,.0f} instances ({numbers.get('table_instances', 0):,.0f} from the table, "
        f"{numbers.get('model_instances', 0):,.0f} from the model): {len(failures)} errors, mixed replies or broken "
        f"versions served; memory grew by {numbers['grown_mb']:.0f} MB, open files by {numbers['descriptors']:.0f}; "
        f"p99 {numbers['p99_ms']:.0f} ms, steady {numbers['steady_p99_ms']:.0f} ms"
    )
    return Figure("swaps", sentence, not failures, seed, numbers, tuple(failures[:50]))


def foretold_once(door: Door) -> Reply:
    """What is answered to the document's example, as a first reply."""
    example = door.ask("/openapi.json").json()["components"]["schemas"]["Instance"]["examples"][0]
    return door.ask(body={"instances": [example]})


def without_storage(door: Door, before: Reply) -> list[str]:
    """Storage is down: the loaded version answers as before, and says that it cannot look."""
    deadline = time.monotonic() + STORAGES
    while not _trouble(door):
        if foretold_once(door).json() != before.json():
            return ["storage down: another answer"]
        if time.monotonic() > deadline:
            return ["storage down: /ready and /model do not tell"]
        time.sleep(0.1)
    after = foretold_once(door)
    return [] if after.status == 200 and after.json() == before.json() else [f"storage down: {after.body[:300]!r}"]
