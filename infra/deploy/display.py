# SPDX-License-Identifier: Apache-2.0
"""What the doctor found, for people: a table of what was looked at, then what to do, in order."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Console
from rich.table import Table

from dropfit.display import grid
from dropfit.text import plain

from .look import Finding

COLOURS = {"ok": "green", "warn": "yellow", "fail": "bold red"}
WORDS = {"ok": "ok", "warn": "warn", "fail": "FAIL"}


def table(findings: Sequence[Finding]) -> Table:
    """What was looked at and what was found, a line each; a group's name stands at its first."""
    rows = grid("", "", "", "looked at", "what was found")
    rows.title = None
    group = ""
    for one in findings:
        if group and one.group != group:
            rows.add_section()
        mark = f"[{COLOURS[one.verdict]}]{WORDS[one.verdict]}[/]"
        rows.add_row(mark, plain(one.group if one.group != group else ""), plain(one.check), plain(one.says))
        group = one.group
    for column in rows.columns[:3]:
        column.no_wrap = True
    return rows


def show(findings: Sequence[Finding], console: Console) -> None:
    """The table, what to do about what is not ok, the worst first, and a last line that says how it stands.

    Commands are not broken into lines, so that they can be copied.
    """
    console.print(table(findings))
    for number, (remedy, sick) in enumerate(_remedies(findings), 1):
        mark = f"[{COLOURS[sick[0].verdict]}]{WORDS[sick[0].verdict]}[/]"
        console.print(f"{number}. {mark} {plain(_where(sick))}")
        for line in remedy.split("\n"):
            text = f"     [cyan]{plain(line[2:])}[/]" if line.startswith("$ ") else f"   {plain(line)}"
            console.print(text, soft_wrap=True)
    console.print(verdict(findings))


def _remedies(findings: Sequence[Finding]) -> list[tuple[str, list[Finding]]]:
    """What to do, each with the findings that it is for: those that fail first."""
    groups: dict[str, list[Finding]] = {}
    for one in sorted(findings, key=lambda one: one.verdict != "fail"):
        if one.remedy:
            groups.setdefault(one.remedy, []).append(one)
    return list(groups.items())


def _where(findings: Sequence[Finding]) -> str:
    """`delivery: trigger, dead letters; running: predict`."""
    groups: dict[str, list[str]] = {}
    for one in findings:
        groups.setdefault(one.group, []).append(one.check)
    return "; ".join(f"{group}: {', '.join(dict.fromkeys(checks))}" for group, checks in groups.items())


def verdict(findings: Sequence[Finding]) -> str:
    """How it stands, in one line."""
    fails = sum(one.verdict == "fail" for one in findings)
    warns = sum(one.verdict == "warn" for one in findings)
    if fails:
        also = f", and {warns} to know of" if warns else ""
        return f"[bold red]{fails} to mend[/]{also}: see above."
    if warns:
        return f"[green]Nothing stands in the way[/]; {warns} to know of: see above."
    return f"[green]All is well[/]: {len(findings)} looked at."
