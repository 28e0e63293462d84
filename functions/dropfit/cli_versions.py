# SPDX-License-Identifier: Apache-2.0
"""The commands about versions: what there is, why, and what a person decides."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from . import deployment
from .errors import BadRequest, NotFound
from .terminal import AsJson, err, out, person, print_json
from .text import plain

if TYPE_CHECKING:
    from .explain import Story
    from .operations import Desk, Moved
    from .registry import Registry

VERSION = typer.Argument(metavar="VERSION", help="Its id, or the beginning of it or of its hash, if no other has it.")
Version = Annotated[str, VERSION]
MaybeVersion = Annotated[str, typer.Argument(metavar="[VERSION]", help=VERSION.help)]
PLOTS = (".md", ".png")


def versions(as_json: AsJson = False) -> None:
    """Every version that was ever made, newest first, and how it stands."""
    from . import overview

    found = overview.versions(_registry())
    if as_json:
        print_json(found)
        return
    from . import display_versions as display

    out.print(display.versions(found))


def show(
    version: Version,
    as_json: AsJson = False,
    save: Annotated[
        Path | None, typer.Option("--save", metavar="FOLDER", help="Put report.md and its plots there.")
    ] = None,
) -> None:
    """All about one version: data, metrics, the gate's report, its table, and how it stands."""
    from . import display_versions as display

    registry = _registry()
    told = _story(registry, version)
    if save is not None:
        try:
            files = registry.save_files(told.manifest.version, PLOTS, save)
        except OSError as error:
            raise BadRequest(f"--save {save}: {error.strerror or error}") from error
        out.print(f"saved {', '.join(plain(str(f)) for f in files) or 'nothing: there is no report yet'}")
    elif as_json:
        from . import explain

        print_json(explain.summary(told))
    else:
        out.print(display.version(told))


def why(version: Version) -> None:
    """Explain in words why a version is served, or why not."""
    from . import explain

    for line in explain.why(_story(_registry(), version)):
        out.print(plain(line))


def rollback(version: MaybeVersion = "") -> None:
    """Serve an older version again, model and table together; without a name the one served before.

    A training that is running, or was killed and is resumed, does not undo it. The next upload's training may serve
    a newer version again: `dropfit pin` prevents that.
    """
    desk, registry = _desk()
    _tell(desk.rollback(resolve(registry, version)))


def pin(version: MaybeVersion = "") -> None:
    """Hold the served version, or the one named, against every training until `dropfit unpin`."""
    desk, registry = _desk()
    _tell(desk.pin(resolve(registry, version)))


def unpin() -> None:
    """Let trainings serve their versions again."""
    _tell(_desk()[0].unpin())


def approve(
    version: Version,
    anyway: Annotated[
        bool, typer.Option("--anyway", help="Although it was compared with another version than the served one.")
    ] = False,
) -> None:
    """Serve a version that has passed the gate and waits (publish=hold, a pin, or predictions that moved far)."""
    desk, registry = _desk()
    _tell(desk.approve(resolve(registry, version), anyway))


def reject(
    version: Version, reason: Annotated[str, typer.Option("--reason", "-r", help="For those who ask why.")] = ""
) -> None:
    """Say that a version that waits is not to be served; its rows still count in the next training."""
    desk, registry = _desk()
    found = resolve(registry, version)
    desk.reject(found, reason)
    out.print(f"rejected: {plain(found)}")


VERBS = (versions, show, why, rollback, pin, unpin, approve, reject)


def _registry() -> Registry:
    from .registry import Registry

    return Registry(deployment.connect()[1].models)


def _desk() -> tuple[Desk, Registry]:
    from .operations import Desk
    from .receipts import Receipts
    from .registry import Registry
    from .warehouse import Warehouse

    settings, buckets = deployment.connect()
    registry = Registry(buckets.models)
    return Desk(registry, Receipts(buckets.data), Warehouse(settings), person()), registry


def _story(registry: Registry, version: str) -> Story:
    from . import explain

    return explain.story(registry, resolve(registry, version))


def resolve(registry: Registry, version: str) -> str:
    """The version that a person means."""
    if not version or registry.exists(version):
        return version
    ids = registry.ids()
    found = [k for k in ids if k.startswith(version) or k.endswith(version) or k.split("-")[-1].startswith(version)]
    if len(found) == 1:
        return found[0]
    several = f"may be {', '.join(found[:5])}" if found else "is no version: `dropfit versions` lists them"
    raise NotFound(f"{version[:80]!r} {several}")


def _tell(moved: Moved) -> None:
    pointer: Any = moved.pointer
    instead = f" instead of {plain(moved.before)}" if moved.before not in ("", pointer.version) else ""
    pinned = ", pinned" if pointer.pinned else ""
    out.print(f"[green]served:[/] {plain(pointer.version)}{instead}{pinned}")
    for warning in moved.warnings:
        err.print(f"[yellow]but:[/] {plain(warning)}")
