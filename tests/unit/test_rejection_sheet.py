# SPDX-License-Identifier: Apache-2.0
"""The sheet of rejected rows runs no formula and comes back, corrected, exactly as it was uploaded."""

from __future__ import annotations

import re

import msgspec
import numpy as np
import pyarrow as pa
import pytest
from fakes import tea
from hypothesis import given
from hypothesis import strategies as st
from taking_in import GOOD, as_csv, parquet, taken_in, with_one_bad

from dropfit.errors import BadFile
from dropfit.ingest import Caps

LETTERS = st.text(st.sampled_from("=+-@\t\r\n '\"a1,;.e\uff1d\u00e9"), max_size=10)
LONG = tea(
    columns=tuple(msgspec.structs.replace(c, max_length=500) if c.name == "leaf" else c for c in tea().columns),
    features=tuple(msgspec.structs.replace(f, max_length=500) if f.name == "leaf" else f for f in tea().features),
)
FORMULA = re.compile(r"\s*[-=+@\uff1d]|[\t\r\n]")


@given(st.lists(LETTERS, min_size=1, max_size=10))
def test_a_sheet_runs_no_formula_and_comes_back_corrected_exactly_as_uploaded(leaves: list[str]) -> None:
    rows = [{**GOOD, "pot": n, "leaf": leaf, "drunk": "7"} for n, leaf in enumerate(leaves, 2)]
    first = taken_in(as_csv([GOOD, *rows]), LONG)
    for cells in first.rejected:
        if FORMULA.match(cells["leaf"]):
            float(cells["leaf"])  # only a number may begin so
    wanted = [{**row, "drunk": "1"} for row in rows]
    corrected = [cells | {"drunk": "1"} for cells in first.rejected]
    fine = dict.fromkeys(corrected[0], "") | GOOD
    again = taken_in(b"\xef\xbb\xbf" + as_csv([fine, *corrected]), LONG)
    straight = taken_in(as_csv([GOOD, *wanted]), LONG)
    assert again.found.notes == []
    assert again.columns["leaf"].tolist() == straight.columns["leaf"].tolist()
    assert again.columns["pot"].tolist() == straight.columns["pot"].tolist()


def test_an_apostrophe_is_taken_off_a_sheet_of_ours_alone() -> None:
    assert with_one_bad(leaf="'=1+1").columns["leaf"].tolist()[1] == "'=1+1"


def test_a_negative_number_stays_a_number_in_the_sheet() -> None:
    assert with_one_bad(minutes="-5").rejected[0]["minutes"] == "-5"


def test_the_text_of_a_row_that_could_not_be_split_runs_nothing_either() -> None:
    (row,) = taken_in(as_csv([GOOD]) + b"=cmd()\n").rejected
    assert row["dropfit_text"] == "'=cmd()"


@pytest.mark.parametrize("bad", [0, 1])
def test_a_rejected_row_of_parquet_comes_back_from_the_sheet_as_it_was(bad: int) -> None:
    moments = pa.array([0, 86_400_000_001], pa.timestamp("us"))
    held = {"minutes": [1.25, None], "brewed": moments, "pot": [True, False]}
    first = taken_in(parquet(drunk=[5 if n == bad else 1 for n in range(2)], **held))
    again = taken_in(as_csv([cells | {"drunk": "1"} for cells in first.rejected]))
    for name, values in taken_in(parquet(drunk=[1, 1], **held)).columns.items():
        np.testing.assert_array_equal(values[bad : bad + 1], again.columns[name])


def test_a_sheet_larger_than_any_upload_may_be_refuses_the_file() -> None:
    payload = as_csv([GOOD]) + b"x\n" * 10_000
    with pytest.raises(BadFile) as refused:
        taken_in(payload, caps=Caps(max_bad_share=1, max_unpacked_bytes=len(payload) + 10))
    assert refused.value.code == "too-large"
