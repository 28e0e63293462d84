# SPDX-License-Identifier: Apache-2.0
"""One job at a time; a dead job's lease expires, and a living one's does not."""

from __future__ import annotations

import datetime as dt

import msgspec
import pytest
from fake_bucket import FakeBucket
from fakes import eventually

from dropfit import lease
from dropfit.errors import Conflict, LeaseLost, Unavailable
from dropfit.lease import NAME, Claim, Lease


def claim(bucket: FakeBucket) -> Claim:
    return msgspec.json.decode(bucket.read(NAME), type=Claim)


@pytest.fixture
def quick_beats(monkeypatch: pytest.MonkeyPatch) -> None:
    """Renewals every few milliseconds: the once-a-second floor is storage's, and memory has none."""
    monkeypatch.setattr(lease, "max", lambda floor, third: 0.005, raising=False)


def test_a_second_job_is_told_who_is_at_work(bucket: FakeBucket) -> None:
    with Lease(bucket, "first", 60), pytest.raises(Conflict, match="first is at work"):
        Lease(bucket, "second", 60).__enter__()


def test_a_lease_that_was_given_back_is_free_at_once(bucket: FakeBucket) -> None:
    with Lease(bucket, "first", 3600):
        pass
    assert lease.read(bucket)[0] is None
    with Lease(bucket, "second", 3600):
        assert claim(bucket).holder == "second"


def test_it_is_given_back_also_when_the_work_raises(bucket: FakeBucket) -> None:
    with pytest.raises(ZeroDivisionError), Lease(bucket, "first", 3600):
        _ = 1 / 0
    assert lease.read(bucket)[0] is None


def test_the_lease_of_a_dead_job_can_be_taken_once_it_has_expired_and_not_before(bucket: FakeBucket) -> None:
    dead = Claim(holder="dead", nonce="n", beat=7, seconds=60)
    bucket.create(NAME, msgspec.json.encode(dead))
    bucket.age(NAME, 50)
    with pytest.raises(Conflict, match="dead is at work"):
        Lease(bucket, "next", 60).__enter__()
    bucket.age(NAME, 11)
    with Lease(bucket, "next", 60):
        assert claim(bucket).holder == "next"


def test_a_machine_whose_clock_is_ahead_does_not_take_a_living_jobs_lease(bucket: FakeBucket) -> None:
    bucket.clock = lambda: dt.datetime.now(dt.UTC) - dt.timedelta(minutes=10)  # storage's clock, the right one
    with Lease(bucket, "living", 60):
        assert lease.is_held(bucket)
        with pytest.raises(Conflict, match="living is at work"):
            Lease(bucket, "ahead", 60).__enter__()


def test_two_jobs_that_find_an_expired_lease_do_not_both_get_it(bucket: FakeBucket) -> None:
    found, generation = lease.read(bucket)
    assert (found, generation) == (None, 0)
    with Lease(bucket, "quicker", 60), pytest.raises(Conflict):
        bucket.replace(NAME, msgspec.json.encode(Claim(holder="slower", nonce="m", beat=0, seconds=60)), generation)


@pytest.mark.parametrize("garbage", [b"", b"{}", b"\xff", b'{"holder": 5}'])
def test_garbage_in_the_leases_place_stops_nobody(bucket: FakeBucket, garbage: bytes) -> None:
    bucket.create(NAME, garbage)
    with Lease(bucket, "mine", 60):
        assert claim(bucket).holder == "mine"


@pytest.mark.usefixtures("quick_beats")
def test_a_job_at_work_renews_its_lease_and_may_go_on(bucket: FakeBucket) -> None:
    with Lease(bucket, "mine", 60) as held:
        bucket.age(NAME, 3600)
        eventually(lambda: claim(bucket).beat >= 3)
        assert lease.read(bucket)[0] is not None
        held.check()


@pytest.mark.usefixtures("quick_beats")
def test_a_renewal_that_storage_refuses_for_a_while_does_not_cost_the_lease(bucket: FakeBucket) -> None:
    with Lease(bucket, "mine", 60) as held:
        bucket.fail("replace", times=5)
        before = claim(bucket).beat
        eventually(lambda: claim(bucket).beat > before + 5)
        held.check()


@pytest.mark.usefixtures("quick_beats")
def test_a_job_whose_lease_was_taken_notices_and_leaves_the_takers_alone(bucket: FakeBucket) -> None:
    taker = Claim(holder="taker", nonce="t", beat=0, seconds=60)
    with Lease(bucket, "mine", 60) as held:
        bucket.put(NAME, msgspec.json.encode(taker))

        def lost() -> bool:
            try:
                held.check()
            except LeaseLost:
                return True
            return False

        eventually(lost)
    assert claim(bucket) == taker


@pytest.mark.usefixtures("quick_beats")
def test_a_renewal_whose_answer_is_lost_is_not_taken_for_a_takeover(bucket: FakeBucket) -> None:
    with Lease(bucket, "mine", 60) as held:
        before = claim(bucket).beat
        bucket.lose_answer("replace")
        eventually(lambda: claim(bucket).beat > before + 3)
        held.check()


def test_a_job_that_could_not_renew_in_time_must_stop_before_anybody_sees_its_work(bucket: FakeBucket) -> None:
    with Lease(bucket, "mine", 0.0) as held, pytest.raises(LeaseLost):
        held.check()


def test_storage_that_does_not_answer_is_not_taken_for_a_free_lease(bucket: FakeBucket) -> None:
    bucket.fail("stat")
    with pytest.raises(Unavailable):
        Lease(bucket, "mine", 60).__enter__()


def test_a_lease_that_cannot_be_given_back_does_not_hide_the_works_end(bucket: FakeBucket) -> None:
    with Lease(bucket, "mine", 60):
        bucket.fail("replace")
    assert claim(bucket).released is False
    bucket.age(NAME, 61)
    assert lease.read(bucket)[0] is None
