# SPDX-License-Identifier: Apache-2.0
"""The example that the template comes with: functions/dropfit/problem.py as it was shipped, for the tests.

Once problem.py is somebody's own, the tests of the template go on with this one: see tests/example/stand_in.py.
Whoever changes the template's example changes it in both places.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from dropfit.contract import Category, Columns, Feature, Gate, Number, Policy, Probability, Problem

CARRIER = Category(name="carrier", max_length=8, description="two-letter airline code, such as UA")
ORIGIN = Category(name="origin", max_length=8, description="departure airport, such as EWR")
DESTINATION = Category(name="dest", max_length=8, description="arrival airport, such as IAH")
DISTANCE = Number(
    name="distance",
    minimum=1,
    maximum=12_000,
    given_by=("origin", "dest"),
    description="miles; the route determines it, so a request may leave it out",
)


def prepare(file: Columns) -> Columns:
    """A file's columns -> date, weekday (0 is Monday), scheduled hour, and whether the flight was late."""
    year, month, day = (file[name].astype(int) for name in ("year", "month", "day"))
    first = ((year - 1970) * 12 + month - 1).astype("datetime64[M]")
    date = first.astype("datetime64[D]") + (day - 1)
    date[date.astype("datetime64[M]") != first] = np.datetime64("NaT")  # 30 February is no date: set aside
    delay = file["arr_delay"]
    return {
        "date": date,
        "weekday": np.where(np.isnat(date), np.nan, (date.astype(np.int64) + 3) % 7),  # 1970-01-01 was a Thursday
        "hour": file["sched_dep_time"] // 100,
        "late": np.where(np.isnan(delay), np.nan, delay > 15),
    }


def derive(features: Columns) -> Columns:
    """Features that the key determines; training, batch and online call this same function."""
    return {"hour_of_week": features["weekday"] * 24 + features["hour"]}


def estimator(inputs: Sequence[Feature]) -> Any:
    """Gradient boosting on ordinal codes; docs/adr/0003 compares it with the alternatives."""
    from sklearn.ensemble import HistGradientBoostingClassifier

    return HistGradientBoostingClassifier(
        max_iter=80, max_leaf_nodes=15, min_samples_leaf=200, early_stopping=False, random_state=0
    )


problem = Problem(
    name="flights",
    title="Will this flight arrive more than 15 minutes late?",
    columns=(
        CARRIER,
        ORIGIN,
        DESTINATION,
        DISTANCE,
        Number(name="year", minimum=1987, maximum=2100, integer=True),
        Number(name="month", minimum=1, maximum=12, integer=True),
        Number(name="day", minimum=1, maximum=31, integer=True),
        Number(name="flight", minimum=0, integer=True),
        Number(name="sched_dep_time", minimum=0, maximum=2359, integer=True),
        Number(name="arr_delay", minimum=-1440, maximum=10_080, missing=True),
    ),
    prepare=prepare,
    features=(
        CARRIER,
        ORIGIN,
        DESTINATION,
        Number(name="weekday", minimum=0, maximum=6, integer=True, description="0 is Monday"),
        Number(name="hour", minimum=0, maximum=23, integer=True, description="scheduled departure, local"),
        DISTANCE,
    ),
    derived=(Number(name="hour_of_week", minimum=0, maximum=167),),
    derive=derive,
    target=Probability(name="late"),
    key=("carrier", "origin", "dest", "weekday", "hour"),
    backoff=(("carrier", "origin", "dest"), ("carrier", "origin"), ("carrier",), ()),
    identity=("date", "carrier", "flight", "origin", "sched_dep_time"),
    time="date",
    estimator=estimator,
    gate=Gate(minimum_rows=1000, slices=("carrier", "origin")),
    policy=Policy(minimum=0.0, maximum=1.0),
)
