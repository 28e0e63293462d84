# SPDX-License-Identifier: Apache-2.0
"""`dropfit quarantine ...`: what was set aside and why, and a person's release."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from . import deployment
from .errors import BadRequest
from .terminal import AsJson, Wait, follower, out, person, print_json, tell_until_done
from .text import plain

app = typer.Typer(help="What was set aside, and why; and what to do about it.", no_args_is_help=True)
Wanted = Annotated[str, typer.Argument(metavar="ID", help="An upload's id, its beginning, or the object's name.")]


@app.command(name="list")
def list_(as_json: AsJson = False) -> None:
    """Files refused as a whole, and files with rows set aside, newest first."""
    from . import quarantine
    from .receipts import Receipts

    found = quarantine.entries(Receipts(deployment.connect()[1].data))
    if as_json:
        print_json(found)
    else:
        out.print(_listed(found))


@app.command()
def show(
    wanted: Wanted,
    save: Annotated[Path | None, typer.Option(metavar="PATH", help="Write the rejected rows there as CSV.")] = None,
    rows: Annotated[int, typer.Option("--rows", "-n", min=0, help="Rejected rows to show.")] = 10,
    as_json: AsJson = False,
) -> None:
    """One upload: the reason in full, how many rows for which reason, the first of them, and what to do next."""
    from . import quarantine
    from .receipts import Receipts

    buckets = deployment.connect()[1]
    receipt = quarantine.find(Receipts(buckets.data).all(), wanted)
    found = quarantine.show(buckets.data, receipt, rows)
    if save is not None:
        if not found["rows_csv"]:
            raise BadRequest(f"no rows of {receipt.object.name} were set aside one by one: there is nothing to save")
        try:
            with save.open("xb") as target:  # never over a file of theirs
                quarantine.save(buckets.data, receipt, target)
        except OSError as error:
            raise BadRequest(f"{save}: {error.strerror}") from error
    if as_json:
        print_json(found)
        return
    for part in _shown(found):
        out.print(part)
    if save is not None:
        out.print(f"saved: {plain(str(save))}")


@app.command()
def release(
    wanted: Wanted,
    as_is: Annotated[
        bool, typer.Option("--as-is", help="Override every judgement about the file as a whole.")
    ] = False,
    wait: Wait = False,
) -> None:
    """Say that a quarantined file is what you mean: it is read once more, and what condemned it no longer does.

    Everything else is still checked, and bad rows stay aside. A fault of form (unreadable, encoding, columns, size)
    cannot be overridden: such a file is read again under the present problem.py and settings, and no more. Who
    released it, when, and what was overridden stands in its receipt. The uploaded object is not touched.
    """
    from . import lease, quarantine
    from .launch import launcher
    from .receipts import Receipts

    settings, buckets = deployment.connect()
    receipt = quarantine.find(Receipts(buckets.data).all(), wanted)
    following = follower(buckets)
    code = receipt.code
    receipt = quarantine.release(buckets, receipt.id, person(), as_is)
    name = plain(receipt.object.name)
    if not receipt.is_open:
        out.print(f"{name} is {receipt.state}: {plain(receipt.reason)}. Upload what you mean again.")
        raise typer.Exit(1)
    overridden = ", ".join(sorted(receipt.overridden))
    if overridden and code in quarantine.JUDGEMENTS:
        out.print(f"released {name}; overridden: {overridden}")
    if code not in {*quarantine.JUDGEMENTS, quarantine.WITHDRAWN}:
        out.print(f"{plain(code)} is a fault of form, which cannot be overridden: {name} is only read once more")
    if lease.read(buckets.data)[0] is None:
        out.print(f"job launched: {plain(launcher(settings).launch())}")
    else:
        out.print("a job is at work; it will take it in")
    if wait:
        tell_until_done(following.uploads([receipt.id]))


@app.command()
def put(
    name: Annotated[str, typer.Argument(metavar="OBJECT", help="The object's name in the landing bucket.")],
    reason: Annotated[str, typer.Option("--reason", "-r", help="For those who ask why.")] = "",
) -> None:
    """Take an upload that was accepted out of every training from now on, such as one released by mistake.

    Deleting the object does not: what was accepted stays in use. `release` brings it back. `dropfit rollback` serves
    what was served before it. `dropfit train` trains without it at once, and the gate judges what comes of it.
    """
    from . import quarantine

    for receipt in quarantine.put(deployment.connect()[1], name, person(), reason):
        out.print(f"taken out: {plain(receipt.object.name)}, generation {receipt.object.generation}")
    out.print("what is served stays: `dropfit rollback VERSION` serves one made without it; `dropfit train` fits one")


def _listed(found: Sequence[Mapping[str, Any]]) -> Any:
    from . import display, quarantine

    table = display.grid("Quarantine", "id", "upload", "since", "what", "rows", "reason", right=["rows"])
    for e in found:
        aside = "all" if e["rows"] is None else f"{e['rows']:,}"
        what = plain(e["code"])
        told = display.when(e["at"])
        table.add_row(e["id"][: quarantine.SHORT], plain(e["object"]), told, what, aside, plain(e["reason"]))
    if not found:
        table.add_row("empty", *[""] * 5)
    else:
        table.caption = "`dropfit quarantine show ID` tells more"
    return table


def _shown(found: Mapping[str, Any]) -> list[Any]:
    from . import display

    parts: list[Any] = [
        f"[bold]{plain(found['object'])}[/] {display.coloured(found['state'])}  [dim]{found['id']}[/]",
    ]
    if found["state"] == "quarantined":
        parts.append(f"{plain(found['code'])}: {plain(found['reason'])}")
    if found["reasons"]:
        table = display.grid("Rows set aside", "reason", "rows", right=["rows"])
        for reason, count in list(found["reasons"].items())[:20]:
            table.add_row(plain(reason), f"{count:,}")
        parts.append(table)
    if found["first"]:
        table = display.grid("The first of them", "row", "column", "value", "reason", right=["row"])
        for row in found["first"]:
            table.add_row(*(plain(row[name]) for name in ("row", "column", "value", "reason")))
        parts.append(table)
    if found["rows_csv"]:
        parts.append(f"all of them: {plain(found['rows_csv'])}")
    parts.append(f"next: {plain(found['next'])}")
    return parts
