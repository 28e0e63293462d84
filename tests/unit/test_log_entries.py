# SPDX-License-Identifier: Apache-2.0
"""Lines become log entries as Cloud Logging makes them."""

from __future__ import annotations

import datetime as dt
import json

from hypothesis import given
from hypothesis import strategies as st

from localcloud.log_entries import entry, schema

NOW = dt.datetime(2026, 1, 2, tzinfo=dt.UTC)
LINE = {
    "severity": "WARNING",
    "message": "/predict 200",
    "timestamp": {"seconds": 1_700_000_000, "nanos": 123_456_789},
    "logging.googleapis.com/trace": "projects/p/traces/t",
    "logging.googleapis.com/spanId": "0123456789abcdef",
    "logging.googleapis.com/trace_sampled": True,
    "logging.googleapis.com/labels": {"a": "b"},
    "kind": "prediction",
}


def test_special_fields_become_the_entry_s_own_and_the_rest_its_payload() -> None:
    row = entry(json.dumps(LINE).encode(), "p", NOW)
    assert json.loads(row["json_payload"]) == {"message": "/predict 200", "kind": "prediction"}
    assert row["severity"] == "WARNING"
    assert row["timestamp"] == "2023-11-14T22:13:20.123456+00:00"
    assert row["receive_timestamp"] == NOW.isoformat()
    assert (row["trace"], row["span_id"], row["trace_sampled"]) == ("projects/p/traces/t", "0123456789abcdef", True)
    assert json.loads(row["labels"]) == {"a": "b"}


def test_a_line_that_is_no_object_is_text_received_now() -> None:
    for line in (b"Traceback (most recent call last):", b"[1]", b"7", b'{"a": \xff}', b'{"a": 1'):
        row = entry(line, "p", NOW)
        assert row["text_payload"] == line.decode(errors="replace")
        assert row["timestamp"] == NOW.isoformat()
        assert "json_payload" not in row


def test_a_field_that_only_looks_special_stays_in_the_payload() -> None:
    for strange in ({"timestamp": {"seconds": 10**15}}, {"severity": 5}, {"logging.googleapis.com/trace": {}}):
        row = entry(json.dumps(LINE | strange).encode(), "p", NOW)
        assert json.loads(row["json_payload"]) == LINE | strange
        assert row["severity"] == "DEFAULT"


@given(
    st.binary(max_size=200)
    | st.dictionaries(st.text(), st.integers() | st.text()).map(lambda d: json.dumps(d).encode())
)
def test_any_line_becomes_a_row_of_known_columns_and_loses_nothing(line: bytes) -> None:
    row = entry(line, "p", NOW)
    assert set(row) <= {column["name"] for column in schema()}
    assert (row.get("json_payload") is None) != (row.get("text_payload") is None)
