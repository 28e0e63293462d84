# SPDX-License-Identifier: Apache-2.0
"""What `dropfit status` shows of the version that is served."""

from __future__ import annotations

import datetime as dt
import io
from typing import Any

import pytest
from rich.console import Console

from dropfit import display

FOUND: dict[str, Any] = {
    "version": "v2",
    "promoted_at": dt.datetime(2026, 11, 24, tzinfo=dt.UTC).isoformat(),
    "pinned": False,
    "rows": 26_398,
    "uploads": 1,
    "metrics": {"log_loss": 0.57},
    "constant": {"log_loss": 0.59},
    "holdout": {"first": "2013-01-26", "last": "2013-01-31"},
}
HEAD = {"rows": 6946, "bytes": 167_776}


def shown(**changes: Any) -> str:
    console = Console(width=160, file=io.StringIO(), record=True)
    console.print(display.served(FOUND | changes))
    return console.export_text()


@pytest.mark.parametrize(
    ("mode", "snapshot", "says"),
    [
        ("static", HEAD, "static: the table's 6,946 keys; within 100 ms"),
        ("dynamic", HEAD, "dynamic: the model; within 100 ms"),
        ("hybrid", HEAD, "hybrid: the table's 6,946 keys, then the model; within 100 ms"),
        ("hybrid", None, "hybrid: no table, for it has no snapshot, then the model; within 100 ms"),
    ],
)
def test_status_says_who_answers_and_within_what(mode: str, snapshot: dict[str, int] | None, says: str) -> None:
    assert says in shown(how={"mode": mode, "deadline_ms": 100.0, "snapshot": snapshot})


def test_a_function_that_says_nothing_of_itself_is_told_nothing_of() -> None:
    assert "answers from" not in shown()
    assert "answers from" not in shown(how={})
