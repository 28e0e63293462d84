# SPDX-License-Identifier: Apache-2.0
"""Columns of a Parquet file have kinds of their own: what fits is taken as it is, what cannot is told."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from taking_in import parquet, taken_in

from dropfit.errors import BadFile


@pytest.mark.parametrize(
    "brewed",
    [
        pa.array([0, 1], pa.date32()),
        pa.array([0, 86_400_000], pa.timestamp("ms")),
        pa.array([0, 86_400_000_000_000], pa.timestamp("ns", "Europe/Paris")),
        pa.array(["1970-01-01", "1970-01-02"]).dictionary_encode(),
    ],
)
def test_a_parquet_files_own_dates_are_taken_as_they_are(brewed: Any) -> None:
    days = [np.datetime64("1970-01-01"), np.datetime64("1970-01-02")]
    assert taken_in(parquet(brewed=brewed)).columns["brewed"].tolist() == [
        d.astype("datetime64[us]").item() for d in days
    ]


def test_numbers_in_a_parquet_category_become_names() -> None:
    assert taken_in(parquet(leaf=[1, 2])).columns["leaf"].tolist() == ["1", "2"]


def test_a_parquet_column_that_can_be_no_number_refuses_the_file_by_name() -> None:
    with pytest.raises(BadFile, match="minutes") as refused:
        taken_in(parquet(minutes=[[1], [2]]))
    assert refused.value.code == "wrong-type"


@pytest.mark.parametrize(
    "leaf", [[["a"], ["b"]], [{"a": 1}, {"a": 2}], [b"\xff", b"b"]], ids=["list", "struct", "bytes"]
)
def test_a_parquet_column_that_can_be_no_category_refuses_the_file_by_name(leaf: list[Any]) -> None:
    with pytest.raises(BadFile, match="leaf"):
        taken_in(parquet(leaf=leaf))


def test_a_parquet_integer_is_not_taken_for_a_date() -> None:
    with pytest.raises(BadFile, match="brewed"):
        taken_in(parquet(brewed=[20130101, 20130102]))
