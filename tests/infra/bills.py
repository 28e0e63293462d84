# SPDX-License-Identifier: Apache-2.0
"""Bills of a deployment that does next to nothing: shared by the tests of what it costs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
from typer.testing import CliRunner

from infra.deploy import cost
from infra.deploy.cost import Price, read_prices
from infra.deploy.sizes import Size

ROOT = Path(__file__).parents[2]
INFRA = ROOT / "infra"
PRICES = read_prices()
NOTHING = Size(
    sweeps_per_day=0, uptime_regions=0, conditions=0, counters=0, distributions=0, schedules=0, releases=0, starts=0
)
"""Not even what idles."""


def alone(name: str, price: float = 1.0) -> dict[str, Price]:
    """Prices of which one alone is not zero, for one unit, and none is free."""
    zero = {n: msgspec.structs.replace(p, price=0.0, free=0.0) for n, p in PRICES.items()}
    return {**zero, name: msgspec.structs.replace(zero[name], price=price, per=1.0)}


def changed(size: Size, **fields: Any) -> Size:
    return msgspec.structs.replace(size, **fields)


def prose() -> str:
    """docs/deploy.md, whatever its lines are."""
    return " ".join((ROOT / "docs" / "deploy.md").read_text().split())


def invoked(*arguments: str) -> str:
    result = CliRunner().invoke(cost.app, arguments, env={"COLUMNS": "80"})
    assert result.exit_code == 0, result.output
    return result.output
