# SPDX-License-Identifier: Apache-2.0
"""What people see in a terminal, as Rich renderables. Programs ask for `--json` instead."""

from __future__ import annotations

import datetime as dt
import shlex
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from rich import box
from rich.console import Group
from rich.padding import Padding
from rich.table import Table

from .follow import Moment
from .logs import LogFile
from .settings import Settings
from .text import plain

STATES = {
    "promoted": "green",
    "recorded": "cyan",
    "held": "magenta",
    "kept": "yellow",
    "received": "blue",
    "accepted": "blue",
    "quarantined": "red",
    "failed": "bold red",
    "superseded": "dim",
    "deleted": "dim",
    "served": "bold green",
    "pinned": "bold green",
    "waiting": "magenta",
    "rejected": "yellow",
    "was served": "cyan",
    "interrupted": "yellow",
    "killed": "red",
    "running": "green",
    "stopped": "dim",
    "crashed": "bold red",
}


def grid(title: str, *columns: str, right: Sequence[str] = ()) -> Table:
    """An empty table in the house style; the columns in `right` are aligned to the right."""
    table = Table(title=title, title_justify="left", title_style="bold", box=box.SIMPLE_HEAD, pad_edge=False)
    for column in columns:
        kept = column in ("version", "received")  # folded, these can be neither read nor copied
        table.add_column(column, justify="right" if column in right else "left", overflow="fold", no_wrap=kept)
    return table


def coloured(state: str) -> str:
    """A state in its colour."""
    return f"[{STATES[state]}]{state}[/]" if state in STATES else plain(state)


def when(moment: str) -> str:
    """An ISO 8601 instant as local time, to the second."""
    return f"{dt.datetime.fromisoformat(moment).astimezone():%Y-%m-%d %H:%M:%S}"


def metrics(values: Mapping[str, float]) -> str:
    """Metrics in one line."""
    return "  ".join(f"{name} {value:.4f}" for name, value in values.items())


def _count(number: int, what: str) -> str:
    return f"{number:,} {what}{'' if number == 1 else 's'}"


def processes(found: Sequence[Mapping[str, Any]]) -> Table:
    """The local cloud's processes."""
    table = grid("Local cloud", "process", "state", "pid", "address", "log", right=["pid"])
    for p in found:
        state = coloured(p["state"]) + (f" (exit code {p['exit_code']})" if p["exit_code"] is not None else "")
        address = f"http://127.0.0.1:{p['port']}" if p["port"] else ""
        table.add_row(p["name"], state, str(p["pid"] or ""), address, plain(p["log"]))
    return table


def served(found: Mapping[str, Any] | None) -> Table:
    """The served version beside the constant prediction."""
    if found is None:
        table = grid("Served")
        table.add_row("nothing yet: no version has been promoted")
        return table
    table = grid(f"Served since {when(found['promoted_at'])}", "", "model", "constant", right=["model", "constant"])
    table.add_row("version", found["version"], "[green]pinned[/]" if found["pinned"] else "")
    table.add_row("trained on", f"{found['rows']:,} rows of {_count(found['uploads'], 'upload')}", "")
    for name, value in found["metrics"].items():
        other = found["constant"].get(name)
        table.add_row(name, f"{value:.4f}", "" if other is None else f"{other:.4f}")
    held = found["holdout"]
    table.add_row("judged on", f"{held['first']} to {held['last']}", "")
    if found.get("how"):
        table.add_row("answers from", _sources(**found["how"]), "")
    if found.get("runtime", "onnxruntime") != "onnxruntime":
        table.add_row("served by", f"scikit-learn, slower: {plain(found['runtime_reason'])}", "")
    return table


def _sources(mode: str, deadline_ms: float, snapshot: Mapping[str, int] | None) -> str:
    """Who answers predictions, and within what."""
    head = f"the table's {_count(snapshot['rows'], 'key')}" if snapshot else "no table, for it has no snapshot"
    first = {"static": head, "dynamic": "the model", "hybrid": f"{head}, then the model"}[mode]
    return f"{mode}: {first}; within {deadline_ms:g} ms"


def status(found: Mapping[str, Any]) -> Group:
    """All that `dropfit status` tells, as `deployment.status` found it."""
    local = found["processes"]
    parts: list[Any] = [processes(local)] if local else []
    crashed = [p["name"] for p in local if p["state"] == "crashed"]
    if crashed:
        names = ", ".join(crashed)
        parts.append(f"[red]Crashed:[/] {names}. `dropfit logs {crashed[0]}`, then `dropfit down` and `dropfit up`.")
    elif not found["running"]:
        parts.append("The local cloud is not running: `dropfit up` starts it; all it stored is still there.")
    if not found["running"]:
        return Group(*parts)
    if found["served"] or not found["trouble"]:
        parts.append(served(found["served"]))
    if found["trouble"]:
        parts.append(f" [red]But:[/] {plain(found['trouble'])}")
    parts += [f" [magenta]Waiting:[/] {v}: `dropfit show`, then `approve` or `reject`." for v in found["waiting"]]
    parts.append(uploads(found["uploads"]))
    events = found.get("events")
    if events and (events["pending"] or events["dead"]):
        parts.append(f"{_count(events['pending'], 'event')} on the way to on_upload, {events['dead']} given up.")
    return Group(*parts)


def uploads(found: Sequence[Mapping[str, Any]]) -> Group:
    """The newest uploads and what became of them; below them, why not."""
    columns = ("upload", "received", "outcome", "rows", "quarantined", "version")
    table = grid("Last uploads", *columns, right=["rows", "quarantined"])
    for u in found:
        rows = "" if u["rows"] is None else f"{u['rows']:,}"
        aside = "" if u["rejected"] is None else f"{u['rejected']:,}"
        table.add_row(plain(u["name"]), when(u["received_at"]), coloured(u["state"]), rows, aside, u["version"])
    if not found:
        table.add_row("none yet", *[""] * 5)
    return Group(table, *(Padding(why, (0, 0, 0, 1)) for u in found for why in _why(u)))


def _why(upload: Mapping[str, Any]) -> Iterator[str]:
    name = f"[bold]{plain(upload['name'])}[/]"
    if upload["reason"] and upload["state"] != "promoted":
        yield f"{name} {coloured(upload['state'])}: {plain(upload['reason'])}"
    if upload["reasons"]:
        counts = "; ".join(f"{reason} ({count:,})" for reason, count in list(upload["reasons"].items())[:3])
        yield f"{name} rows quarantined: {plain(counts)}"


def side_by_side(before: Mapping[str, Any], after: Mapping[str, Any]) -> Table:
    """Two served versions, the older one to the left."""
    table = grid("Overwritten", "", "before", "now", right=["before", "now"])
    table.add_row("version", before["version"], f"[green]{after['version']}[/]")
    table.add_row("promoted", when(before["promoted_at"]), when(after["promoted_at"]))
    table.add_row("trained on", *(f"{v['rows']:,} rows" for v in (before, after)))
    table.add_row("judged on", *(f"{v['holdout']['first']} to {v['holdout']['last']}" for v in (before, after)))
    for name in after["metrics"]:
        table.add_row(name, *(f"{v['metrics'][name]:.4f}" if name in v["metrics"] else "" for v in (before, after)))
        table.add_row(
            "  of the constant",
            *(f"{v['constant'][name]:.4f}" if name in v["constant"] else "" for v in (before, after)),
        )
    table.caption = "each on the newest days of its own data; on the same days the gate has compared them, see above"
    return table


def whereabouts(settings: Settings, home: Path) -> Table:
    """Where the local cloud's things are, and what to do next."""
    table = grid("The local cloud is up", "", "")
    table.show_header = False
    table.add_row("predict", f"POST {settings.predict_url}/predict")
    table.add_row("upload to", f"gs://{settings.landing_bucket}, or: dropfit upload FILE")
    table.add_row("any program", f"set -a; . {plain(shlex.quote(str(home / 'env')))}; set +a")
    table.add_row("look", "dropfit status, dropfit logs")
    table.add_row("stop", "dropfit down")
    return table


def logs(found: Sequence[LogFile]) -> Table:
    """Which logs there are."""
    table = grid("Logs", "name", "last written", "bytes", right=["bytes"])
    for log in found:
        changed = dt.datetime.fromtimestamp(log.changed, dt.UTC).isoformat()
        table.add_row(log.name, when(changed), f"{log.size:,}")
    table.caption = "`dropfit logs NAME` shows the end of one" if found else "none: nothing ran here yet"
    return table


def told(moment: Moment) -> tuple[str, str]:
    """A moment as what happened, and its details."""
    detail = moment.detail
    if moment.what == "outcome":
        return f"{detail['name']}: {detail['state']}", str(detail["reason"])
    if moment.what == "finished":
        return f"job {detail['outcome']}", str(detail["reason"])
    what, describe = STEPS[moment.what]
    return what, describe(detail)


def _taken_in(detail: Mapping[str, Any]) -> str:
    files = ", ".join(f"{count} {state}" for state, count in detail.get("files", {}).items())
    return f"{detail.get('rows', 0):,} accepted, {detail.get('rejected', 0):,} quarantined ({files or 'no new file'})"


def _fitted(detail: Mapping[str, Any]) -> str:
    found = f"{detail.get('rows', 0):,} rows"
    if not detail.get("metrics"):
        return found
    return f"{found}: {metrics(detail['metrics'])} (constant: {metrics(detail['constant'])})"


def _exported(detail: Mapping[str, Any]) -> str:
    if "bytes" not in detail:
        return "ended without a version"
    share = f"{detail['differing']:.2%} of rows differ from scikit-learn"
    return f"ONNX, {detail['bytes'] / 1024:,.0f} KiB, {share}"


def _counted(detail: Mapping[str, Any]) -> str:
    if "keys" not in detail:
        return "ended without a count"
    as_before = "the same" if detail["same"] else "not the same"
    return f"{detail['keys']:,} in accepted rows, {detail['before']:,} in the served table: {as_before}"


def _filled(detail: Mapping[str, Any]) -> str:
    filled = f"{detail.get('rows', 0):,} keys in {detail.get('table', 'no table')}"
    if sample := detail.get("sample"):
        filled += f", {sample['rows']:,} of them predicted again (largest difference {sample['largest']:.3g})"
    if shift := detail.get("shift"):
        filled += f"; {shift['measure']} {shift['size']:.3f} from {shift['against']}"
    head = detail.get("snapshot")
    if not head:
        return filled
    return f"{filled}; its head: {head['keys']:,} keys and {head['groups']:,} groups, {head['bytes'] / 1024:,.0f} KiB"


STEPS: dict[str, tuple[str, Callable[[Mapping[str, Any]], str]]] = {
    "received": ("event delivered", lambda d: f"receipt written for {d['name']}"),
    "launched": ("job launched", lambda d: str(d["job"])),
    "ingest": ("rows taken in", _taken_in),
    "train": ("model fitted", _fitted),
    "export": ("model exported", _exported),
    "gate": ("judged", lambda d: "; ".join(d.get("reasons", ()))),
    "universe": ("keys counted", _counted),
    "table": ("table filled", _filled),
    "swap": ("table exchanged", lambda d: f"instead of {d['previous']}" if d.get("previous") else ""),
    "promote": ("promoted", lambda d: f"instead of {d['previous']}" if d.get("previous") else "the first version"),
}
"""What of a run is told, and how."""
