# SPDX-License-Identifier: Apache-2.0
"""Dataflow's jobs: found by name, waited for through hours and faults, never cancelled."""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import requests
from dataflow_api import FakeDataflow
from fake_bucket import FakeBucket
from fakes import eventually

from dropfit import dataflow, lease, rest
from dropfit.dataflow import Job, Jobs, wait
from dropfit.errors import LeaseLost, Refused, Unavailable
from dropfit.lease import Lease

VERSION = "20130201T101112-deadbeef"
NAME = dataflow.job_name(VERSION, "data")


@pytest.fixture
def service() -> Iterator[FakeDataflow]:
    with FakeDataflow() as fake:
        yield fake


@pytest.fixture
def jobs(service: FakeDataflow, monkeypatch: pytest.MonkeyPatch) -> Jobs:
    monkeypatch.setattr(rest, "DELAY", 0.001)
    session = requests.Session()
    session.trust_env = False
    return Jobs(service.project, service.region, service.url, session)


class Time:
    """Hours that pass at once."""

    def __init__(self) -> None:
        self.now, self.waits = 0.0, list[float]()

    def sleep(self, seconds: float) -> None:
        self.now += seconds
        self.waits.append(seconds)

    def clock(self) -> float:
        return self.now


@pytest.fixture
def hours() -> Time:
    return Time()


def after(looks: int, state: str) -> Callable[[dict[str, Any]], None]:
    """A job that is in another state from the n-th look on."""
    seen = []

    def play(job: dict[str, Any]) -> None:
        seen.append(job)
        if len(seen) >= looks:
            job["currentState"] = state

    return play


def test_a_versions_job_has_a_name_that_dataflow_takes() -> None:
    assert NAME.startswith("dropfit-20130201t101112-deadbeef-")
    wanted = [VERSION, f"{VERSION}-refresh-20130301T000000", "score gs://bucket/Ein Fläche.csv", "", "x" * 500, "-a-"]
    names = [dataflow.job_name(each, "data") for each in wanted]
    assert len(set(names)) == len(wanted)
    for name in names:
        assert re.fullmatch("[a-z]([-a-z0-9]*[a-z0-9])?", name), name
        assert len(name) <= 63


def test_names_that_only_look_alike_once_cleaned_stay_apart() -> None:
    assert dataflow.job_name("a.b", "data") != dataflow.job_name("a-b", "data") != dataflow.job_name("a_b", "data")


def test_two_deployments_with_the_same_version_have_two_jobs() -> None:
    assert dataflow.job_name(VERSION, "data-a") != dataflow.job_name(VERSION, "data-b")
    assert dataflow.job_name(VERSION, "data-a") == dataflow.job_name(VERSION, "data-a")


def test_labels_are_made_of_what_labels_may_be_made_of() -> None:
    assert dataflow.label(VERSION) == VERSION.lower()
    assert dataflow.label("dropfit.problem:problem") == "dropfit-problem-problem"
    assert len(dataflow.label("x" * 99)) == 63


def test_an_active_job_is_found_by_its_name_among_others_and_over_pages(service: FakeDataflow, jobs: Jobs) -> None:
    service.add(NAME, "JOB_STATE_FAILED")
    service.add(NAME, "JOB_STATE_DONE")
    service.add("other")
    assert jobs.active(NAME) is None
    there = service.add(NAME, "JOB_STATE_QUEUED")
    assert jobs.active(NAME) == Job(there["id"], NAME, "QUEUED")


def test_a_job_is_waited_for_until_it_is_done(service: FakeDataflow, jobs: Jobs, hours: Time) -> None:
    made = service.add(NAME)
    service.play = after(400, "JOB_STATE_DONE")
    ended = wait(jobs, Job(made["id"], NAME, "PENDING"), sleep=hours.sleep, clock=hours.clock)
    assert ended.state == "DONE"
    assert hours.now > 4 * 3600
    assert hours.waits[0] <= 5
    assert 30 <= max(hours.waits) <= 60
    assert len(set(hours.waits)) > 350  # jittered
    assert {method for method, _, _ in service.asked} == {"GET"}


def test_its_states_and_messages_are_told_once_each(
    service: FakeDataflow, jobs: Jobs, hours: Time, caplog: pytest.LogCaptureFixture
) -> None:
    made = service.add(NAME, "JOB_STATE_PENDING")
    service.say(made, "Starting 3 workers")
    service.say(made, "a worker is slow", "JOB_MESSAGE_WARNING")
    steps = iter(["PENDING", "RUNNING", "RUNNING", "RUNNING", "DONE"])

    def play(job: dict[str, Any]) -> None:
        job["currentState"] = f"JOB_STATE_{next(steps)}"
        if job["currentState"] == "JOB_STATE_DONE":
            service.say(made, "Workers stopped")

    service.play = play
    with caplog.at_level(logging.INFO):
        wait(jobs, Job(made["id"], NAME, "PENDING"), sleep=hours.sleep, clock=hours.clock)
    said = [record.message for record in caplog.records]
    assert f"https://console.cloud.google.com/dataflow/jobs/r/{made['id']}?project=p-project" in said[0]
    assert said[1:] == [
        f"{NAME}: Starting 3 workers",
        f"{NAME}: a worker is slow",
        f"Dataflow job {NAME} is RUNNING",
        f"{NAME}: Workers stopped",
        f"Dataflow job {NAME} is DONE",
    ]
    assert [r.levelname for r in caplog.records if "slow" in r.message] == ["WARNING"]


@pytest.mark.parametrize("faults", [[503] * 3, [500], [429, 0, 502], [404, 404], [0]])
def test_faults_that_pass_are_waited_out(
    service: FakeDataflow, jobs: Jobs, hours: Time, faults: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rest, "PATIENCE", 0.0)
    made = service.add(NAME)
    service.faults = faults
    service.play = after(2, "JOB_STATE_DONE")
    assert wait(jobs, Job(made["id"], NAME, "RUNNING"), sleep=hours.sleep, clock=hours.clock).state == "DONE"


def test_a_service_that_is_silent_for_half_an_hour_ends_the_waiting_and_not_the_job(
    service: FakeDataflow, jobs: Jobs, hours: Time, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rest, "PATIENCE", 0.0)
    made = service.add(NAME)
    service.faults = [503] * 1000
    with pytest.raises(Unavailable, match=r"30 minutes; job .* goes on"):
        wait(jobs, Job(made["id"], NAME, "RUNNING"), sleep=hours.sleep, clock=hours.clock)
    assert 1800 < hours.now < 1900
    assert made["currentState"] == "JOB_STATE_RUNNING"


def test_a_refusal_is_not_asked_again(service: FakeDataflow, jobs: Jobs, hours: Time) -> None:
    made = service.add(NAME)
    service.faults = [403]
    with pytest.raises(Refused, match="403"):
        wait(jobs, Job(made["id"], NAME, "RUNNING"), sleep=hours.sleep, clock=hours.clock)
    assert len(service.asked) == 1


def test_a_failed_job_says_what_a_worker_raised_also_when_that_comes_late(
    service: FakeDataflow, jobs: Jobs, hours: Time
) -> None:
    made = service.add(NAME)
    looks = []

    def play(job: dict[str, Any]) -> None:
        looks.append(job)
        job["currentState"] = "JOB_STATE_FAILED"
        if len(looks) == 3:
            service.say(made, "Traceback (most recent call last): ... KeyError: 'wing'", "JOB_MESSAGE_ERROR")
            service.say(made, "Workflow failed. Causes: S05 failed", "JOB_MESSAGE_ERROR")

    service.play = play
    ended = wait(jobs, Job(made["id"], NAME, "RUNNING"), sleep=hours.sleep, clock=hours.clock)
    assert ended.state == "FAILED"
    assert ended.reason.endswith("KeyError: 'wing'")


def test_a_failed_job_without_a_reason_is_not_waited_for_for_ever(
    service: FakeDataflow, jobs: Jobs, hours: Time
) -> None:
    made = service.add(NAME, "JOB_STATE_FAILED")
    ended = wait(jobs, Job(made["id"], NAME, "RUNNING"), sleep=hours.sleep, clock=hours.clock)
    assert (ended.state, ended.reason) == ("FAILED", "")


def test_the_lease_is_renewed_while_a_job_is_waited_for(
    service: FakeDataflow, jobs: Jobs, bucket: FakeBucket, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lease, "max", lambda floor, third: 0.005, raising=False)
    made = service.add(NAME)
    with Lease(bucket, "mine", 60) as held:
        looks = []

        def sleep(seconds: float) -> None:
            """As long as it takes the lease's own thread to renew it once more."""
            before = generation(bucket)
            eventually(lambda: generation(bucket) > before)
            looks.append(seconds)

        service.play = after(20, "JOB_STATE_DONE")
        wait(jobs, Job(made["id"], NAME, "RUNNING"), held.check, sleep)
        assert len(looks) == 20
        held.check()


def generation(bucket: FakeBucket) -> int:
    stored = bucket.stat(lease.NAME)
    assert stored is not None
    return stored.generation


def test_who_has_lost_the_lease_stops_waiting_and_leaves_the_job_to_the_next(
    service: FakeDataflow, jobs: Jobs, hours: Time
) -> None:
    made = service.add(NAME)

    def lost() -> None:
        raise LeaseLost("another job may have taken over")

    with pytest.raises(LeaseLost):
        wait(jobs, Job(made["id"], NAME, "RUNNING"), lost, hours.sleep, hours.clock)
    assert made["currentState"] == "JOB_STATE_RUNNING"
    assert service.asked == []
