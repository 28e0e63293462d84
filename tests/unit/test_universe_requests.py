# SPDX-License-Identifier: Apache-2.0
"""A table may hold the keys that are asked for, by the log of the requests."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from counted_keys import TEA, counts_of, seen
from fakes import settings

from dropfit import population
from dropfit.errors import Unavailable


class FakeLog:
    """A prediction log that answers as BigQuery does."""

    def __init__(self, *asked: tuple[Any, float], tail: float = 0.0, error: Exception | None = None) -> None:
        total = sum(weight for _, weight in asked) + tail
        self.rows = [{"instance": _json(i), "weight": weight, "total": total} for i, weight in asked]
        self.error = error
        self.given: Any = None

    def name(self, table: str) -> str:
        return f"p.dropfit.{table}"

    def query(self, sql: str, parameters: Any) -> list[Any]:
        self.given = sql, parameters
        if self.error:
            raise self.error
        return self.rows


def _json(instance: Any) -> str:
    return instance if isinstance(instance, str) else msgspec.json.encode(instance).decode()


ASKED = settings(universe="frequent", frequency="requests", frequency_days=7, coverage=0.75)
HERE = [("assam", None, 1.0)]


def test_the_keys_that_are_asked_for_are_counted_by_what_each_logged_request_stands_for() -> None:
    log = FakeLog(
        ({"leaf": "mate", "cup": "small", "minutes": 5}, 4.0),
        ({"leaf": "mate", "cup": "small", "minutes": 5.0, "warmth": 80}, 2.0),
        (msgspec.json.encode('{"leaf": "assam"}').decode(), 2.0),
        tail=2.0,
    )
    found = population.chosen(TEA, seen(HERE), ASKED, log)
    assert counts_of(found) == {"mate\tsmall\t5": 6, "assam\t\\N\t\\N": 2}
    assert (found.source, found.total) == ("requests", 10)
    assert "`p.dropfit.prediction_log`" in log.given[0]
    assert log.given[1]["days"] == 7


def test_what_is_no_instance_of_the_contract_is_not_counted_and_that_is_said() -> None:
    log = FakeLog(({"leaf": "mate"}, 3.0), ({"leaf": 7}, 2.0), ({"grape": "merlot"}, 1.0), ("nonsense", 1.0))
    found = population.chosen(TEA, seen(HERE), ASKED, log)
    assert counts_of(found) == {"mate\t\\N\t\\N": 3}
    assert found.total == 3
    assert found.notes == ("4 logged requests are none of the present contract",)


@pytest.mark.parametrize(
    ("log", "why"),
    [(FakeLog(), "holds no request of the last 7 days"), (FakeLog(error=Unavailable("503")), "cannot be read")],
    ids=["empty", "out of reach"],
)
def test_without_requests_the_accepted_rows_are_counted_and_that_is_said(log: FakeLog, why: str) -> None:
    found = population.chosen(TEA, seen(HERE), ASKED, log)
    assert (found.source, counts_of(found)) == ("accepted", {"assam\t\\N\t1": 1})
    assert why in found.notes[0]
    assert "accepted rows were counted" in found.notes[0]
