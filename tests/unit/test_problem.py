# SPDX-License-Identifier: Apache-2.0
"""The default problem: flights, and what the predict function may import of it."""

from __future__ import annotations

import subprocess
import sys

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dropfit.contract import Category, Contract
from dropfit.instances import InstanceDecoder
from dropfit.problem import derive, prepare, problem


def file_of(*dates: tuple[int, int, int], time: int = 1730, delay: float = 0) -> dict[str, np.ndarray]:
    year, month, day = (np.array(part, dtype=np.float64) for part in zip(*dates, strict=True))
    rows = len(dates)
    times, delays = np.full(rows, float(time)), np.full(rows, float(delay))
    return {"year": year, "month": month, "day": day, "sched_dep_time": times, "arr_delay": delays}


@given(st.lists(st.dates(), min_size=1, max_size=20))
def test_a_weekday_is_that_of_the_calendar(dates: list) -> None:
    made = prepare(file_of(*((d.year, d.month, d.day) for d in dates)))
    assert made["weekday"].tolist() == [d.weekday() for d in dates]
    assert made["date"].tolist() == dates


@pytest.mark.parametrize("date", [(2013, 2, 29), (2013, 2, 30), (2013, 4, 31), (2100, 2, 29)])
def test_a_day_that_does_not_exist_is_no_date(date: tuple[int, int, int]) -> None:
    made = prepare(file_of(date, (2012, 2, 29)))
    assert np.isnat(made["date"]).tolist() == [True, False]
    assert np.isnan(made["weekday"]).tolist() == [True, False]


@pytest.mark.parametrize(("time", "hour"), [(0, 0), (59, 0), (515, 5), (2359, 23)])
def test_the_hour_is_that_of_the_scheduled_departure(time: int, hour: int) -> None:
    assert prepare(file_of((2013, 1, 1), time=time))["hour"].tolist() == [hour]


def test_a_flight_without_arrival_has_no_target() -> None:
    assert np.isnan(prepare(file_of((2013, 1, 1), delay=np.nan))["late"]).all()


def test_the_hour_of_the_week_is_within_its_declared_bounds() -> None:
    (declared,) = problem.derived
    weekday, hour = (a.ravel().astype(float) for a in np.meshgrid(np.arange(7), np.arange(24)))
    made = derive({"weekday": weekday, "hour": hour})["hour_of_week"]
    assert (made.min(), made.max()) == (declared.minimum, declared.maximum)
    assert len(set(made.tolist())) == 168


def test_a_request_may_leave_out_what_the_route_determines() -> None:
    body = {"instances": [{"carrier": "UA", "origin": "EWR", "dest": "IAH", "weekday": 4, "hour": 17}]}
    (instance,) = InstanceDecoder(problem.contract, 1).decode(msgspec.json.encode(body))
    assert instance.distance is None


def test_every_feature_is_a_key_column_or_determined_by_key_columns() -> None:
    for feature in problem.features:
        given_by = () if isinstance(feature, Category) else feature.given_by
        assert feature.name in problem.key or (given_by and set(given_by) <= set(problem.key))


def test_the_contract_survives_its_journey_through_the_manifest() -> None:
    assert msgspec.json.decode(msgspec.json.encode(problem.contract), type=Contract) == problem.contract


HEAVY = ("sklearn", "pandas", "skl2onnx", "onnx", "pyarrow", "scipy", "apache_beam", "google.cloud.bigquery")


def test_the_predict_function_can_import_the_problem_without_sklearn_which_stays_inside_estimator() -> None:
    # If this fails: move the import of what it names into the body of `estimator` in problem.py.
    code = f"import sys, dropfit.problem; print([m for m in {HEAVY!r} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=300, check=True)
    assert done.stdout.strip() == "[]"


def test_the_estimator_takes_missing_values_and_gives_probabilities() -> None:
    chance = np.random.default_rng(0)
    matrix = chance.random((600, len(problem.inputs))).astype(np.float32)
    matrix[::7] = np.nan
    fitted = problem.estimator(problem.inputs).fit(matrix, chance.integers(0, 2, 600))
    assert fitted.predict_proba(matrix).shape == (600, 2)
