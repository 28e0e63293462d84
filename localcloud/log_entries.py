# SPDX-License-Identifier: Apache-2.0
"""Log lines -> log entries, as Cloud Logging makes them of what a Cloud Run service prints.

A log bucket with a linked dataset shows its entries to BigQuery as the table `_AllLogs`. A line that is a JSON object
becomes a `json_payload` without the special fields, which fill columns of their own; any other line is a
`text_payload`: https://cloud.google.com/logging/docs/structured-logging
"""

from __future__ import annotations

import datetime as dt
from typing import Annotated, Any

import msgspec

DATASET, TABLE = "dropfit_logs", "_AllLogs"
_PREFIX = "logging.googleapis.com/"


class _Moment(msgspec.Struct, frozen=True):
    seconds: Annotated[int, msgspec.Meta(ge=0, lt=2**37)]
    nanos: Annotated[int, msgspec.Meta(ge=0, lt=10**9)] = 0

    @property
    def moment(self) -> dt.datetime:
        return dt.datetime.fromtimestamp(self.seconds, dt.UTC) + dt.timedelta(microseconds=self.nanos // 1000)


class _Special(msgspec.Struct, frozen=True):
    """The fields of a line that become the entry's own."""

    severity: str = "DEFAULT"
    timestamp: _Moment | None = None
    trace: str | None = msgspec.field(default=None, name=f"{_PREFIX}trace")
    span: str | None = msgspec.field(default=None, name=f"{_PREFIX}spanId")
    sampled: bool | None = msgspec.field(default=None, name=f"{_PREFIX}trace_sampled")
    labels: dict[str, str] = msgspec.field(default_factory=dict, name=f"{_PREFIX}labels")


def schema() -> list[dict[str, Any]]:
    """The columns of a linked dataset's `_AllLogs` that are filled here, in BigQuery's REST form."""
    kinds = {
        "timestamp": "TIMESTAMP",
        "receive_timestamp": "TIMESTAMP",
        "severity": "STRING",
        "trace": "STRING",
        "span_id": "STRING",
        "trace_sampled": "BOOLEAN",
        "log_name": "STRING",
        "log_id": "STRING",
        "insert_id": "STRING",
        "labels": "JSON",
        "json_payload": "JSON",
        "text_payload": "STRING",
    }
    resource = [{"name": "type", "type": "STRING"}, {"name": "labels", "type": "JSON"}]
    return [
        *({"name": name, "type": kind} for name, kind in kinds.items()),
        {"name": "resource", "type": "RECORD", "fields": resource},
    ]


def entry(line: bytes, project: str, now: dt.datetime) -> dict[str, Any]:
    """A line as the row that Cloud Logging would make of it.

    Args:
        line: without its newline.
        project: in the log's name.
        now: when it is received, and its time when it tells none.
    """
    row: dict[str, Any] = {
        "timestamp": now.isoformat(),
        "receive_timestamp": now.isoformat(),
        "severity": "DEFAULT",
        "log_name": f"projects/{project}/logs/run.googleapis.com%2Fstdout",
        "log_id": "run.googleapis.com/stdout",
        "resource": {"type": "cloud_run_revision", "labels": _json({"service_name": "predict"})},
    }
    try:
        payload = msgspec.json.decode(line, type=dict[str, Any])
    except (msgspec.MsgspecError, UnicodeDecodeError):
        return row | {"text_payload": line.decode(errors="replace")}
    try:
        special = msgspec.json.decode(line, type=_Special)
    except msgspec.ValidationError:  # fields that only look special stay where they are
        return row | {"json_payload": _json(payload)}
    for field in _Special.__struct_encode_fields__:
        payload.pop(field, None)
    if special.timestamp:
        row["timestamp"] = special.timestamp.moment.isoformat()
    return row | {
        "severity": special.severity,
        "trace": special.trace,
        "span_id": special.span,
        "trace_sampled": special.sampled,
        "labels": _json(special.labels) if special.labels else None,
        "json_payload": _json(payload),
    }


def _json(value: Any) -> str:
    return msgspec.json.encode(value).decode()
