# SPDX-License-Identifier: Apache-2.0
"""An order for a refresh waits until it has had its outcome."""

from __future__ import annotations

import numpy as np
import pytest
from fake_bucket import FakeBucket
from fakes import pots
from hypothesis import given
from hypothesis import strategies as st

from dropfit import refreshes
from dropfit.duplicates import digest
from dropfit.encoding import take


def test_an_order_waits_until_it_is_done(bucket: FakeBucket) -> None:
    assert not refreshes.waiting(bucket)
    request = refreshes.ask(bucket, "ann", force=True)
    assert (request.by, request.force) == ("ann", True)
    assert refreshes.is_waiting(bucket, request)
    assert refreshes.pending(bucket) == [request]
    for _ in range(2):
        refreshes.done(bucket, request)
    assert not refreshes.waiting(bucket)


def test_the_schedule_leaves_one_order_however_often_it_is_asked(bucket: FakeBucket) -> None:
    for _ in range(3):
        refreshes.schedule(bucket)
    (request,) = refreshes.pending(bucket)
    assert request.by == "the schedule"


def test_attempts_are_counted_and_given_back(bucket: FakeBucket) -> None:
    request = refreshes.count(bucket, refreshes.ask(bucket, "ann"), 1)
    assert refreshes.pending(bucket)[0].attempts == 1
    refreshes.count(bucket, request, request.attempts - 2)
    assert refreshes.pending(bucket)[0].attempts == 0


@pytest.mark.parametrize("garbage", [b"", b"{}", b"[]"])
def test_an_unreadable_order_is_put_aside_and_the_others_go_on(bucket: FakeBucket, garbage: bytes) -> None:
    bucket.put(refreshes.PREFIX + "x.json", garbage)
    request = refreshes.ask(bucket, "ann")
    assert refreshes.pending(bucket) == [request]
    assert bucket.read("quarantine/refreshes/x.json") == garbage


@given(st.permutations(list(range(30))), st.integers(1, 29))
def test_the_same_keys_in_any_order_and_any_batches_are_the_same_and_one_more_is_not(
    order: list[int], cut: int
) -> None:
    rows, names = pots(30), ("leaf", "cup", "pot")
    mixed = take(rows, np.array(order))
    whole = digest([rows], names)
    assert digest([take(mixed, np.arange(cut)), take(mixed, np.arange(cut, 30))], names) == whole
    assert digest([take(mixed, np.arange(29))], names) != whole
    assert digest([{**rows, "pot": rows["pot"] + 1}], names) != whole
    assert whole.startswith("30-")
