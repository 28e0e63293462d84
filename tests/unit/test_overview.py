# SPDX-License-Identifier: Apache-2.0
"""What a person is told of a deployment."""

from __future__ import annotations

import datetime as dt
from typing import Any

import pytest
from fakes import manifest

from dropfit import overview
from dropfit.errors import NotFound
from dropfit.receipts import Accepted, Receipts, UploadedObject
from dropfit.registry import Registry
from dropfit.storage import Buckets
from dropfit.verdict import Report


@pytest.fixture
def registry(buckets: Buckets) -> Registry:
    """Two versions, of which the second is served."""
    registry = Registry(buckets.models)
    for name, passed in (("v1", False), ("v2", True)):
        registry.publish(manifest(name))
        registry.judge(Report(version=name, passed=passed, reasons=("so",), judged_at=dt.datetime.now(dt.UTC)))
    registry.publish(manifest("v3"))
    registry.promote("v2", "predictions__v2", registry.current())
    return registry


def test_before_the_first_promotion_nothing_is_served(buckets: Buckets) -> None:
    assert overview.served(Registry(buckets.models)) is None
    assert overview.versions(Registry(buckets.models)) == []
    assert overview.uploads(buckets, 10) == []


def test_the_served_version_is_told_with_its_metrics(registry: Registry) -> None:
    told = overview.served(registry)
    assert told is not None
    assert (told["version"], told["table"], told["metrics"]) == ("v2", "predictions__v2", manifest("v2").metrics)


def test_versions_come_newest_first_with_verdict_and_the_served_one_marked(registry: Registry) -> None:
    told = [(v["version"], v["served"], v["passed"]) for v in overview.versions(registry)]
    assert told == [("v3", False, None), ("v2", True, True), ("v1", False, False)]


def test_the_newest_uploads_come_first_and_no_more_than_asked(buckets: Buckets) -> None:
    receipts = Receipts(buckets.data)
    for generation in (1, 2, 3):
        receipt, _ = receipts.register(UploadedObject("landing", f"{generation}.csv", generation))
    receipts.advance(receipt, state="kept", accepted=Accepted(rows=5, rejected=1, sha256="", size=1), reason="worse")
    told = overview.uploads(buckets, 2)
    assert [u["name"] for u in told] == ["3.csv", "2.csv"]
    assert (told[0]["state"], told[0]["rows"], told[0]["rejected"], told[0]["reason"]) == ("kept", 5, 1, "worse")
    assert (told[1]["state"], told[1]["rows"]) == ("received", None)


class Warehouse:
    """A table of one row."""

    def look_up(self, key: dict[str, Any]) -> list[dict[str, Any]]:
        return [{**key, "prediction": 0.5}] if key == {"leaf": "assam", "cup": "small", "minutes": 3} else []


def test_a_row_of_the_table_is_found_by_the_served_versions_key(registry: Registry) -> None:
    row = overview.table_row(registry, Warehouse(), {"cup": "small", "leaf": "assam", "minutes": 3})
    assert row["prediction"] == 0.5


def test_a_key_that_is_not_in_the_table_is_not_found_by_its_values(registry: Registry, buckets: Buckets) -> None:
    with pytest.raises(NotFound, match="leaf=mate"):
        overview.table_row(registry, Warehouse(), {"cup": "small", "leaf": "mate", "minutes": 3})
    with pytest.raises(NotFound, match="nothing is served"):
        overview.table_row(Registry(buckets.data), Warehouse(), {})


def test_a_training_can_be_ordered_on_what_was_taken_in_and_on_what_failed(buckets: Buckets) -> None:
    receipts = Receipts(buckets.data)
    taken = Accepted(rows=5, rejected=0, sha256="", size=1)
    for name, changes in {
        "kept.csv": {"state": "kept", "accepted": taken},
        "failed.csv": {"state": "failed"},
        "bad.csv": {"state": "quarantined"},
        "new.csv": {"state": "received"},
    }.items():
        receipts.advance(receipts.register(UploadedObject("landing", name, 1))[0], **changes)
    assert overview.trainable(buckets) == {"kept.csv", "failed.csv"}
