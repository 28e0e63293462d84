# SPDX-License-Identifier: Apache-2.0
"""What the commands share: two consoles, options, JSON for programs, and telling what happens until it is done."""

from __future__ import annotations

import getpass
import json
import sys
from collections.abc import Iterable
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console

from .text import plain

if TYPE_CHECKING:
    from .follow import Follower, Moment
    from .storage import Buckets

WIDE = 200
"""Columns when nobody looks: a pipe must not cut tables at 80."""
out = Console(highlight=False, width=None if sys.stdout.isatty() else WIDE)
err = Console(stderr=True, highlight=False, width=None if sys.stderr.isatty() else WIDE)
PATIENCE = 1800.0
GOOD = ("promoted", "kept", "held", "recorded")

AsJson = Annotated[bool, typer.Option("--json", help="JSON for programs.")]
Wait = Annotated[bool, typer.Option("--wait", "-w", help="Stay and tell what becomes of it.")]


def print_json(document: Any) -> None:
    """JSON: in colour for people, plain for programs."""
    text = json.dumps(document, indent=2, ensure_ascii=False)
    if sys.stdout.isatty():  # rich takes a pipe for a terminal where FORCE_COLOR is set, as builds do
        out.print_json(text)
    else:
        print(text)


def person() -> str:
    """Who types, for the record."""
    try:
        return getpass.getuser()
    except (OSError, KeyError):  # a container may know no names
        return "somebody"


def follower(buckets: Buckets) -> Follower:
    """Follows what happens from now on."""
    from .follow import Follower

    return Follower(buckets.data, PATIENCE)


def tell_until_done(moments: Iterable[Moment]) -> None:
    """Print what happens; exit 1 when an upload or the training did not come to a good end."""
    from . import display

    bad = False
    with err.status("waiting ..."):
        for moment in moments:
            what, detail = display.told(moment)
            out.print(f"[dim]{moment.seconds:7.2f} s[/]  {plain(what)}  {plain(detail)}")
            bad |= moment.what == "outcome" and moment.detail["state"] not in GOOD
            bad |= moment.what == "finished" and moment.detail["outcome"] == "failed"
    if bad:
        raise typer.Exit(1)
