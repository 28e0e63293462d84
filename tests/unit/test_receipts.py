# SPDX-License-Identifier: Apache-2.0
"""Every uploaded object generation has exactly one receipt, whatever its name and however often it is announced."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest
from fake_bucket import FakeBucket
from hypothesis import given
from hypothesis import strategies as st

from dropfit.errors import ArtifactError, Conflict, NotFound, Unavailable
from dropfit.receipts import OPEN, PREFIX, Accepted, Receipts, UploadedObject

STATES = ("received", "accepted", "recorded", "promoted", "kept", "quarantined", "superseded", "deleted", "failed")


def upload(name: str = "a.csv", generation: int = 1) -> UploadedObject:
    return UploadedObject("landing", name, generation)


@pytest.fixture
def receipts(bucket: FakeBucket) -> Receipts:
    return Receipts(bucket)


def test_the_same_upload_announced_ten_times_at_once_has_one_receipt(receipts: Receipts) -> None:
    with ThreadPoolExecutor(10) as pool:
        answers = list(pool.map(lambda _: receipts.register(upload()), range(10)))
    assert sum(new for _, new in answers) == 1
    assert len({receipt.received_at for receipt, _ in answers}) == 1
    assert len(receipts.all()) == 1


def test_announcing_an_upload_again_does_not_undo_what_became_of_it(receipts: Receipts) -> None:
    receipt, _ = receipts.register(upload())
    receipts.advance(receipt, state="promoted", version="v1")
    again, new = receipts.register(upload())
    assert not new
    assert (again.state, again.version, again.is_open) == ("promoted", "v1", False)


def test_a_receipt_whose_writing_was_not_answered_is_found_at_the_next_announcement(
    bucket: FakeBucket, receipts: Receipts
) -> None:
    bucket.lose_answer("replace")
    with pytest.raises(Unavailable):
        receipts.register(upload())
    receipt, new = receipts.register(upload())
    assert not new
    assert receipt.object == upload()


def test_each_generation_of_a_name_is_an_upload_of_its_own(receipts: Receipts) -> None:
    for generation in (3, 1, 2):
        receipts.register(upload("a.csv", generation))
    assert [r.object.generation for r in receipts.all()] == [1, 2, 3]


def test_receipts_come_in_the_order_of_upload_and_not_of_announcement(receipts: Receipts) -> None:
    for name, generation in (("z.csv", 5), ("a.csv", 9), ("m.csv", 7), ("b.csv", 7)):
        receipts.register(upload(name, generation))
    assert [r.object.name for r in receipts.open()] == ["z.csv", "b.csv", "m.csv", "a.csv"]


@pytest.mark.parametrize("state", STATES)
def test_only_what_has_no_outcome_yet_is_open(receipts: Receipts, state: str) -> None:
    receipt, _ = receipts.register(upload())
    receipts.advance(receipt, state=state)
    assert [r.state for r in receipts.open()] == ([state] if state in OPEN else [])
    assert [r.state for r in receipts.all()] == [state]


def test_a_receipt_keeps_all_that_is_known(receipts: Receipts) -> None:
    receipt, _ = receipts.register(upload())
    accepted = Accepted(rows=3, rejected=1, sha256="0" * 64, size=9, reasons={"leaf: missing": 1}, notes=["odd"])
    told = receipts.advance(receipt, state="accepted", accepted=accepted, attempts=2)
    again = receipts.get(receipt.id)
    assert again == told
    assert again.accepted == accepted
    assert again.received_at == receipt.received_at
    assert again.updated_at >= receipt.updated_at


def test_an_outcome_that_another_job_has_written_meanwhile_is_not_overwritten(bucket: FakeBucket) -> None:
    mine, theirs = Receipts(bucket), Receipts(bucket)
    receipt, _ = mine.register(upload())
    theirs.advance(theirs.get(receipt.id), state="promoted", version="v1")
    with pytest.raises(Conflict):
        mine.advance(receipt, state="failed")
    assert mine.get(receipt.id).state == "promoted"


def test_a_receipt_that_does_not_exist_is_not_found(receipts: Receipts) -> None:
    with pytest.raises(NotFound):
        receipts.get("0" * 64)


@pytest.mark.parametrize("garbage", [b"", b"{}", b'{"state": "imaginary"}', b"\x80"])
def test_an_unreadable_receipt_is_refused(bucket: FakeBucket, receipts: Receipts, garbage: bytes) -> None:
    bucket.put(PREFIX + "x.json", garbage)
    with pytest.raises(ArtifactError):
        receipts.get("x")


def test_a_receipt_with_a_flipped_bit_in_its_text_is_refused(bucket: FakeBucket, receipts: Receipts) -> None:
    receipt, _ = receipts.register(upload())
    name = f"{PREFIX}{receipt.id}.json"
    bucket.put(name, bucket.read(name).replace(b"a.csv", b"\xe1.csv"))
    with pytest.raises(ArtifactError):
        receipts.get(receipt.id)


NAMES = st.one_of(
    st.text(min_size=1, max_size=30),
    st.sampled_from(["../../etc/passwd", "a%2Fb", "//", "é" * 500, "a\nb", ".", "receipts/x.json", "\U0001f36b"]),
)


@given(NAMES)
def test_a_name_never_becomes_a_path(name: str) -> None:
    receipt, _ = Receipts(FakeBucket()).register(UploadedObject("landing", name, 1))
    for path in (PREFIX + receipt.id, receipt.accepted_name):
        assert set(path) <= set("abcdefghijklmnopqrstuvwxyz0123456789/._-")
        assert ".." not in path


@given(st.sets(st.tuples(st.sampled_from(["a", "b"]), NAMES, st.integers(1, 3)), max_size=10))
def test_no_two_uploads_share_a_receipt(uploads: set[tuple[str, str, int]]) -> None:
    assert len({UploadedObject(*u).id for u in uploads}) == len(uploads)
