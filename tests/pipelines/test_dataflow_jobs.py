# SPDX-License-Identifier: Apache-2.0
"""On Dataflow there is one job for one piece of work, however often it is started."""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from standin import Batch

from beam_pipelines import runners
from dropfit import dataflow, rest
from dropfit.errors import BatchError, DropfitError, LeaseLost, Refused, Unavailable
from dropfit.settings import Settings

sys.path.append(str(Path(__file__).parents[1] / "unit"))
from dataflow_api import FakeDataflow
from here import VERSION


@pytest.fixture
def service(there: Settings, monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeDataflow]:
    """Beam's own client, and ours, speak to a Dataflow on this machine."""
    monkeypatch.setattr(dataflow, "SHORTEST", 0.002)
    monkeypatch.setattr(dataflow, "LONGEST", 0.002)
    monkeypatch.setattr(rest, "DELAY", 0.001)
    with FakeDataflow(there.project, there.region) as fake:
        yield fake


@pytest.fixture
def start(service: FakeDataflow, there: Settings, tmp_path: Path) -> Callable[..., Batch]:
    def go(name: str = VERSION, **more: Any) -> Batch:
        batch = Batch(tmp_path)
        runners.run(batch, there, name, extra=[f"--dataflow_endpoint={service.url}", "--no_auth"], **more)
        return batch

    return go


def name(there: Settings) -> str:
    return dataflow.job_name(VERSION, there.data_bucket)


def finish(job: dict[str, Any]) -> None:
    job["currentState"] = "JOB_STATE_DONE"


def test_a_job_is_submitted_and_waited_for(
    service: FakeDataflow, start: Callable[..., Batch], there: Settings
) -> None:
    service.play = finish
    assert start().built == 1
    [submitted] = service.submitted
    assert submitted["name"] == name(there)
    assert submitted["environment"]["serviceAccountEmail"] == there.worker_account
    assert [job["currentState"] for job in service.jobs] == ["JOB_STATE_DONE"]


def test_a_process_started_again_waits_for_the_job_that_is_at_work(
    service: FakeDataflow, start: Callable[..., Batch], there: Settings, caplog: pytest.LogCaptureFixture
) -> None:
    def terminated() -> None:
        raise SystemExit(143)

    with pytest.raises(SystemExit):
        start(check=terminated)
    assert [job["currentState"] for job in service.jobs] == ["JOB_STATE_PENDING"]  # it goes on
    service.play = finish
    with caplog.at_level(logging.INFO):
        assert start().built == 0
    assert len(service.submitted) == 1
    assert f"{name(there)} is at work already" in caplog.text


def test_of_two_that_submit_at_once_the_slower_waits_for_the_others_job(
    service: FakeDataflow, start: Callable[..., Batch], there: Settings
) -> None:
    def quicker(body: dict[str, Any]) -> None:
        service.add(body["name"], request="another's")

    service.on_create = quicker
    service.play = finish
    start()
    assert service.submitted == []
    assert len(service.jobs) == 1


@pytest.mark.parametrize("state", ["DONE", "FAILED", "CANCELLED"])
def test_an_earlier_job_that_has_ended_is_followed_by_a_new_one(
    service: FakeDataflow, start: Callable[..., Batch], there: Settings, state: str
) -> None:
    service.add(name(there), f"JOB_STATE_{state}")
    service.play = finish
    start()
    assert len(service.submitted) == 1


def test_a_job_that_is_being_cancelled_is_waited_out_and_followed_by_a_new_one(
    service: FakeDataflow, start: Callable[..., Batch], there: Settings
) -> None:
    service.add(name(there), "JOB_STATE_CANCELLING")

    def play(job: dict[str, Any]) -> None:
        job["currentState"] = "JOB_STATE_CANCELLED" if job["id"] == "id-0" else "JOB_STATE_DONE"

    service.play = play
    start()
    assert [job["currentState"] for job in service.jobs] == ["JOB_STATE_CANCELLED", "JOB_STATE_DONE"]


@pytest.mark.parametrize(
    ("said", "kind", "match"),
    [
        ("Traceback ...\ndropfit.errors.Unavailable: no answer [while running 'Read-3']", Unavailable, "no answer"),
        ("Traceback ...\nKeyError: 'wing' [while running 'Predict-ptransform-3']", BatchError, "KeyError: 'wing'"),
        ("Workflow failed. Causes: quota", BatchError, "quota"),
        ("", BatchError, "no reason"),
    ],
)
def test_a_job_that_fails_is_told_as_what_a_worker_raised(
    service: FakeDataflow, start: Callable[..., Batch], said: str, kind: type[DropfitError], match: str
) -> None:
    def play(job: dict[str, Any]) -> None:
        if said and job["currentState"] != "JOB_STATE_FAILED":
            service.say(job, said, "JOB_MESSAGE_ERROR")
        job["currentState"] = "JOB_STATE_FAILED"

    service.play = play
    with pytest.raises(kind, match=match):
        start()
    assert len(service.submitted) == 1


def test_a_job_that_a_person_cancels_stays_cancelled(service: FakeDataflow, start: Callable[..., Batch]) -> None:
    service.play = lambda job: job.update(currentState="JOB_STATE_CANCELLED")
    with pytest.raises(Refused, match="cancelled by somebody"):
        start()
    assert len(service.submitted) == 1


@pytest.mark.parametrize("status", [400, 403])
def test_a_job_that_dataflow_will_not_take_is_refused(
    service: FakeDataflow, start: Callable[..., Batch], monkeypatch: pytest.MonkeyPatch, status: int
) -> None:
    original = service.reply

    def reply(method: str, *rest: Any) -> Any:
        if method == "POST":
            return status, {"error": {"code": status, "message": "no quota for you"}}
        return original(method, *rest)

    monkeypatch.setattr(service, "reply", reply)
    with pytest.raises(Refused, match=r"could not be submitted: .*no quota for you"):
        start()


def test_who_has_lost_the_lease_leaves_the_job_to_the_next(
    service: FakeDataflow, start: Callable[..., Batch]
) -> None:
    def lost() -> None:
        raise LeaseLost("another job may have taken over")

    with pytest.raises(LeaseLost):
        start(check=lost)
    assert [job["currentState"] for job in service.jobs] == ["JOB_STATE_PENDING"]
