# SPDX-License-Identifier: Apache-2.0
"""Of the uploads of a burst one launches the job, and none is left without one."""

from __future__ import annotations

from fake_bucket import FakeBucket

from dropfit import summons
from dropfit.lease import Lease


def test_of_a_burst_the_first_launches() -> None:
    bucket = FakeBucket("data")
    assert [summons.claim(bucket, 60) for _ in range(5)] == [True, False, False, False, False]


def test_once_the_launched_job_has_begun_its_launch_says_nothing_any_more() -> None:
    bucket = FakeBucket("data")
    assert summons.claim(bucket, 60)
    with Lease(bucket, "job", 60):
        assert summons.claim(bucket, 60)
    with Lease(bucket, "job", 60):
        pass
    assert summons.claim(bucket, 60)


def test_a_launched_job_that_never_began_is_not_waited_for_for_ever() -> None:
    bucket = FakeBucket("data")
    assert [summons.claim(bucket, 0) for _ in range(2)] == [True, True]


def test_a_launch_that_failed_leaves_nothing_in_the_way() -> None:
    bucket = FakeBucket("data")
    assert summons.claim(bucket, 60)
    summons.give_back(bucket)
    assert summons.claim(bucket, 60)
