# SPDX-License-Identifier: Apache-2.0
"""`dropfit ...`: the same verbs against the local cloud and against a project in Google Cloud.

Heavy libraries are imported where they are used, so that `--help` comes at once.
"""

from __future__ import annotations

import signal
import sys
from pathlib import Path
from types import FrameType
from typing import Annotated

import typer

from . import cli_batch, cli_cloud, cli_jobs, cli_models, cli_quarantine, cli_versions, deployment
from . import settings as config
from .errors import BadRequest, DropfitError, NotFound
from .terminal import AsJson, Wait, err, follower, out, print_json, tell_until_done
from .text import plain

app = typer.Typer(
    name="dropfit",
    help="Drop a file in a bucket; a fitted, checked model is served.",
    epilog="On a laptop start with `dropfit up`. For the cloud, `dropfit deploy`.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="markdown",
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.add_typer(cli_batch.app, name="batch", rich_help_panel="Data and predictions")
app.add_typer(cli_quarantine.app, name="quarantine", rich_help_panel="Data and models")


def main() -> None:
    """Run the command line. Exit status: 0 done, 1 not done and why, 2 not understood, 130 interrupted."""
    signal.signal(signal.SIGTERM, _interrupt)
    try:
        app()
    except BadRequest as error:
        err.print(f"[red]refused:[/] {plain(error.detail)}")
        for where, why in error.fields.items():
            err.print(f"  {plain(where)}: {plain(why)}")
        sys.exit(1)
    except DropfitError as error:
        err.print(f"[red]not done:[/] {plain(str(error))}", soft_wrap=True)  # a command in it can be copied
        sys.exit(1)
    except KeyboardInterrupt:
        sys.exit(130)


def _interrupt(number: int, frame: FrameType | None) -> None:
    raise KeyboardInterrupt  # unwinds, so that what was half started is stopped


@app.command(rich_help_panel="Local cloud")
def up(
    detach: Annotated[bool, typer.Option("--detach", "-d", help="Return once all is healthy.")] = False,
    port: Annotated[list[str] | None, typer.Option("--port", metavar="NAME=N", help="Such as predict=8080.")] = None,
) -> None:
    """Start the local cloud and stay until Ctrl-C: emulators, local Eventarc, both functions."""
    from localcloud import cloud

    from .contract import load_problem

    load_problem(config.problem_reference())  # a contradiction is told now, and not by five processes
    home, ports = config.home(), cloud.parse_ports(",".join(port or ()))
    if detach:
        cloud.start_detached(home, ports, out.print)
        _where(home)
    else:
        cloud.serve(home, ports, out.print, ready=lambda: _where(home))


@app.command(rich_help_panel="Local cloud")
def down() -> None:
    """Stop the local cloud; what it stored stays."""
    from localcloud import cloud

    out.print("stopped" if cloud.stop(config.home()) else "nothing was running")


@app.command(rich_help_panel="Data and predictions")
def status(as_json: AsJson = False, most: Annotated[int, typer.Option("--uploads", min=0)] = 10) -> None:
    """Processes, the served version and its metrics, the last uploads and what became of them."""

    found = deployment.status(most)
    if as_json:
        print_json(found)
        return
    from . import display

    out.print(display.status(found))


@app.command(rich_help_panel="Data and predictions")
def upload(
    files: Annotated[list[Path], typer.Argument(exists=True, dir_okay=False, readable=True, metavar="FILE...")],
    name: Annotated[str, typer.Option("--as", metavar="NAME", help="Object name instead of the file's own.")] = "",
    wait: Wait = False,
) -> None:
    """Put files into the landing bucket: CSV, gzipped CSV, JSON lines or Parquet."""
    from rich import progress

    from .receipts import UploadedObject

    if name and len(files) > 1:
        raise BadRequest("--as names one file; upload them one by one")
    names = [name or file.name for file in files]
    for wanted in names:
        _check_name(wanted)
    _, buckets = deployment.connect()
    following = follower(buckets)
    ids = []
    for file, wanted in zip(files, names, strict=True):
        with progress.open(file, "rb", description=f"uploading {file.name}", console=err, transient=True) as stream:
            stored = buckets.landing.put(wanted, stream)
        uploaded = UploadedObject(stored.bucket, stored.name, stored.generation)
        ids.append(uploaded.id)
        out.print(f"uploaded {plain(buckets.landing.uri(stored.name))} ({stored.size:,} bytes)")
    if not wait:
        out.print("`dropfit status` says what becomes of it; with --wait this command does.")
        return
    tell_until_done(following.uploads(ids))


@app.command(rich_help_panel="Jobs")
def train(
    objects: Annotated[list[str] | None, typer.Argument(metavar="[OBJECT]...")] = None, wait: Wait = False
) -> None:
    """Train now: on the named uploads, or on the window of problem.py. For training=static, and to try again."""
    from . import lease, orders, overview
    from .launch import launcher

    settings, buckets = deployment.connect()
    trainable = overview.trainable(buckets)
    unknown = [name for name in objects or () if name not in trainable]
    if unknown or not trainable:
        raise NotFound(f"not among the uploads taken in: {', '.join(unknown) or 'there are none'}")
    following = follower(buckets)
    request = orders.ask(buckets.data, tuple(objects or ()))
    if lease.read(buckets.data)[0] is None:
        out.print(f"training launched: {plain(launcher(settings).launch())}")
    else:
        out.print("a job is at work; it will train once more when it is done")
    if wait:
        tell_until_done(following.run(lambda: not orders.is_waiting(buckets.data, request)))


@app.command(rich_help_panel="Data and predictions")
def predict(
    instance: Annotated[str, typer.Argument(metavar="JSON|-", help="An instance, a list, or a request; - is stdin.")],
) -> None:
    """Ask the predict function."""
    from . import client

    text = sys.stdin.read() if instance == "-" else instance
    print_json(client.predict(config.load_for_person(), client.instances(text)))


@app.command(rich_help_panel="Jobs")
def logs(
    name: Annotated[str, typer.Argument(metavar="[NAME]", help="Its beginning is enough: retrain, predict ...")] = "",
    lines: Annotated[int, typer.Option("--lines", "-n", min=1)] = 50,
) -> None:
    """The newest log of that name; without a name, which logs there are."""
    from . import logs as log

    settings = config.load_for_person() if not deployment.local_processes() else None
    if settings is not None and settings.retrain_job:
        print("\n".join(log.entries(settings, name or "retrain", lines)))
        return
    folder = Path(settings.jobs_dir) if settings is not None else config.home() / "logs"
    if not name:
        from . import display

        out.print(display.logs(log.files(folder)))
        return
    found, text = log.tail(folder, name, lines)
    err.print(f"[dim]{plain(str(found.path))}[/]")
    print("\n".join(text))


for _verb in (*cli_versions.VERBS, *cli_models.VERBS):
    app.command(rich_help_panel="Versions")(_verb)
for _verb in cli_jobs.VERBS:
    app.command(rich_help_panel="Jobs")(_verb)
for _verb in cli_cloud.VERBS:
    app.command(rich_help_panel="Google Cloud")(_verb)


def _where(home: Path) -> None:
    """Say where things are, and what to do next."""
    from . import display

    out.print(display.whereabouts(config.load_for_person(), home))


def _check_name(name: str) -> None:
    """Names that storage takes, and that no tool takes for a path elsewhere."""
    parts = name.split("/")
    if "" in parts or ".." in parts or "." in parts or not name.isprintable() or len(name.encode()) > 1024:
        raise BadRequest(f"{name[:80]!r} is no good object name: no empty part, . or .., at most 1,024 bytes")
