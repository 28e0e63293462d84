# SPDX-License-Identifier: Apache-2.0
"""The flights as they are uploaded become rows of the flights' problem, or are set aside."""

from __future__ import annotations

import pytest
from taking_in import as_csv, taken_in

from dropfit.problem import problem as flights

FLIGHT = {
    "carrier": "UA",
    "origin": "EWR",
    "dest": "IAH",
    "distance": 1400,
    "year": 2013,
    "month": 1,
    "day": 1,
    "flight": 1545,
    "sched_dep_time": 515,
    "arr_delay": 11,
}


@pytest.mark.parametrize(("month", "day"), [(2, 30), (2, 29), (4, 31)])
def test_a_flight_on_a_day_that_does_not_exist_is_set_aside_with_a_reason(month: int, day: int) -> None:
    rows = [FLIGHT, {**FLIGHT, "month": month, "day": day}, {**FLIGHT, "day": 2}]
    found = taken_in(as_csv(rows), flights)
    ((row, column, reason),) = found.reasons
    assert (row, reason) == (2, "missing")
    assert column in ("weekday", "date")
    assert [str(d)[:10] for d in found.columns["date"]] == ["2013-01-01", "2013-01-02"]


def test_a_flight_without_an_arrival_is_set_aside_because_it_has_no_target() -> None:
    found = taken_in(as_csv([FLIGHT, {**FLIGHT, "arr_delay": ""}, {**FLIGHT, "arr_delay": "NA"}]), flights)
    assert found.reasons == [(2, "late", "missing"), (3, "late", "missing")]


@pytest.mark.parametrize(("delay", "late"), [(15, 0.0), (15.5, 1.0), (16, 1.0), (-20, 0.0)])
def test_a_flight_is_late_when_it_arrives_more_than_15_minutes_after_its_time(delay: float, late: float) -> None:
    assert taken_in(as_csv([{**FLIGHT, "arr_delay": delay}]), flights).columns["late"].tolist() == [late]


def test_weekday_and_hour_of_a_flight_follow_from_date_and_scheduled_time() -> None:
    rows = [{**FLIGHT, "day": day, "sched_dep_time": 2359} for day in (6, 7, 8)]  # Sunday, Monday, Tuesday
    found = taken_in(as_csv(rows), flights)
    assert found.columns["weekday"].tolist() == [6, 0, 1]
    assert found.columns["hour"].tolist() == [23, 23, 23]
