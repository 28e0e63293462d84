# SPDX-License-Identifier: Apache-2.0
"""What jobs and functions log: text on a laptop; on Cloud Run a JSON object a line, which Cloud Logging parses.

Severity, message and timestamp become the entry's own (https://cloud.google.com/logging/docs/structured-logging); a
traceback stands in the message of the one entry that it belongs to. What monitoring counts has a `kind`, and fields
whose names infra/metrics.tf and infra/alerts.tf rely on:

    event    on_upload took an event in: outcome (launched, waits, known, refused, unavailable), object
    upload   an upload has come to its outcome, one of receipts.py's: outcome, object, generation, code, version
    run      a run of the job has ended: outcome, run, version, seconds, uploads
    sweep    a sweep has looked: registered, launched, repaired

No cell of an uploaded file is among them.
"""

from __future__ import annotations

import logging
import sys
import threading
from types import TracebackType
from typing import Any, Literal

import msgspec

from . import settings

Kind = Literal["event", "upload", "run", "sweep"]
TEXT = "%(asctime)s %(levelname)s %(message)s"
MOST_TEXT = 64 * 1024
"""Characters of a message; Cloud Logging takes 256 KB an entry."""
SEVERITIES = frozenset({"DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL"})
_FIELDS = "dropfit"
LOG = logging.getLogger(__name__)


def set_up() -> None:
    """Log as a job does: to standard error, text or JSON by where this is."""
    if settings.on_cloud_run():
        _structured()
    else:
        logging.basicConfig(level=logging.INFO, format=TEXT, stream=sys.stderr)
    _quiet()


def set_up_function() -> None:
    """Log as a function does: JSON on Cloud Run, and elsewhere what Python and the server do by themselves."""
    if settings.on_cloud_run():
        _structured()
        _quiet()


def fields(kind: Kind, **more: str | int | float | bool) -> dict[str, Any]:
    """Give it as `extra` of a log call: the entry's `kind`, and fields beside it."""
    return {_FIELDS: {"kind": kind, **more}}


class Entry(logging.Formatter):
    """A record as a line of JSON."""

    def format(self, record: logging.LogRecord) -> str:
        """One line, whatever the message and the fields hold."""
        seconds = int(record.created)
        document = {
            "severity": record.levelname if record.levelname in SEVERITIES else "DEFAULT",
            "message": _cut(super().format(record)),
            "timestamp": {"seconds": seconds, "nanos": int((record.created - seconds) * 1e9)},
            "logger": record.name,
            **getattr(record, _FIELDS, {}),
        }
        clean = {name: _utf8(value) if isinstance(value, str) else value for name, value in document.items()}
        return msgspec.json.encode(clean, enc_hook=str).decode()


def _structured() -> None:
    handler = logging.StreamHandler(sys.stderr)  # standard output is the prediction log's, which writes in pieces
    handler.setFormatter(Entry())
    logging.basicConfig(level=logging.INFO, handlers=[handler], force=True)
    for logger in list(logging.root.manager.loggerDict.values()):
        if isinstance(logger, logging.Logger) and logger.propagate:
            logger.handlers.clear()  # Flask's, say, which would tell each traceback again, a line an entry
    logging.captureWarnings(True)
    sys.excepthook = _uncaught
    threading.excepthook = _uncaught_in_thread


def _quiet() -> None:
    for noisy in ("apache_beam", "skl2onnx", "google"):
        logging.getLogger(noisy).setLevel(logging.WARNING)
    # Google's clients log their own retries; urllib3's are google-auth asking where a local key may be used.
    logging.getLogger("urllib3").setLevel(logging.ERROR)


def _uncaught(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    LOG.error("stopped by %s", kind.__name__, exc_info=(kind, error, trace))


def _uncaught_in_thread(ended: threading.ExceptHookArgs) -> None:
    if ended.exc_value is not None and not isinstance(ended.exc_value, SystemExit):
        _uncaught(ended.exc_type, ended.exc_value, ended.exc_traceback)


def _cut(text: str) -> str:
    """The beginning and the end, between which nobody looks: a traceback names its error last."""
    if len(text) <= MOST_TEXT:
        return text
    half = MOST_TEXT // 2
    return f"{text[:half]}\n... {len(text) - 2 * half:,} characters ...\n{text[-half:]}"


def _utf8(text: str) -> str:
    return text.encode(errors="replace").decode()
