# SPDX-License-Identifier: Apache-2.0
"""What waits is worked on when a person says so, without a new event and without the sweeper's pauses."""

from __future__ import annotations

import pytest
from fake_bucket import FakeBucket

from dropfit import orders
from dropfit.errors import NotFound
from dropfit.lease import Lease
from dropfit.receipts import Receipts, State, UploadedObject
from dropfit.replay import replay
from dropfit.storage import Buckets


class Launches:
    """Counts the jobs that were started."""

    def __init__(self) -> None:
        self.count = 0

    def launch(self) -> str:
        self.count += 1
        return f"job {self.count}"


def drop(buckets: Buckets, name: str = "a.csv") -> UploadedObject:
    stored = buckets.landing.put(name, b"data")
    return UploadedObject(stored.bucket, name, stored.generation)


def test_an_upload_without_a_receipt_gets_one_at_once_and_a_job(buckets: Buckets) -> None:
    uploaded, launches = drop(buckets), Launches()
    done = replay(buckets, launches)
    assert (done.registered, [r.id for r in done.waiting], done.launched) == (1, [uploaded.id], "job 1")


def test_where_nothing_waits_nothing_is_started(buckets: Buckets) -> None:
    launches = Launches()
    assert replay(buckets, launches).launched == ""
    assert launches.count == 0


def test_an_order_is_something_that_waits(buckets: Buckets) -> None:
    orders.ask(buckets.data, ())
    assert replay(buckets, Launches()).launched == "job 1"


def test_no_second_job_is_started_beside_one_at_work(buckets: Buckets) -> None:
    drop(buckets)
    launches = Launches()
    with Lease(buckets.data, "busy", 60):
        done = replay(buckets, launches)
    assert (len(done.waiting), done.launched, launches.count) == (1, "", 0)


@pytest.mark.parametrize("state", ["quarantined", "failed", "kept", "promoted", "held", "recorded", "accepted"])
def test_a_named_upload_is_taken_in_from_the_start_whatever_became_of_it(buckets: Buckets, state: State) -> None:
    uploaded = drop(buckets)
    receipts = Receipts(buckets.data)
    receipt, _ = receipts.register(uploaded)
    receipts.advance(receipt, state=state, attempts=3, reason="so", code="crashed", version="v1")
    done = replay(buckets, Launches(), "a.csv")
    (again,) = done.waiting
    assert (again.state, again.attempts, again.accepted, again.reason, again.version) == ("received", 0, None, "", "")
    assert done.launched == "job 1"


def test_of_an_overwritten_upload_the_live_generation_is_taken(buckets: Buckets) -> None:
    old = drop(buckets)
    Receipts(buckets.data).register(old)
    new = drop(buckets)
    done = replay(buckets, Launches(), "a.csv")
    assert {r.id for r in done.waiting} == {old.id, new.id}


def test_an_object_that_is_not_there_is_named(buckets: Buckets) -> None:
    with pytest.raises(NotFound, match=r"nowhere\.csv"):
        replay(buckets, Launches(), "nowhere.csv")
    assert isinstance(buckets.landing, FakeBucket)
