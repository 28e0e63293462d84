# SPDX-License-Identifier: Apache-2.0
"""However often and in whatever order events arrive, every upload has one outcome: a short pass of `make torture`."""

from __future__ import annotations

import os
from collections.abc import Iterator

import deliveries
import parallel
import pytest
from worlds import OURS

from dropfit.receipts import Receipt, UploadedObject
from localcloud.cloud import LocalCloud

SEED = 7


@pytest.fixture
def wild() -> Iterator[LocalCloud]:
    """A local cloud with nothing in it yet; this process's environment is as it was, afterwards."""
    before = {name: value for name, value in os.environ.items() if name.startswith(OURS)}
    with deliveries.wild_cloud(SEED) as cloud:
        yield cloud
    for name in [name for name in os.environ if name.startswith(OURS)]:
        del os.environ[name]
    os.environ.update(before)


@pytest.mark.verify
@pytest.mark.timeout(1200)
def test_uploads_delivered_up_to_five_times_have_one_outcome_each_and_no_double_training(wild: LocalCloud) -> None:
    figure = deliveries.run(wild, 60, SEED)
    assert figure.ok, figure.failures
    assert figure.numbers["outcomes"] == 60
    assert figure.numbers["deliveries"] > 120
    # A burst is one launch, or a few when events and sweeps meet, and never one for each upload.
    assert figure.numbers["jobs"] < 20


@pytest.mark.verify
@pytest.mark.timeout(1200)
def test_parallel_uploads_lose_no_update(wild: LocalCloud) -> None:
    figure = parallel.run(wild, 2, SEED, abreast=16)
    assert figure.ok, figure.failures
    assert (figure.numbers["uploads"], figure.numbers["lost"]) == (32, 0)


def receipt(name: str, generation: int, state: str = "promoted") -> Receipt:
    import datetime as dt

    now = dt.datetime.now(dt.UTC)
    uploaded = UploadedObject("landing", name, generation)
    return Receipt(object=uploaded, state=state, received_at=now, updated_at=now)  # type: ignore[arg-type]


def test_an_upload_without_an_outcome_or_with_two_is_counted_as_lost() -> None:
    uploads = [UploadedObject("landing", "a", 1), UploadedObject("landing", "a", 2)]
    assert deliveries.miscounted(uploads, [receipt("a", 1), receipt("a", 2, "superseded")]) == []
    assert len(deliveries.miscounted(uploads, [receipt("a", 1), receipt("a", 2, "received")])) == 1
    assert len(deliveries.miscounted(uploads, [receipt("a", 1)] * 2 + [receipt("a", 2)])) == 1
    assert len(deliveries.miscounted(uploads[:1], [receipt("a", 1), receipt("b", 2)])) == 1


def test_a_version_fitted_twice_or_beside_another_is_a_double_training() -> None:
    assert deliveries.doubled([("v1", 0, 1), ("v2", 1, 2)]) == []
    assert deliveries.doubled([("v1", 0, 1), ("v1", 2, 3)]) == ["v1 was fitted 2 times"]
    assert deliveries.doubled([("v1", 0, 2), ("v2", 1, 3)]) == ["v2 was fitted while v1 was"]
