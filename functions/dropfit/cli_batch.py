# SPDX-License-Identifier: Apache-2.0
"""`dropfit batch ...`: predictions for whole files and for the static-serving table.

The only module of the package that imports the pipelines, and only when a command needs them: a person's command is
where the parts are put together.
"""

from __future__ import annotations

import io
import logging
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr
from typing import TYPE_CHECKING, Annotated, Any

import typer

from . import costs
from . import settings as config
from .terminal import AsJson, Wait, err, follower, out, person, print_json, tell_until_done
from .text import plain

if TYPE_CHECKING:
    from beam_pipelines.score import Scored

PRICES, WORK = costs.Prices(), costs.Work(rows=0)
SOME_SET_ASIDE = 3
"""Exit status: all is done, and some rows could not be predicted."""
app = typer.Typer(help="Predictions for whole files, and for the static-serving table.", no_args_is_help=True)


@app.command()
def cost(
    rows: Annotated[int, typer.Option(min=0, help="Rows to predict.")],
    bytes_read: Annotated[int, typer.Option("--bytes", min=0, help="Of the input; 0: 20 a row.")] = WORK.bytes_read,
    rate: Annotated[float, typer.Option(help="Rows a vCPU predicts in a second; `make bench-batch`.")] = WORK.rate,
    machine: Annotated[str, typer.Option(help="The workers' type.")] = WORK.machine,
    workers: Annotated[int, typer.Option(min=0, help="0: one for every five minutes of work.")] = WORK.workers,
    most: Annotated[int, typer.Option("--max-workers", min=1)] = WORK.most,
    start_seconds: Annotated[float, typer.Option(min=0, help="Of a worker, until it predicts.")] = WORK.start_seconds,
    months: Annotated[float, typer.Option(min=0, help="How long shards and table are kept.")] = WORK.months,
    vcpu_hour: Annotated[float, typer.Option(help="Price of a worker's vCPU.")] = PRICES.vcpu_hour,
    gb_hour: Annotated[float, typer.Option(help="Price of a GB of its memory.")] = PRICES.gb_hour,
    disk_gb_hour: Annotated[float, typer.Option(help="Price of a GB of its disk.")] = PRICES.disk_gb_hour,
    shuffle_gb: Annotated[float, typer.Option(help="Price of a shuffled GB.")] = PRICES.shuffle_gb,
    write_1000: Annotated[float, typer.Option(help="Price of 1000 class A operations.")] = PRICES.write_1000,
    read_1000: Annotated[float, typer.Option(help="Price of 1000 class B operations.")] = PRICES.read_1000,
    storage_gb_month: Annotated[
        float, typer.Option(help="Price of a GB in Cloud Storage.")
    ] = PRICES.storage_gb_month,
    table_gb_month: Annotated[float, typer.Option(help="Price of a GB in BigQuery.")] = PRICES.table_gb_month,
    as_json: AsJson = False,
) -> None:
    """What predicting ROWS on Dataflow costs, with the arithmetic.

    The prices' defaults are list prices of us-central1 as of November 2025, in US dollars: check them.
    """
    given = locals()
    prices = costs.Prices(**{name: given[name] for name in costs.Prices.__struct_fields__})
    work = costs.Work(**{name: given[name] for name in costs.Work.__struct_fields__ if name in given})
    made = costs.bill(work, prices)
    if as_json:
        print_json(made._asdict() | {"lines": [line._asdict() for line in made.lines]})
        return
    out.print(costs.told(work, made), markup=False, highlight=False, soft_wrap=True)


@app.command()
def predict(
    inputs: Annotated[
        list[str],
        typer.Argument(
            metavar="INPUT...",
            help="Files, folders, patterns, also as gs://BUCKET/...; bq://DATASET.TABLE; a query (SELECT ...).",
        ),
    ],
    output: Annotated[
        str,
        typer.Option(
            "--output",
            "-o",
            metavar="OUTPUT",
            help="FILE.parquet, FILE.csv, FILE.csv.gz or FOLDER/ (here or as gs://BUCKET/...), or bq://DATASET.TABLE.",
        ),
    ],
    version: Annotated[str, typer.Option(help="Predict with this version instead of the served one.")] = "",
    rejected: Annotated[
        str, typer.Option(metavar="FILE.csv", help="Where rows go that cannot be predicted; else beside the output.")
    ] = "",
    replace: Annotated[bool, typer.Option("--replace", help="Replace an output that is there already.")] = False,
    as_json: AsJson = False,
) -> None:
    """Predict every row of files, tables or a query: CSV, Parquet, JSON lines in; Parquet, CSV, BigQuery out.

    The output has the columns of the input and the prediction's. Rows that break the contract are set aside with the
    reason. A run that was interrupted goes on where it was when the same command is given again.

    Exit status: 0 every row is predicted, 3 some rows were set aside, 1 not done.
    """
    settings = config.load_for_person()
    logging.getLogger("apache_beam").setLevel(logging.CRITICAL)
    logging.getLogger("urllib3").setLevel(logging.ERROR)
    with err.status("starting ..."):
        from beam_pipelines.score import score
    began = time.monotonic()
    found = score(settings, tuple(inputs), output, version, rejected, replace, _watch)
    seconds = time.monotonic() - began
    if as_json:
        print_json({**found._asdict(), "seconds": round(seconds, 3)})
    else:
        _tell(found, seconds)
    if found.rejected:
        raise typer.Exit(SOME_SET_ASIDE)


@contextmanager
def _watch(ledger: Any, plan: Any) -> Iterator[None]:
    """A bar; and nothing of what Beam prints of a failure beside its log, a hundred lines of its own frames."""
    from rich.console import Console

    from .progress import Done, following

    console = Console(file=sys.stderr, highlight=False)
    with following(console, "predicting", lambda: Done(*ledger.progress(plan))), redirect_stderr(io.StringIO()):
        yield


def _tell(found: Scored, seconds: float) -> None:
    from .progress import rate

    out.print(
        f"[bold]{found.rows:,}[/] rows predicted by {found.version} in {seconds:,.1f} s "
        f"({rate(found.rows + found.rejected, seconds)}): {plain(found.output)}"
    )
    for rule, rows in found.policy.items():
        out.print(f"  the policy's {plain(rule)} changed {rows:,}")
    if found.rejected:
        out.print(
            f"[yellow]{found.rejected:,} rows were set aside[/], each with its reason, in {plain(found.sheet)}:"
        )
        for reason, rows in list(found.reasons.items())[:10]:
            out.print(f"  {rows:,}  {plain(reason)}")


@app.command()
def refresh(
    wait: Wait = False,
    force: Annotated[
        bool,
        typer.Option(
            "--force", help="Also when no key has come, and although its predictions lie far from the served ones."
        ),
    ] = False,
) -> None:
    """Fill the static-serving table anew with the served model when keys have come: no training, the same version."""
    from . import deployment, lease, refreshes
    from .errors import NotFound
    from .launch import launcher
    from .registry import Registry

    settings, buckets = deployment.connect()
    if Registry(buckets.models).current().pointer is None:
        raise NotFound("nothing is served yet: the first training fills the first table")
    following = follower(buckets)
    request = refreshes.ask(buckets.data, person(), force)
    if lease.read(buckets.data)[0] is None:
        out.print(f"refresh launched: {plain(launcher(settings).launch())}")
    else:
        out.print("a job is at work; it will refresh the table when it is done")
    if wait:
        tell_until_done(following.run(lambda: not refreshes.is_waiting(buckets.data, request)))


@app.command()
def universe(as_json: AsJson = False) -> None:
    """Which keys the table would hold, how peaked they are, what they cover and take: from accepted data, untrained.

    DROPFIT_UNIVERSE, DROPFIT_COVERAGE, DROPFIT_TABLE_ROWS and DROPFIT_FREQUENCY say which keys.
    """
    import msgspec

    from . import accepted, deployment, population, universe_report
    from .contract import load_problem

    settings, buckets = deployment.connect()
    problem = load_problem(settings.problem)
    with err.status("counting keys") as shown:
        counted = accepted.counted(problem, buckets.data, lambda what: shown.update(plain(what)))
        keys = population.chosen(problem.contract, counted, settings)
    found = universe_report.report(problem.contract, keys, settings)
    if as_json:
        print_json(msgspec.to_builtins(found))
        return
    from . import display_universe as display

    out.print(display.universe(found))
