# SPDX-License-Identifier: Apache-2.0
"""What happens to an upload is told once, in order, until its outcome."""

from __future__ import annotations

import itertools

import pytest
from fake_bucket import FakeBucket

from dropfit import follow
from dropfit.errors import Unavailable
from dropfit.follow import Follower
from dropfit.receipts import Receipts, UploadedObject
from dropfit.runs import RunLog

UPLOAD = UploadedObject("landing", "a.csv", 1)


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(follow, "POLL_SECONDS", 0.001)


def test_an_upload_is_told_from_its_receipt_over_its_run_to_its_outcome(bucket: FakeBucket) -> None:
    follower = Follower(bucket, 10)
    receipts = Receipts(bucket)
    told = follower.uploads([UPLOAD.id])
    receipt, _ = receipts.register(UPLOAD)
    moment = next(told)
    assert (moment.what, moment.detail) == ("received", {"name": "a.csv"})
    log = RunLog(bucket, "job-7")
    log.run.receipts = [receipt.id]
    with log.step("ingest") as detail:
        detail["rows"] = 3
        assert (next(told).what) == "launched"
    with log.step("train"):
        moment = next(told)
    assert (moment.what, moment.detail) == ("ingest", {"rows": 3})
    log.finish("promoted", "better")
    receipts.advance(receipt, state="promoted", reason="better", version="v1")
    rest = list(told)
    assert [m.what for m in rest] == ["train", "finished", "outcome"]
    assert rest[-1].detail == {"name": "a.csv", "state": "promoted", "reason": "better", "version": "v1"}


def test_the_runs_of_other_uploads_are_not_told(bucket: FakeBucket) -> None:
    follower = Follower(bucket, 10)
    receipt, _ = Receipts(bucket).register(UPLOAD)
    RunLog(bucket, "somebody-elses").finish("nothing")
    Receipts(bucket).advance(receipt, state="quarantined", reason="it is empty")
    assert [m.what for m in follower.uploads([UPLOAD.id])] == ["received", "outcome"]


def test_runs_from_before_are_not_told(bucket: FakeBucket) -> None:
    RunLog(bucket, "old").finish("promoted")
    follower = Follower(bucket, 10)
    RunLog(bucket, "new").finish("kept")
    assert [(m.what, m.detail.get("job")) for m in follower.run(lambda: True)] == [
        ("launched", "new"),
        ("finished", None),
    ]


def test_a_run_is_followed_until_the_condition_holds(bucket: FakeBucket) -> None:
    looks = itertools.count()
    assert list(Follower(bucket, 10).run(lambda: next(looks) == 3)) == []
    assert next(looks) == 4


def test_patience_ends_with_what_is_still_missing(bucket: FakeBucket) -> None:
    with pytest.raises(Unavailable, match=r"1 uploads have no outcome yet.*dropfit status"):
        list(Follower(bucket, 0.01).uploads([UPLOAD.id]))


def test_patience_does_not_end_after_the_last_outcome(bucket: FakeBucket) -> None:
    receipt, _ = Receipts(bucket).register(UPLOAD)
    Receipts(bucket).advance(receipt, state="promoted")
    assert [m.what for m in Follower(bucket, 0).uploads([UPLOAD.id])] == ["received", "outcome"]
