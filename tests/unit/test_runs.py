# SPDX-License-Identifier: Apache-2.0
"""A run is told while it happens, and telling it never stops it."""

from __future__ import annotations

import pytest
from fake_bucket import FakeBucket

from dropfit import runs
from dropfit.errors import ArtifactError
from dropfit.runs import RunLog


def test_a_step_is_told_while_it_goes_on_and_when_it_has_ended(bucket: FakeBucket) -> None:
    log = RunLog(bucket, "job")
    with log.step("ingest") as detail:
        (told,) = runs.latest(bucket, 1)
        assert [(s.name, s.seconds) for s in told.steps] == [("ingest", None)]
        detail["rows"] = 7
    log.finish("kept", "not better")
    (told,) = runs.latest(bucket, 1)
    assert told.steps[0].detail == {"rows": 7}
    assert told.steps[0].seconds is not None
    assert told.steps[0].seconds >= 0
    assert (told.outcome, told.reason, told.job) == ("kept", "not better", "job")
    assert told.finished is not None
    assert told.finished >= told.started


def test_a_step_that_raises_is_told_as_far_as_it_came(bucket: FakeBucket) -> None:
    log = RunLog(bucket, "job")

    def fail() -> None:
        with log.step("train") as detail:
            detail["rows"] = 7
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    (told,) = runs.latest(bucket, 1)
    assert told.steps[0].seconds is not None
    assert told.steps[0].detail == {"rows": 7}
    assert told.finished is None


def test_the_parts_of_a_step_are_timed_beside_what_it_found(bucket: FakeBucket) -> None:
    log = RunLog(bucket, "job")
    with log.step("train") as detail:
        detail["rows"] = 7
        for name in ("read", "fit", "fit"):
            with runs.part(name):
                pass
    with runs.part("fit"):
        pass
    log.finish("kept")
    (told,) = runs.latest(bucket, 1)
    assert told.steps[0].detail == {"rows": 7, "seconds": pytest.approx({"read": 0.0, "fit": 0.0}, abs=0.1)}


def test_two_steps_do_not_share_their_details(bucket: FakeBucket) -> None:
    log = RunLog(bucket, "job")
    with log.step("ingest") as detail:
        detail["rows"] = 7
    with log.step("train"):
        pass
    assert [s.detail for s in runs.latest(bucket, 1)[0].steps] == [{"rows": 7}, {}]


def test_a_record_that_cannot_be_written_costs_the_story_and_not_the_run(bucket: FakeBucket) -> None:
    log = RunLog(bucket, "job")
    bucket.fail("put", times=1)
    with log.step("ingest") as detail:
        detail["rows"] = 7
    log.finish("promoted")
    assert runs.latest(bucket, 1)[0].steps[0].detail == {"rows": 7}


def test_the_newest_runs_come_last(bucket: FakeBucket) -> None:
    for name in ("zebra", "ape", "mole"):
        RunLog(bucket, name).finish("nothing")
    assert [r.job for r in runs.latest(bucket, 2)] == ["ape", "mole"]


def test_an_unreadable_record_is_refused(bucket: FakeBucket) -> None:
    bucket.put(runs.PREFIX + "x.json", b"{}")
    with pytest.raises(ArtifactError):
        runs.latest(bucket, 1)
