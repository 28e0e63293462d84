# SPDX-License-Identifier: Apache-2.0
"""Wherever a run dies, the world is wholly old or wholly new and nothing is lost: a short pass of `make torture`."""

from __future__ import annotations

import random
from collections.abc import Iterator
from pathlib import Path

import faults
import kills
import pytest
import worlds
from herd import Ended, Herd
from worlds import clean_environment

from localcloud.cloud import LocalCloud

SEED = 7


@pytest.fixture(scope="module")
def herd(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Herd]:
    with Herd(tmp_path_factory.mktemp("herd"), clean_environment()) as found:
        yield found


@pytest.fixture(autouse=True)
def _slack(monkeypatch: pytest.MonkeyPatch) -> None:
    """A lease is renewed every ten seconds: on a busy machine a living job's may last ten more, and not two."""
    monkeypatch.setitem(worlds.IMPATIENT, "DROPFIT_LEASE_SECONDS", "20")


@pytest.fixture
def quiet(cloud: LocalCloud, cloud_environment: dict[str, str]) -> LocalCloud:
    """The session's cloud, whose sweeper and events concern other buckets than those of these worlds."""
    return cloud


@pytest.mark.verify
def test_a_run_that_dies_at_any_call_leaves_an_old_or_a_new_world_and_loses_nothing(
    quiet: LocalCloud, herd: Herd
) -> None:
    figure = faults.run(quiet, herd, 6, SEED)
    assert figure.ok, figure.failures
    assert (figure.numbers["points"], figure.numbers["mixed"], figure.numbers["lost"]) == (6, 0, 0)


@pytest.mark.verify
@pytest.mark.timeout(1200)
def test_a_run_killed_in_any_step_or_seam_leaves_an_old_or_a_new_world_and_loses_nothing(
    quiet: LocalCloud, herd: Herd
) -> None:
    figure = kills.run(quiet, herd, 1, SEED)
    assert figure.ok, figure.failures
    assert all(figure.numbers[f"in {target}"] >= 1 for target in kills.TARGETS)
    assert figure.numbers["expired"] > 0


def test_every_call_has_a_point_before_and_one_after_it() -> None:
    points = faults.choose({"first": 100, "over": 100}, 0, random.Random(1))  # noqa: S311
    assert {(p.call, p.when) for p in points if p.how == "exit"} == {
        (call, when) for call in range(100) for when in ("before", "after")
    }
    assert sum(p.scene == "first" for p in points) == sum(p.scene == "over" for p in points)
    assert all(faults.point(str(p)) == p for p in points)


def test_a_kill_counts_only_when_it_struck_inside_its_step() -> None:
    def at(*told: str, status: int = -9) -> bool:
        return kills.hit("train", kills.Verdict(Ended(status, told, Path("log"))))

    assert at("begin train")
    assert not at("begin train", "end train")
    assert not at("begin train", "end train", "begin export")
    assert not at("begin train", status=0)
