# SPDX-License-Identifier: Apache-2.0
"""The predict function under abuse, through its real door: short passes of `make torture`, and that they can fail."""

from __future__ import annotations

import asyncio
import json
import os
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import deadline
import fuzz
import msgspec
import pytest
import slow
import swaps
from door import Deployment, Door, Reply, deploy, opened
from fakes import settings, tea
from foretelling import Answers
from mutants import Mutant, Mutants
from worlds import OURS, as_csv, seasons

from dropfit import openapi
from dropfit.replies import problem_json
from localcloud.cloud import LocalCloud

SEED = 7
BODY_SECONDS = 1.0
SETTINGS = {**fuzz.PATIENT, **swaps.QUICK, "DROPFIT_BODY_SECONDS": f"{BODY_SECONDS:g}"}


@pytest.fixture(scope="module")
def cloud_env(cloud: LocalCloud) -> Iterator[dict[str, str]]:
    """This process talks to the session's local cloud for as long as the module runs."""
    before = {name: value for name, value in os.environ.items() if name.startswith(OURS)}
    os.environ.update(cloud.env)
    yield dict(cloud.env)
    for name in [name for name in os.environ if name.startswith(OURS)]:
        del os.environ[name]
    os.environ.update(before)


@pytest.fixture(scope="module")
def birds(cloud_env: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> tuple[Deployment, list[str]]:
    """Penguins with two versions, the second of which is served."""
    folder, deployment = tmp_path_factory.mktemp("birds"), deploy(cloud_env, DROPFIT_PROBLEM="penguins:problem")
    files = []
    for season, rows in [*seasons().items()][:2]:
        files.append(folder / f"{season}.csv")
        files[-1].write_bytes(as_csv(rows))
    return deployment, deployment.upload(*files)


@pytest.fixture(scope="module")
def door(birds: tuple[Deployment, list[str]], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Door]:
    with opened(birds[0], tmp_path_factory.mktemp("server"), **SETTINGS) as running:
        yield running


@pytest.mark.verify
def test_a_thousand_odd_requests_get_no_5xx_no_trace_no_echo_and_nothing_against_the_document(
    door: Door, tmp_path: Path
) -> None:
    numbers, failures = fuzz.prove(door, 1000, 0.15, SEED, tmp_path, deadlines=False)
    assert failures == []
    assert numbers["schemathesis"] > 50
    for status in (200, 400, 404, 405, 413, 415):
        assert numbers[f"status_{status}"] > 0


def test_half_open_bodies_are_told_408_and_closed_and_good_requests_do_not_notice(door: Door) -> None:
    for _ in range(3):  # a busy machine may hold up one request of a try; a server that starves them holds up each
        numbers, failures = slow.starve(door, 80, 80, 40, BODY_SECONDS)
        late = [failure for failure in failures if failure.startswith(slow.WAITED)]
        if not late or late != failures:
            break
    assert failures == []
    assert numbers["held"] == 200


@pytest.mark.verify
def test_many_of_the_largest_bodies_at_once_stay_within_a_bound(door: Door) -> None:
    numbers, failures = slow.swell(door, 40)
    assert failures == []
    assert numbers["bodies"] == 40


@pytest.mark.verify
def test_no_reply_mixes_two_versions_and_a_broken_one_never_answers(
    door: Door, birds: tuple[Deployment, list[str]]
) -> None:
    deployment, versions = birds
    numbers, failures = swaps.swap(deployment, door, versions, SEED, 10)
    assert failures == []
    assert numbers["table_instances"] > numbers["model_instances"] > 0


@pytest.mark.verify
def test_a_model_of_20_ms_a_row_delays_nobody_who_does_not_need_it(cloud_env: dict[str, str], tmp_path: Path) -> None:
    deployment = deploy(cloud_env, DROPFIT_PROBLEM="heavy:problem")
    row = deadline.heavy(deployment)
    with opened(deployment, tmp_path) as running:
        numbers, failures = deadline.contend(running, row, 3.0)
    assert failures == []
    assert numbers["beside"] > 50
    # On the event loop every quick request would wait for a row: the model is never idle. What a row takes is what it
    # takes meanwhile, on a machine that may have other things to do.
    assert numbers["beside_p50_ms"] < max(numbers["row_ms"], numbers["slow_p50_ms"]) / 2


DOCUMENT = json.loads(msgspec.json.encode(openapi.document(tea().contract, settings=settings(), version="v1")))
ASKED = Mutant("valid", body=b"{}")
RIGHT = {"predictions": [{"value": 0.5, "source": "model", "policy": []}], "model_version": "v1"}


def reply(status: int, document: Any, kind: str = "application/json") -> Reply:
    body = document if isinstance(document, bytes) else json.dumps(document).encode()
    return Reply(status, {"content-type": kind}, body)


def test_what_is_as_the_document_says_is_right() -> None:
    judge, problem = fuzz.Judge(DOCUMENT), problem_json(400, "why", {"instances[0].leaf": "missing"})
    assert judge.wrong(ASKED, reply(200, RIGHT)) == ""
    assert judge.wrong(ASKED, reply(400, problem.body, problem.content_type)) == ""


@pytest.mark.parametrize(
    ("given", "says"),
    [
        (reply(500, {}), "500"),
        (reply(200, b"Traceback (most recent call last)"), "trace"),
        (reply(201, RIGHT), "not in the document"),
        (reply(200, RIGHT, "text/html"), "text/html"),
        (reply(200, b"{"), "no JSON"),
        (reply(200, {**RIGHT, "predictions": [{"value": 7, "source": "model", "policy": []}]}), "breaks the schema"),
        (reply(200, json.dumps(RIGHT).replace("0.5", "NaN").encode()), "NaN"),
        (reply(400, {"detail": "no"}, "application/problem+json"), "breaks the schema"),
        (reply(400, problem_json(400, "not cAnArY").body, "application/problem+json"), "comes back"),
        (reply(400, b'{"detail": "c\\u0041nary"}', "application/problem+json"), "comes back"),
    ],
)
def test_a_reply_that_is_wrong_is_found(given: Reply, says: str) -> None:
    assert says in fuzz.Judge(DOCUMENT).wrong(ASKED, given)


def test_every_kind_of_mutant_is_made_and_a_seed_replays_them() -> None:
    first, again = Mutants(DOCUMENT, SEED, 1000), Mutants(DOCUMENT, SEED, 1000)
    made = [first.next() for _ in range(500)]
    assert made == [again.next() for _ in range(500)]
    assert len({mutant.kind for mutant in made}) == 14


def test_a_reply_of_two_versions_is_found() -> None:
    answers = Answers([{"a": 1}, {"a": 2}], 1, {"A": [(0.1, 0.1), (0.2, 0.2)], "B": [(0.3, 0.3), (0.4, 0.4)]})
    load = swaps.Load(Door.__new__(Door), answers, 1, SEED)
    hit, miss = {"value": 0.1, "source": "table"}, {"value": 0.2, "source": "model"}
    assert load.mixed("A", [0, 1], [hit, miss]) == ""
    assert "A says" in load.mixed("A", [0, 1], [hit, {"value": 0.4, "source": "model"}])
    assert "B says" in load.mixed("B", [0, 1], [hit, miss])
    assert "came from model" in load.mixed("A", [0], [{"value": 0.1, "source": "model"}])
    assert "'C'" in load.mixed("C", [0], [hit])
    assert "1 predictions for 2" in load.mixed("A", [0, 1], [hit])


def test_a_server_that_holds_half_open_bodies_for_ever_is_found() -> None:
    async def held() -> slow.Held:
        async def stuck(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await reader.read()
            writer.close()

        async with await asyncio.start_server(stuck, "127.0.0.1", 0) as server:
            return await slow.hold(server.sockets[0].getsockname()[1], 2, 1, 1, patience=0.2)

    found = asyncio.run(held())
    assert (found.statuses, found.closed) == (Counter({0: 4}), 0)
