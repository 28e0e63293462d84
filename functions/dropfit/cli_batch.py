# SPDX-License-Identifier: Apache-2.0
"""`dropfit batch ...`: predictions for whole files and for the static-serving table."""

from __future__ import annotations

from typing import Annotated

import typer

from .terminal import AsJson, out, print_json

app = typer.Typer(help="Predictions for whole files, and for the static-serving table.", no_args_is_help=True)


@app.command()
def cost(
    rows: Annotated[int, typer.Option(min=0, help="Rows to predict.")],
    bytes_read: Annotated[int, typer.Option("--bytes", min=0, help="Of the input; 0: 20 a row.")] = 0,
    rate: Annotated[float, typer.Option(help="Rows a vCPU predicts in a second; `make bench-batch`.")] = 376_000.0,
    machine: Annotated[str, typer.Option(help="The workers' type.")] = "n2-standard-4",
    workers: Annotated[int, typer.Option(min=0, help="0: one for every five minutes of work.")] = 0,
    most: Annotated[int, typer.Option("--max-workers", min=1)] = 10,
    start_seconds: Annotated[float, typer.Option(min=0, help="Of a worker, until it predicts.")] = 180.0,
    months: Annotated[float, typer.Option(min=0, help="How long shards and table are kept.")] = 1.0,
    vcpu_hour: Annotated[float, typer.Option(help="Price of a worker's vCPU.")] = 0.056,
    gb_hour: Annotated[float, typer.Option(help="Price of a GB of its memory.")] = 0.003557,
    disk_gb_hour: Annotated[float, typer.Option(help="Price of a GB of its disk.")] = 0.000054,
    shuffle_gb: Annotated[float, typer.Option(help="Price of a shuffled GB.")] = 0.011,
    write_1000: Annotated[float, typer.Option(help="Price of 1000 class A operations.")] = 0.005,
    read_1000: Annotated[float, typer.Option(help="Price of 1000 class B operations.")] = 0.0004,
    storage_gb_month: Annotated[float, typer.Option(help="Price of a GB in Cloud Storage.")] = 0.020,
    table_gb_month: Annotated[float, typer.Option(help="Price of a GB in BigQuery.")] = 0.023,
    as_json: AsJson = False,
) -> None:
    """What predicting ROWS on Dataflow costs, with the arithmetic.

    The prices' defaults are list prices of us-central1 as of November 2025, in US dollars: check them.
    """
    from . import costs

    prices = costs.Prices(
        vcpu_hour=vcpu_hour,
        gb_hour=gb_hour,
        disk_gb_hour=disk_gb_hour,
        shuffle_gb=shuffle_gb,
        write_1000=write_1000,
        read_1000=read_1000,
        storage_gb_month=storage_gb_month,
        table_gb_month=table_gb_month,
    )
    work = costs.Work(
        rows=rows,
        bytes_read=bytes_read,
        rate=rate,
        machine=machine,
        workers=workers,
        most=most,
        start_seconds=start_seconds,
        months=months,
    )
    made = costs.bill(work, prices)
    if as_json:
        print_json(made._asdict() | {"lines": [line._asdict() for line in made.lines]})
        return
    out.print(costs.told(work, made), markup=False, highlight=False, soft_wrap=True)
