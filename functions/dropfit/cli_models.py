# SPDX-License-Identifier: Apache-2.0
"""`dropfit reproduce`: the command that makes a version once more."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import msgspec
import typer

from . import deployment
from . import settings as config
from .cli_versions import Version, resolve
from .terminal import AsJson, err, out, print_json
from .text import plain

if TYPE_CHECKING:
    from .reproduce import Reproduced


def reproduce(
    version: Version,
    most: Annotated[int, typer.Option("--rows", min=1, help="Compare on at most so many training rows.")] = 100_000,
    as_json: AsJson = False,
) -> None:
    """Fit a version again from the rows that its manifest names, and compare: exit 0 when all are equal."""
    config.wait_without_spinning()
    from . import reproduce as repetition
    from .contract import load_problem
    from .registry import Registry

    settings, buckets = deployment.connect()
    registry, problem = Registry(buckets.models), load_problem(settings.problem)
    name = resolve(registry, version)
    with err.status("reading the manifest") as shown:
        found = repetition.reproduce(
            registry, buckets.data, problem, name, most, lambda what: shown.update(plain(what))
        )
    if as_json:
        print_json({**msgspec.to_builtins(found), "same": found.same})
    else:
        _tell(found)
    if not found.same:
        raise typer.Exit(1)


VERBS = (reproduce,)


def _tell(found: Reproduced) -> None:
    for difference in found.differences:
        then, now = difference.then or "not there", difference.now or "not there"
        out.print(f"[yellow]not as it was:[/] {plain(difference.what)} was {plain(then)}, is {plain(now)}")
    if not found.compared:
        out.print(
            "[red]not comparable:[/] rows or inputs are others under the present problem.py. It was made at revision "
            f"{plain(found.revision or 'unknown')}: {_where(found.revision)}"
        )
        return
    verdict = "[green]the same:[/]" if found.same else "[red]not the same:[/]"
    file = "the file is the same byte by byte" if found.same_file else "the files differ"
    out.print(
        f"{verdict} fitted again on {found.rows:,} rows; {found.differing:,} of {found.compared:,} predictions "
        f"differ (largest difference {found.largest:.3g}); {file}"
    )


def _where(revision: str) -> str:
    """What to do with a revision: a commit's, or the tag of an image that was made of one."""
    if ":" in revision:
        find = f"python -m infra.deploy.bundle --find {plain(revision)}"
        return f"`{find}` names its commit; check that out, and try again"
    return "check that out, and try again"
