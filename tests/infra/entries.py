# SPDX-License-Identifier: Apache-2.0
"""Log entries as a deployment named dropfit has them, made of lines that Dropfit's own code wrote."""

from __future__ import annotations

import datetime as dt
import json
import logging
import os
from collections.abc import Callable
from typing import Any

from dropfit import joblog
from dropfit.predictionlog import PredictionLog
from dropfit.receipts import Receipts, State, UploadedObject
from dropfit.runs import RunLog
from dropfit.storage import Stored
from dropfit.sweep import Swept, tell
from localcloud.log_entries import entry

Entry = dict[str, Any]


class Drawer:
    """As much of a bucket as receipts and runs write into."""

    def put(self, name: str, payload: bytes, kind: str) -> None:
        """Take it."""

    def stat(self, name: str) -> None:
        """Nothing was there."""

    def replace(self, name: str, payload: bytes, generation: int, metadata: dict[str, str]) -> Stored:
        """Take it."""
        return Stored("data", name, generation + 1, len(payload), dt.datetime.now(dt.UTC), metadata)


def of_predict(status: int = 200, source: str = "model", milliseconds: float = 12.5) -> Entry:
    """A prediction request."""
    body, reply = b'{"instances": [{"carrier": "UA"}]}', json.dumps({"predictions": [{"source": source}]}).encode()
    if status >= 400:
        body, reply = b"", b'{"detail": "no"}'
    out, into = os.pipe()
    try:
        log = PredictionLog("acme-dev", 1.0, 1 << 20, into)
        log.add({}, status, milliseconds / 1e3, body, reply, "v1", "hybrid", 1, "/predict")
        log.flush()
        return _entry(os.read(out, 1 << 20), "cloud_run_revision", {"service_name": "dropfit-predict"})
    finally:
        os.close(out)
        os.close(into)


def of_upload(outcome: State, code: str = "") -> Entry:
    """An upload that has come to its outcome."""

    def settle() -> None:
        receipts: Any = Receipts(Drawer())  # type: ignore[arg-type]
        receipt, _ = receipts.register(UploadedObject("landing", "a.csv", 7))
        receipts.advance(receipt, state=outcome, code=code, reason="why")

    return _of_job(settle, "dropfit-retrain")


def of_run(outcome: str) -> Entry:
    """A run that has ended."""
    return _of_job(lambda: RunLog(Drawer(), "job").finish(outcome, "why"), "dropfit-retrain")  # type: ignore[arg-type]


def of_sweep() -> Entry:
    """A sweep."""
    return _of_job(lambda: tell(Swept(0, "")), "dropfit-sweep")


def _of_job(say: Callable[[], None], job: str) -> Entry:
    """The one entry that is logged meanwhile."""
    lines: list[str] = []

    class Listener(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            lines.append(joblog.Entry().format(record))

    logger, listener = logging.getLogger("dropfit"), Listener()
    before = logger.level
    logger.addHandler(listener)
    logger.setLevel(logging.INFO)
    try:
        say()
    finally:
        logger.setLevel(before)
        logger.removeHandler(listener)
    (line,) = lines
    return _entry(line.encode(), "cloud_run_job", {"job_name": job})


def _entry(line: bytes, resource: str, labels: dict[str, str]) -> Entry:
    row = entry(line.rstrip(b"\n"), "acme-dev", dt.datetime.now(dt.UTC))
    payload = json.loads(row["json_payload"])
    return {
        "resource": {"type": resource, "labels": labels},
        "severity": row["severity"],
        "jsonPayload": payload,
    }
