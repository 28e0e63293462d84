# SPDX-License-Identifier: Apache-2.0
"""A request becomes a row batch, or every field that is wrong with it is named."""

from __future__ import annotations

from typing import Any

import msgspec
import numpy as np
import pytest
from fakes import LEAF
from tea_requests import CONTRACT, DECODER, GOOD, asking, batch, refused

from dropfit.contract import Contract, Number, Quantity
from dropfit.instances import MAX_ERRORS, InstanceDecoder


def test_an_instance_becomes_columns_of_the_contracts_kinds() -> None:
    columns = batch(asking({**GOOD, "cup": "large", "minutes": 3, "warmth": 60.5}, GOOD))
    assert columns["leaf"].tolist() == ["assam", "assam"]
    assert columns["cup"].tolist() == ["large", None]
    assert columns["spoons"].dtype == np.float64
    np.testing.assert_array_equal(columns["minutes"], [3, np.nan])
    np.testing.assert_array_equal(columns["warmth"], [60.5, np.nan])


def test_a_feature_may_be_left_out_or_null_when_it_may_be_missing_or_others_determine_it() -> None:
    left_out = batch(asking(GOOD))
    nulls = batch(asking({**GOOD, "cup": None, "minutes": None, "warmth": None}))
    for name, values in left_out.items():
        np.testing.assert_array_equal(values, nulls[name])


@pytest.mark.parametrize(
    ("changes", "field", "says"),
    [
        ({"leaf": None}, "leaf", "str"),
        ({"leaf": ""}, "leaf", "length >= 1"),
        ({"leaf": "x" * 13}, "leaf", "length <= 12"),
        ({"leaf": 5}, "leaf", "str"),
        ({"cup": "medium"}, "cup", "one of small, large"),
        ({"spoons": 2.5}, "spoons", "int"),
        ({"spoons": True}, "spoons", "int"),
        ({"spoons": "2"}, "spoons", "int"),
        ({"spoons": -1}, "spoons", ">= 0"),
        ({"spoons": 10}, "spoons", "<= 9"),
        ({"minutes": 60.5}, "minutes", "<= 60"),
        ({"minutes": []}, "minutes", "array"),
        ({"sugar": 1}, "sugar", "unknown"),
    ],
)
def test_a_wrong_field_is_named_with_what_is_wrong_there(changes: dict[str, Any], field: str, says: str) -> None:
    error = refused(asking(GOOD, {**GOOD, **changes}))
    assert error.status == 400
    assert list(error.fields) == [f"instances[1].{field}"]
    assert says in error.fields[f"instances[1].{field}"]


def test_every_wrong_field_is_named_at_once() -> None:
    error = refused(asking({"minutes": -1, "sugar": 1}, GOOD, 5, colour="green"))
    assert set(error.fields) == {
        "colour",
        "instances[0].minutes",
        "instances[0].sugar",
        "instances[0].leaf",
        "instances[0].spoons",
        "instances[2]",
    }


def test_a_request_with_a_thousand_faults_lists_the_first_hundred() -> None:
    error = refused(asking({f"x{n}": 1 for n in range(1000)}))
    assert len(error.fields) == MAX_ERRORS
    assert f"first {MAX_ERRORS}" in error.detail


def test_an_attackers_field_name_is_not_echoed_in_full() -> None:
    error = refused(asking({**GOOD, "x" * 100_000: 1}))
    assert max(map(len, error.fields)) < 100


@pytest.mark.parametrize("body", [b"null", b"[]", b"5", b'"x"', b"{}", b'{"instances": {}}', b'{"instances": null}'])
def test_a_body_of_another_shape_is_told_the_right_one(body: bytes) -> None:
    error = refused(body)
    assert error.status == 400
    assert '{"instances": [{...}, ...]}' in error.detail


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"\xff\xfe",
        b'{"instances": [{"leaf": "\xff", "spoons": 1}]}',
        b'{"instances": [{"leaf": "\\ud800", "spoons": 1}]}',
        b"[" * 100_000 + b"]" * 100_000,
        b'{"instances": ' + b"[" * 100_000 + b"]" * 100_000 + b"}",
        b'{"instances": [{"leaf": ' + b"[" * 100_000 + b"]" * 100_000 + b"}]}",
        b'{"instances": [{"leaf": "assam", "spoons": NaN}]}',
        b'{"instances": [{"leaf": "assam", "spoons": 1, "minutes": Infinity}]}',
    ],
)
def test_what_is_no_json_is_a_400_that_says_so(body: bytes) -> None:
    error = refused(body)
    assert error.status == 400
    assert "JSON" in error.detail


def test_a_number_beyond_all_bounds_is_named_by_field() -> None:
    assert list(refused(b'{"instances": [{"leaf": "a", "spoons": 1, "minutes": 1e999}]}').fields) == [
        "instances[0].minutes"
    ]


def test_a_huge_whole_number_is_named_by_field() -> None:
    features = (LEAF, Number(name="spoons", integer=True))
    unbounded = Contract(
        name="c", title="t", features=features, target=Quantity(name="y"), key=tuple(f.name for f in features)
    )
    body = b'{"instances": [{"leaf": "a", "spoons": ' + b"9" * 400 + b"}]}"
    assert list(refused(body, InstanceDecoder(unbounded, 1)).fields) == ["instances[0].spoons"]


def test_a_refusal_names_at_least_one_field_also_when_a_key_stands_twice() -> None:
    assert refused(b'{"instances": [{"leaf": 5, "leaf": "assam", "spoons": 1}]}').fields


def test_an_empty_request_is_told_that_there_is_nothing_to_predict() -> None:
    error = refused(asking())
    assert (error.status, error.fields) == (400, {"instances": "empty"})


def test_ten_instances_are_taken_and_eleven_are_too_many_whether_right_or_wrong() -> None:
    assert len(DECODER.decode(asking(*[GOOD] * 10))) == 10
    assert refused(asking(*[GOOD] * 11)).status == 413
    assert refused(asking(*[5] * 11)).status == 413


def test_fields_that_are_no_features_are_ignored_where_the_contract_allows_them() -> None:
    loose = InstanceDecoder(msgspec.structs.replace(CONTRACT, ignore_unknown=True), 10)
    (instance,) = loose.decode(asking({**GOOD, "sugar": [1]}, parameters={"temperature": 90}))
    assert (instance.leaf, instance.spoons, hasattr(instance, "sugar")) == ("assam", 2, False)
    refusal = refused(asking({**GOOD, "sugar": 1, "spoons": "2"}), loose)
    assert list(refusal.fields) == ["instances[0].spoons"]


@pytest.mark.parametrize("spoons", ["2", True, 2.5, [2], {}])
def test_a_number_in_another_form_is_refused(spoons: Any) -> None:
    assert list(refused(asking({**GOOD, "spoons": spoons})).fields) == ["instances[0].spoons"]


def test_no_value_of_the_request_is_repeated_in_a_refusal() -> None:
    number = "4012888888881881"
    for field in ("leaf", "cup", "minutes", "spoons", "warmth"):
        for value in (number, int(number), [number], {number: number}, number * 50):
            refusal = refused(asking({**GOOD, "spoons": 2.5, field: value}))
            assert number not in f"{refusal.detail} {refusal.fields}"


@pytest.mark.parametrize(
    "body",
    [
        b'{"instances": [{"leaf": "a", "cup": "SECRET", "cup": "small"}]}',  # the later one counts, and is right
        b'{"instances": [{"leaf": "a", "cup": "SECRET"}',
        b'{"instances": [{"leaf": "a", "cup": "SECRET \\n - at `$`"}',
        b'{"instances": [{"leaf": "a", "' + 5000 * b"SECRET" + b'": 1}',
    ],
)
def test_no_value_is_repeated_where_the_decoders_own_message_is_told(body: bytes) -> None:
    error = refused(body)
    assert "SECRET" not in str(error.fields.values())
    allowed = 40 if len(body) > 5000 else 0  # the name of a field may be told, cut
    assert error.detail.count("SECRET") <= allowed


@pytest.mark.parametrize(
    ("body", "field"),
    [
        (b'{"instances": [{}, {}' + b", {}" * 400_000 + b"]}", "instances[0]"),
        (b'{"instances": [' + b"[]," * 400_000 + b"1]}", "instances[0]"),
        (
            b'{"instances": [{"leaf": "a", "spoons": 1, "minutes": 99, "cup": 1}]' + b" " * 2**20 + b"}",
            "instances[0].minutes",
        ),
    ],
)
def test_a_large_body_is_not_looked_at_twice_and_only_its_first_fault_is_told(body: bytes, field: str) -> None:
    error = refused(body)
    assert list(error.fields) == [field]
    assert "1,048,576 bytes" in error.detail


def test_a_large_body_that_is_no_json_is_told_so() -> None:
    assert "not JSON" in refused(b"[" * 2**21).detail
    assert "not JSON" in refused(b'{"instances": [' + b" " * 2**21).detail
