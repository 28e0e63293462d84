# SPDX-License-Identifier: Apache-2.0
"""The written invariants hold over seeded histories, and in every history that once broke one."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import histories
import pytest
from happenings import Op
from histories import LAST, History
from stage import staged

USUAL: dict[str, Any] = {"keep_versions": 2, "gc_grace_seconds": 600.0}


@pytest.fixture(autouse=True)
def _stage() -> Iterator[None]:
    with staged():
        yield


def arrival(name: str, kind: str = "good") -> tuple[Op, ...]:
    return Op("upload", f"{name} {kind}"), Op("deliver", count=LAST), Op("job")


def inside(what: str, at: int, count: int = 1, after: bool = False) -> Op:
    return Op(what, count=count, inside="job", at=at, after=after)


def play(*ops: Op, **changes: Any) -> histories.Told:
    return histories.play(History(0, USUAL | changes, ops))


@pytest.mark.verify
def test_the_invariants_hold_over_a_hundred_and_fifty_histories() -> None:
    figure = histories.run(150, seed=1)
    assert figure.violations == ()
    assert figure.histories == 150
    assert figure.moves > figure.histories  # much is served in them
    assert figure.crashes > figure.histories  # and much goes wrong


def test_a_seed_tells_the_same_history_each_time() -> None:
    first, second = (histories.play(histories.history(7)) for _ in range(2))
    assert [line.split("requests/")[0] for line in first.log] == [line.split("requests/")[0] for line in second.log]
    assert len(first.log) > 50


def test_a_broken_history_is_cut_down_to_what_breaks_it(monkeypatch: pytest.MonkeyPatch) -> None:
    def no_upload_of_b(watch: Any) -> None:
        if any(u.object.name == "b.csv" for u in watch.world.uploads.values()):
            raise histories.Violation("b.csv was uploaded")

    monkeypatch.setattr(histories, "ENDS", (no_upload_of_b,))
    long = History(3, USUAL, (*arrival("a.csv"), Op("sweep"), *arrival("b.csv"), Op("rollback"), *arrival("c.csv")))
    assert histories.shrink(long).ops == (Op("upload", "b.csv good"),)
    assert "b.csv was uploaded" in histories.report(long)


@pytest.mark.parametrize("what", ["crash", "terminate", "fault"])
def test_a_training_that_was_broken_off_anywhere_and_resumed_does_not_undo_a_rollback(what: str) -> None:
    for at in range(5, 80):
        third = (inside(what, at), *arrival("c.csv"))
        told = play(*arrival("a.csv"), *arrival("b.csv"), *third, Op("rollback"), Op("wait", count=300), Op("sweep"))
        assert told.violation == ""
        assert told.moves >= 3


def test_a_job_whose_clock_is_ahead_does_not_take_the_lease_of_a_living_one() -> None:
    meanwhile = [op._replace(inside="job", at=30) for op in (Op("skew", count=600), *arrival("b.csv"))]
    told = play(*meanwhile, *arrival("a.csv"))
    assert told.violation == ""
    assert told.jobs >= 2


def test_the_table_of_a_version_to_roll_back_to_is_not_loaded_again() -> None:
    again = (Op("tear"), Op("order", "a.csv"), Op("job"), Op("rollback", "named", 0))
    told = play(*arrival("a.csv"), *arrival("b.csv"), *again)
    assert told.violation == ""
    loads = [line.split()[-1] for line in told.log if "warehouse.load" in line]
    assert len(loads) == len(set(loads)) == 2


def test_a_version_that_waits_is_not_spoiled_by_a_training_that_comes_to_it_again() -> None:
    told = play(
        *arrival("a.csv"), Op("tear"), Op("replay", "a.csv"), Op("job"), Op("rollback", "named", LAST), publish="hold"
    )
    assert told.violation == ""


def test_an_upload_that_is_replayed_and_gone_does_not_bring_back_its_older_generation() -> None:
    replayed = (Op("replay", "a.csv"), Op("upload", "c.csv good"), Op("delete", "a.csv"))
    told = play(*arrival("a.csv"), *arrival("a.csv", "weak"), *replayed)
    assert told.violation == ""
    assert told.moves == 2


def test_with_hold_a_version_waits_until_a_person_approves_it() -> None:
    waits = play(*arrival("a.csv"), publish="hold")
    assert (waits.violation, waits.moves, waits.trainings) == ("", 0, 1)
    served = play(*arrival("a.csv"), Op("approve", count=LAST), publish="hold")
    assert (served.violation, served.moves) == ("", 1)


@pytest.mark.parametrize("kind", ["poison", "lethal"])
def test_a_file_that_kills_its_jobs_is_given_up(kind: str) -> None:
    told = play(*arrival("a.csv", kind), *arrival("b.csv"))
    assert told.violation == ""
    assert told.moves == 1
