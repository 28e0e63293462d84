# SPDX-License-Identifier: Apache-2.0
"""The commands about jobs: what they did, going on after a fault, and clearing away."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from . import deployment
from .terminal import AsJson, Wait, err, follower, out, person, print_json, tell_until_done
from .text import plain

if TYPE_CHECKING:
    from .storage import Buckets


def runs(as_json: AsJson = False, most: Annotated[int, typer.Option("--most", "-n", min=1)] = 20) -> None:
    """Every run of the retraining job, newest first: its steps, how long they took, and how it ended."""
    from . import overview

    found = overview.runs(deployment.connect()[1].data, most)
    if as_json:
        print_json(found)
        return
    from . import display_versions as display

    out.print(display.runs(found))


def replay(
    name: Annotated[str, typer.Argument(metavar="[OBJECT]", help="An object of the landing bucket.")] = "",
    wait: Wait = False,
) -> None:
    """Go on now, without a new event: register what no event announced and start a job for what waits.

    With OBJECT that upload is taken in again from the start, whatever became of it before.
    """
    from . import replay as again
    from . import sweep
    from .launch import launcher

    settings, buckets = deployment.connect()
    following = follower(buckets)
    done = again.replay(buckets, launcher(settings), name)
    if done.registered:
        out.print(f"{done.registered} uploads had no receipt; they have one now")
    if done.launched:
        out.print(f"job launched: {plain(done.launched)}")
    else:
        out.print(_at_work(buckets) if done.waiting else "nothing waits")
    repaired = sweep.mend_view(settings, buckets)
    if repaired:
        out.print(f"the view shows {plain(repaired)} again")
    if wait and done.waiting:
        tell_until_done(following.uploads([receipt.id for receipt in done.waiting]))


def gc(
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would go, and remove nothing.")] = False,
    as_json: AsJson = False,
) -> None:
    """Remove what nothing refers to: tables, files of versions, shards and rows left by crashes and by progress.

    Never removed: what is served, waits or is in training, the versions served last (DROPFIT_KEEP_VERSIONS), what a
    receipt or a manifest names, what is younger than DROPFIT_GC_GRACE_SECONDS, manifests, reports, and uploads.
    """
    from rich.progress import track

    from . import sweep
    from .collect import Collector
    from .launch import launcher
    from .lease import Lease
    from .warehouse import Warehouse

    settings, buckets = deployment.connect()
    collector = Collector(settings, buckets, Warehouse(settings))
    removed: list[Any] = []
    if dry_run:
        orphans = collector.find()
    else:
        with Lease(buckets.data, f"gc of {person()}", settings.lease_seconds) as held:
            orphans = collector.find()
            for orphan in track(orphans, description="removing", console=err, transient=True):
                held.check()
                if collector.remove(orphan):
                    removed.append(orphan)
        sweep.sweep_with(settings, buckets, launcher(settings))  # what came in meanwhile found the lease taken
    shown = orphans if dry_run else removed
    if as_json:
        print_json([{"kind": o.kind, "name": o.name, "why": o.why, "bytes": o.bytes} for o in shown])
        return
    from . import display_versions as display

    out.print(display.orphans(shown, dry_run))


def _at_work(buckets: Buckets) -> str:
    """Who holds the lease, and when it ends if that job is dead."""
    from . import lease

    ends = lease.ends(buckets.data)
    if ends is None:
        return "a job has just ended; it has taken in what waited, or `dropfit replay` again"
    holder, at = ends
    dead = f"were it dead, another starts after {at.astimezone():%H:%M:%S}"
    return f"{plain(holder)} is at work and takes in what waits; {dead}"


VERBS = (runs, replay, gc)
