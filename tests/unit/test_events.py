# SPDX-License-Identifier: Apache-2.0
"""Only a finalized object of our landing bucket launches anything."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dropfit.errors import BadRequest
from dropfit.events import FINALIZED, source_of, uploaded_object
from dropfit.receipts import UploadedObject

ATTRIBUTES = {"type": FINALIZED, "source": source_of("landing"), "id": "1"}
DATA = {"bucket": "landing", "name": "a.csv", "generation": "1700000000000000"}


def test_an_upload_to_our_bucket_is_told_by_name_and_generation() -> None:
    expected = UploadedObject("landing", "a.csv", 1_700_000_000_000_000)
    assert uploaded_object(ATTRIBUTES, DATA, "landing") == expected
    assert uploaded_object(ATTRIBUTES, {**DATA, "generation": 1_700_000_000_000_000}, "landing") == expected


@pytest.mark.parametrize(
    ("attributes", "field"),
    [
        ({"type": "google.cloud.storage.object.v1.deleted"}, "type"),
        ({"type": None}, "type"),
        ({"source": source_of("somebody-elses")}, "source"),
        ({"source": "//storage.googleapis.com/projects/_/buckets/landing/x"}, "source"),
        ({"source": "landing"}, "source"),
    ],
)
def test_a_forged_envelope_is_refused_by_field(attributes: dict[str, Any], field: str) -> None:
    with pytest.raises(BadRequest) as refused:
        uploaded_object({**ATTRIBUTES, **attributes}, DATA, "landing")
    assert refused.value.status == 403
    assert list(refused.value.fields) == [field]


def test_an_empty_envelope_is_refused() -> None:
    with pytest.raises(BadRequest):
        uploaded_object({}, DATA, "landing")


@pytest.mark.parametrize("data", [None, b"{}", [], "x", {}, {**DATA, "bucket": "data"}, {**DATA, "bucket": None}])
def test_a_payload_of_another_bucket_is_refused_although_the_envelope_is_ours(data: Any) -> None:
    with pytest.raises(BadRequest) as refused:
        uploaded_object(ATTRIBUTES, data, "landing")
    assert refused.value.status == 403


@pytest.mark.parametrize(
    "changes",
    [
        {"name": ""},
        {"name": None},
        {"name": ["a"]},
        {"generation": ""},
        {"generation": None},
        {"generation": "-1"},
        {"generation": "1.5"},
        {"generation": "\u00b2"},
        {"generation": "\u0661"},
        {"generation": True},
        {"generation": "1; DROP"},
    ],
)
def test_a_payload_that_names_no_object_generation_is_refused(changes: dict[str, Any]) -> None:
    with pytest.raises(BadRequest, match="names no object generation"):
        uploaded_object(ATTRIBUTES, {**DATA, **changes}, "landing")


def test_a_payload_without_generation_is_refused() -> None:
    with pytest.raises(BadRequest):
        uploaded_object(ATTRIBUTES, {"bucket": "landing", "name": "a.csv"}, "landing")


@given(st.text(min_size=1))
def test_any_object_name_is_taken_as_it_is(name: str) -> None:
    assert uploaded_object(ATTRIBUTES, {**DATA, "name": name}, "landing").name == name
