# SPDX-License-Identifier: Apache-2.0
"""The whole story on this machine, told as it happens: `make demo`.

A fresh local cloud, January's flights uploaded with Google's own client, a model trained and served, one prediction
through both doors, February uploaded and the served model overwritten. Everything it started is stopped at the end.
"""

from __future__ import annotations

import os
import shutil
import signal
import sys
import threading
import time
from collections.abc import Iterable, Mapping
from pathlib import Path
from types import FrameType
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn
from rich.table import Table

from dropfit import display, settings
from dropfit.contract import load_problem
from dropfit.errors import DropfitError, LocalCloudError, Unavailable
from dropfit.follow import Follower, Moment
from dropfit.text import plain

from . import flights
from .cloud import LocalCloud, stop

INSTANCE = {"carrier": "UA", "origin": "EWR", "dest": "IAH", "weekday": 4, "hour": 17}
PATIENCE = 240.0
STEPS = 10
"""Moments of one upload: received, launched, six steps, the job's end, the outcome."""
TOLD = {"ingest", "train", "export", "gate", "table", "promote"}

NOT_YOURS = (
    "The demo tells the story of the template's example, and functions/dropfit/problem.py is your own: try it with "
    "`make up ARGS=--detach`, then `.venv/bin/dropfit upload --wait FILE`."
)


class Story:
    """Tells what happens, line by line over a progress bar, and remembers how long each step took."""

    def __init__(self, console: Console, progress: Progress) -> None:
        self._console = console
        self._progress = progress
        self._bar = progress.add_task("starting", total=None)
        self.seconds: dict[str, dict[str, float]] = {}

    def chapter(self, title: str, total: int | None = None) -> None:
        """A new part begins."""
        self._console.print(f"\n[bold]{title}[/]")
        self._progress.reset(self._bar, total=total, description=title)

    def tell(self, seconds: float | None, what: str, detail: str = "") -> None:
        """One thing has happened; seconds are how long it took."""
        took = f"{seconds:6.2f} s" if seconds is not None else " " * 8
        self._console.print(f"  [dim]{took}[/]  {plain(what):<16} {plain(detail)}")
        self._progress.advance(self._bar)

    def keep(self, upload: str, step: str, seconds: float) -> None:
        """Remember a step's time for the table at the end."""
        self.seconds.setdefault(step, {})[upload] = seconds


class Demo:
    """The acts, in order.

    Args:
        cloud: a running local cloud, whose addresses are in the environment.
        story: tells.
    """

    def __init__(self, cloud: LocalCloud, story: Story) -> None:
        from dropfit import storage
        from dropfit.registry import Registry

        self._settings = settings.load(cloud.env)
        self._buckets = storage.connect(self._settings)
        self._registry = Registry(self._buckets.models)
        self._story = story

    def upload(self, file: Path) -> dict[str, Any]:
        """Upload a file with Google's client, follow it to its promotion; returns the served version."""
        from google.cloud import storage  # type: ignore[attr-defined]  # it ships no types

        from dropfit import overview
        from dropfit.receipts import UploadedObject

        follower, begun = Follower(self._buckets.data, PATIENCE), time.monotonic()
        blob = storage.Client().bucket(self._settings.landing_bucket).blob(file.name)
        blob.upload_from_filename(file)
        self._note(file, "upload", "object arrived", time.monotonic() - begun, f"gs://{blob.bucket.name}/{blob.name}")
        uploaded = UploadedObject(blob.bucket.name, blob.name, int(blob.generation))
        self._follow(file, follower.uploads([uploaded.id]))
        self._note(file, "all", "from upload to promotion", time.monotonic() - begun)
        served = overview.served(self._registry)
        assert served is not None  # noqa: S101 (the outcome was promoted)
        return served

    def _follow(self, file: Path, moments: Iterable[Moment]) -> None:
        for moment in moments:
            what, detail = display.told(moment)
            if moment.what == "finished":
                continue
            if moment.what == "outcome":
                if moment.detail["state"] != "promoted":
                    raise Unavailable(f"{what}: {detail}")
                continue
            self._note(file, moment.what, what, moment.seconds, detail)

    def _note(self, file: Path, step: str, what: str, seconds: float, detail: str = "") -> None:
        self._story.tell(seconds, what, detail)
        self._story.keep(file.stem, step, seconds)

    def predict(self, version: str) -> None:
        """The same prediction over HTTP and from BigQuery.

        Raises:
            Unavailable: when they differ, or the function does not serve the version in time.
        """
        from dropfit import overview
        from dropfit.warehouse import Warehouse

        begun = time.monotonic()
        value = self._over_http(version)
        self._story.tell(time.monotonic() - begun, "over HTTP", f"POST /predict {INSTANCE}: {value:.6f}")
        begun = time.monotonic()
        row = overview.table_row(self._registry, Warehouse(self._settings), INSTANCE)
        self._story.tell(time.monotonic() - begun, "from BigQuery", f"the same key's row: {row['prediction']:.6f}")
        if row["model_version"] != version or abs(row["prediction"] - value) > 1e-5 * abs(value):
            raise Unavailable(
                f"the table says {row['prediction']} of {row['model_version']}, HTTP {value} of {version}"
            )

    def _over_http(self, version: str) -> float:
        from dropfit import client

        deadline = time.monotonic() + 60
        while True:
            try:
                reply = client.predict(self._settings, [INSTANCE])
                if reply["model_version"] == version:
                    return float(reply["predictions"][0]["value"])
                why = f"the predict function still serves {reply['model_version']}, not {version}"
            except Unavailable as error:  # the first version may take a slow machine some time to load
                why = str(error)
            if time.monotonic() > deadline:
                raise Unavailable(why)
            time.sleep(0.05)


def play(home: Path, console: Console) -> None:
    """All acts, from an empty folder to two promoted versions.

    Raises:
        DropfitError: when one of them fails.
    """
    begun = time.monotonic()
    _empty(home)
    with _progress(console) as progress:
        story = Story(console, progress)
        story.chapter("A cloud on this machine")
        threading.Thread(target=_import_clients, daemon=True).start()
        with LocalCloud(home, environ=_clean(os.environ)) as cloud:
            os.environ.update(cloud.env)
            january, february = flights.months(home / "files", (1, 2))
            story.tell(time.monotonic() - begun, "up", "storage, BigQuery, Eventarc, on_upload and predict")
            demo = Demo(cloud, story)
            story.chapter("January is dropped into the bucket", STEPS)
            before = demo.upload(january)
            demo.predict(before["version"])
            story.chapter("February arrives, and the served model is overwritten", STEPS)
            after = demo.upload(february)
            demo.predict(after["version"])
    console.print()
    console.print(display.side_by_side(before, after))
    console.print(_times(story.seconds))
    console.print(f"[green]Done in {time.monotonic() - begun:.1f} s; all that was started is stopped.[/]")
    console.print(f"The logs are in {plain(str(home / 'logs'))}.")
    console.print("Your turn: `make up ARGS=--detach`, then `.venv/bin/dropfit upload FILE`.")


def tells_of(reference: str) -> bool:
    """Whether the problem is the story's: one that takes the story's instance.

    Args:
        reference: the problem, `module:attribute`.

    Raises:
        ContractError: when it cannot be loaded.
    """
    return INSTANCE.keys() <= {feature.name for feature in load_problem(reference).features}


def _progress(console: Console) -> Progress:
    columns = (SpinnerColumn(), TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn())
    return Progress(*columns, console=console, transient=True)


def _times(seconds: dict[str, dict[str, float]]) -> Table:
    names = {"all": "all of it", "upload": "upload"} | {step: what for step, (what, _) in display.STEPS.items()}
    table = display.grid("Seconds", "step", "January", "February", right=["January", "February"])
    for step, taken in seconds.items():
        if step in TOLD or step in ("upload", "all"):
            table.add_row(names[step], *(f"{value:.2f}" for value in taken.values()))
    return table


def _clean(environ: Mapping[str, str]) -> dict[str, str]:
    """The demo is about this clone's own settings, whatever the shell is set up for."""
    return {k: v for k, v in environ.items() if not k.startswith(("DROPFIT_", "GOOGLE_", "BIGQUERY_", "STORAGE_"))}


def _empty(home: Path) -> None:
    """Remove what the last demo left, and nothing that is not a demo's.

    Raises:
        LocalCloudError: when the folder is somebody else's.
    """
    if not home.exists():
        return
    if not (home / "state.json").exists():
        raise LocalCloudError(f"{home} is no folder of a demo, and would be emptied: move it, or set DROPFIT_HOME")
    stop(home)
    shutil.rmtree(home)


def _import_clients() -> None:
    """Google's clients take a second to import: done while the services start."""
    import dropfit.storage
    import dropfit.warehouse  # noqa: F401


def main() -> int:
    """Play it; 0 when all of it worked, 1 when something failed, 130 when interrupted."""
    home = settings.home() / "demo"
    console = Console(highlight=False, width=None if sys.stdout.isatty() else 160)
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, _interrupt)
    try:
        if not tells_of(settings.DEFAULT_PROBLEM):
            console.print(NOT_YOURS)
            return 1
        play(home, console)
    except KeyboardInterrupt:
        console.print("\ninterrupted; all that was started is stopped")
        return 130
    except Exception as error:  # whatever it is, say which log to read
        why = str(error) if isinstance(error, DropfitError) else f"{type(error).__name__}: {error}"
        console.print(f"\n[bold red]The demo failed:[/] {plain(why)}")
        console.print(_logs(home))
        return 1
    return 0


def _interrupt(number: int, frame: FrameType | None) -> None:
    raise KeyboardInterrupt


def _logs(home: Path) -> str:
    jobs = sorted((home / "logs").glob("retrain-*.log"))
    return f"The job's log: {jobs[-1]}" if jobs else f"The logs: {home / 'logs'}"


if __name__ == "__main__":
    sys.exit(main())
