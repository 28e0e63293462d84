# SPDX-License-Identifier: Apache-2.0
"""What a deployment costs in a month, from list prices: `python -m infra.deploy.cost [--size team]`.

Prices are inputs: prices.toml beside this file, or --prices FILE. What is used is in usage.py. A batch prediction on
Dataflow is none of this: `dropfit batch cost` has that bill.
"""

from __future__ import annotations

import json
import math
import tomllib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple

import msgspec
import typer
from rich.console import Console
from rich.table import Table

from dropfit.errors import DropfitError, SettingsError

from .sizes import SIZES, VARIANTS, Size
from .usage import Use, uses

PRICES = Path(__file__).with_name("prices.toml")
Prices = Mapping[str, "Price"]
app = typer.Typer(add_completion=False)
HINT = "--size team has the arithmetic. Prices are inputs, the oldest of {}:\ncheck them, see {}."


class Price(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What Google asks for something.

    Attributes:
        price: of `per` units, in the file's currency.
        per: units.
        unit: what is counted.
        free: units a month that cost nothing.
        shared: who has the free ones together: the billing account's projects, or one project's deployments.
        page: where to check it.
        source: how it was found: in a stored copy of the `page`, with `others`, in `memory`; `checked` on it.
        date: when: year and month.
    """

    price: float
    per: float = 1.0
    unit: str
    free: float = 0.0
    shared: Literal["account", "project"] | None = None
    page: str
    source: Literal["page", "others", "memory", "checked"]
    date: Annotated[str, msgspec.Meta(pattern=r"^20\d\d-[01]\d$")]


class Line(NamedTuple):
    """A line of the bill.

    Attributes:
        item: what is paid for.
        price: its name in prices.toml.
        unit: of the quantities.
        used: a month.
        free: of it that cost nothing.
        amount: for the rest.
        how: where the quantity comes from.
    """

    item: str
    price: str
    unit: str
    used: float
    free: float
    amount: float
    how: str


def read_prices(file: Path | None = None) -> dict[str, Price]:
    """The prices of the file, and ours for what it leaves out.

    Raises:
        SettingsError: when it cannot be read, names a price that nobody asks for, or has one that is none.
    """
    ours = _tables(PRICES)
    given = _tables(file) if file else {}
    if unknown := sorted(set(given) - set(ours)):
        raise SettingsError(f"{file}: no such prices: {', '.join(unknown)}. There are: {', '.join(sorted(ours))}")
    try:
        prices = {name: msgspec.convert(table | given.get(name, {}), Price) for name, table in ours.items()}
    except msgspec.ValidationError as error:
        raise SettingsError(f"{file or PRICES}: {error}") from error
    for name, price in prices.items():
        if not all(math.isfinite(v) and v >= 0 for v in (price.price, price.free)) or not 0 < price.per < math.inf:
            raise SettingsError(f"{file or PRICES}: {name}: price and free are 0 or more, per is more than 0")
    return prices


def _tables(file: Path) -> dict[str, dict[str, Any]]:
    try:
        found = tomllib.loads(file.read_text())
    except OSError as error:
        raise SettingsError(f"{file} cannot be read: {error.strerror or error}") from error
    except ValueError as error:
        raise SettingsError(f"{file} cannot be read as TOML: {error}") from error
    if stray := sorted(name for name, table in found.items() if not isinstance(table, dict)):
        raise SettingsError(f"{file}: {', '.join(stray)} stands outside of any [price]")
    return found


def bill(used: Iterable[Use], prices: Prices) -> list[Line]:
    """Quantities times prices; what is free of a price is free once, in the lines' order."""
    left = {name: price.free for name, price in prices.items()}
    lines = []
    for use in used:
        price = prices[use.price]
        free = min(use.quantity, left[use.price])
        left[use.price] -= free
        amount = (use.quantity - free) / price.per * price.price
        lines.append(Line(use.item, use.price, price.unit, use.quantity, free, amount, use.how))
    return lines


def month(size: Size, prices: Prices) -> list[Line]:
    """The bill of a month of this size."""
    return bill(uses(size), prices)


def total(lines: Iterable[Line]) -> float:
    """What it comes to."""
    return sum(line.amount for line in lines)


def items(lines: Iterable[Line]) -> dict[str, float]:
    """Amounts by item, in the bill's order."""
    summed: dict[str, float] = {}
    for line in lines:
        summed[line.item] = summed.get(line.item, 0.0) + line.amount
    return summed


def unfree(prices: Prices) -> dict[str, Price]:
    """The same prices where other projects of the billing account have used up what is free for it."""
    taken = {name: msgspec.structs.replace(p, free=0.0) for name, p in prices.items() if p.shared == "account"}
    return {**prices, **taken}


def overview(prices: Prices) -> list[list[str]]:
    """All sizes side by side: a heading, a row for each item, the total, and that where others use the free tiers."""
    bills = {name: month(size, prices) for name, size in SIZES.items()}
    summed = {name: items(lines) for name, lines in bills.items()}
    rows = [[item, *(_money(summed[name].get(item, 0.0)) for name in bills)] for item in summed["team"]]
    shared = [total(month(size, unfree(prices))) for size in SIZES.values()]
    return [
        ["$ a month", *bills],
        *rows,
        ["total", *(_money(total(lines)) for lines in bills.values())],
        ["total, where others use the free tiers", *map(_money, shared)],
    ]


def choices(prices: Prices) -> list[list[str]]:
    """What a choice is worth: a heading, and the total of each variant."""
    return [["$ a month", "total"], *([name, _money(total(month(size, prices)))] for name, size in VARIANTS.items())]


def _money(amount: float) -> str:
    return "0" if not amount else f"{amount:,.2f}" if amount >= 0.005 else "< 0.01"


def _hint(prices: Prices) -> str:
    return HINT.format(min(price.date for price in prices.values()), PRICES.relative_to(Path(__file__).parents[2]))


def markdown(rows: list[list[str]]) -> str:
    """A table as docs/deploy.md has it: the first row is its heading."""
    head, *body = rows
    rule = ["---", *["--:"] * (len(head) - 1)]
    return "\n".join(f"| {' | '.join(row)} |" for row in [head, rule, *body])


def _shown(rows: list[list[str]]) -> Table:
    table = Table(box=None, header_style="bold")
    for number, column in enumerate(rows[0]):
        table.add_column(column, justify="right" if number else "left")
    for row in rows[1:]:
        table.add_row(*row, style="bold" if row[0] == "total" else None)
    return table


def _one(lines: list[Line], prices: Prices) -> Table:
    table = Table(box=None, header_style="bold", show_footer=True, footer_style="bold")
    table.add_column("item", footer="total", no_wrap=True)
    table.add_column("$ a month", footer=_money(total(lines)), justify="right", no_wrap=True)
    table.add_column("how")
    for line in lines:
        if line.used:
            table.add_row(line.item, _money(line.amount), f"{_arithmetic(line, prices)}\n[dim]{line.how}[/]")
    return table


def _arithmetic(line: Line, prices: Prices) -> str:
    price = prices[line.price]
    asked = f"{price.price:.7f}".rstrip("0").rstrip(".") + (f"/{price.per:,.0f}" if price.per != 1 else "")
    used, free = (f"{value:,.0f}" if value >= 100 else f"{value:,.3g}" for value in (line.used, line.free))
    return f"({used} - {free} free) {line.unit} x {asked}" if line.free else f"{used} {line.unit} x {asked}"


@app.command()
def main(
    size: Annotated[str, typer.Option(help=f"One of them, with its arithmetic: {', '.join(SIZES)}.")] = "",
    prices: Annotated[
        Path | None, typer.Option(help="TOML like infra/deploy/prices.toml; what differs is enough.")
    ] = None,
    no_free: Annotated[bool, typer.Option("--no-free", help="As if others used up every free tier.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="For programs.")] = False,
    as_markdown: Annotated[bool, typer.Option("--markdown", help="The tables of docs/deploy.md.")] = False,
) -> None:
    """What a deployment costs in a month, from list prices: check those before you rely on it."""
    try:
        asked = read_prices(prices)
        if size and size not in SIZES:
            raise SettingsError(f"there is no size {size!r}; there are: {', '.join(SIZES)}")
    except DropfitError as error:
        raise SystemExit(str(error)) from error
    asked = unfree(asked) if no_free else asked
    console = Console()
    if as_json:
        chosen = {name: month(SIZES[name], asked) for name in ([size] if size else SIZES)}
        made = {
            n: {"total": total(lines), "lines": [line._asdict() for line in lines]} for n, lines in chosen.items()
        }
        print(json.dumps(made, indent=2))
    elif as_markdown:
        print(markdown(overview(asked)), markdown(choices(asked)), sep="\n\n")
    elif size:
        console.print(_one(month(SIZES[size], asked), asked))
    else:
        console.print(_shown(overview(asked)), "", _shown(choices(asked)), "", _hint(asked), sep="\n")


if __name__ == "__main__":
    app()
