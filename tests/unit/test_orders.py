# SPDX-License-Identifier: Apache-2.0
"""Somebody's request for a training waits until it has had it."""

from __future__ import annotations

import itertools

import pytest
from fake_bucket import FakeBucket

from dropfit import orders, queues
from dropfit.errors import Unavailable


def test_a_request_waits_until_it_is_done(bucket: FakeBucket) -> None:
    assert not orders.waiting(bucket)
    request = orders.ask(bucket, ("a.csv", "b.csv"))
    assert orders.waiting(bucket)
    assert orders.pending(bucket) == [request]
    orders.done(bucket, request)
    orders.done(bucket, request)
    assert not orders.waiting(bucket)
    assert orders.pending(bucket) == []


def test_two_requests_in_one_moment_are_two(bucket: FakeBucket) -> None:
    assert {orders.ask(bucket, ()).id, orders.ask(bucket, ()).id} == {r.id for r in orders.pending(bucket)}


def test_requests_come_oldest_first(bucket: FakeBucket, monkeypatch: pytest.MonkeyPatch) -> None:
    chance = itertools.count(9, -1)
    monkeypatch.setattr(queues.secrets, "token_hex", lambda n: str(next(chance)) * 2 * n)
    asked = [orders.ask(bucket, ()) for _ in range(5)]
    assert orders.pending(bucket) == asked


@pytest.mark.parametrize("garbage", [b"", b"{}", b"[]"])
def test_an_unreadable_request_is_put_aside_and_the_others_go_on(bucket: FakeBucket, garbage: bytes) -> None:
    bucket.put(orders.PREFIX + "x.json", garbage)
    request = orders.ask(bucket, ())
    assert orders.pending(bucket) == [request]
    assert bucket.read("quarantine/requests/x.json") == garbage
    orders.done(bucket, request)
    assert not orders.waiting(bucket)


def test_each_attempt_at_a_request_is_counted(bucket: FakeBucket) -> None:
    orders.begin(bucket, orders.begin(bucket, orders.ask(bucket, ("a.csv",))))
    (request,) = orders.pending(bucket)
    assert (request.attempts, request.objects) == (2, ("a.csv",))


def test_a_request_that_storage_did_not_take_is_not_promised(bucket: FakeBucket) -> None:
    bucket.fail("create")
    with pytest.raises(Unavailable):
        orders.ask(bucket, ())
    assert not orders.waiting(bucket)
