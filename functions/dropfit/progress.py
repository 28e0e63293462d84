# SPDX-License-Identifier: Apache-2.0
"""A bar for long work on rows: how many, how quickly, and how long it takes still."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import NamedTuple

from rich import progress
from rich.console import Console

PAUSE = 0.3
"""Seconds between two looks."""
LINES = 10.0
"""Seconds between two lines where nobody looks at a bar."""


class Done(NamedTuple):
    """How far the work is.

    Attributes:
        rows: rows done.
        share: of the whole, 0 to 1.
    """

    rows: int
    share: float


@contextmanager
def following(console: Console, title: str, look: Callable[[], Done]) -> Iterator[None]:
    """Show how far some work is while it goes on.

    Args:
        console: where to.
        title: what it is.
        look: says how far it is; asked in a thread of its own. What it raises ends the showing, and not the work.
    """
    ended = threading.Event()
    show = _bar if console.is_terminal else _lines
    thread = threading.Thread(target=show, args=(console, title, look, ended), name="progress", daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join(5.0)


def rate(rows: int, seconds: float) -> str:
    """Rows a second, for people."""
    return f"{rows / max(seconds, 1e-9):,.0f} rows/s"


def _bar(console: Console, title: str, look: Callable[[], Done], ended: threading.Event) -> None:
    columns = (
        progress.TextColumn("{task.description}"),
        progress.BarColumn(),
        progress.TaskProgressColumn(),
        progress.TextColumn("{task.fields[told]}"),
        progress.TimeRemainingColumn(),
    )
    try:
        began, before = time.monotonic(), look()
        with progress.Progress(*columns, console=console, transient=True) as bar:
            task = bar.add_task(title, total=1.0, told="")
            while not ended.wait(PAUSE):
                now = look()
                speed = rate(now.rows - before.rows, time.monotonic() - began)
                bar.update(task, completed=now.share, told=f"{now.rows:,} rows, {speed}")
    except Exception as error:
        console.print(f"[dim]no progress can be shown: {type(error).__name__}[/]")


def _lines(console: Console, title: str, look: Callable[[], Done], ended: threading.Event) -> None:
    try:
        began, before = time.monotonic(), look()
        while not ended.wait(LINES):
            now, seconds = look(), time.monotonic() - began
            told = f"{title}: {now.rows:,} rows, {now.share:.0%}, {rate(now.rows - before.rows, seconds)}"
            if now.share > before.share:
                told += f", {seconds * (1 - now.share) / (now.share - before.share):,.0f} s left"
            console.print(told, markup=False)
    except Exception as error:
        console.print(f"no progress can be shown: {type(error).__name__}")
