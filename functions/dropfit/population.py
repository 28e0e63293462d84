# SPDX-License-Identifier: Apache-2.0
"""Whose keys the table holds: those of accepted rows, or those that are asked for, by setting."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Protocol

import msgspec
import numpy as np
import pyarrow as pa

from . import universe
from .contract import Category, Contract
from .counting import Seen
from .domains import domains
from .errors import DropfitError
from .instances import InstanceDecoder
from .settings import Settings
from .universe import Universe
from .view import LOG_VIEW

if TYPE_CHECKING:
    from .warehouse import Warehouse

LOG = logging.getLogger(__name__)
MOST_ASKED = 1_000_000
"""Distinct instances that are read from the log, the most frequent; what is beyond counts as covered by nothing."""
ASKED_SQL = """
    SELECT instance, weight, SUM(weight) OVER () AS total FROM (
      SELECT TO_JSON_STRING(instance) AS instance, SUM(1 / log_share) AS weight
      FROM `{view}`
      WHERE timestamp >= TIMESTAMP_SUB(CURRENT_TIMESTAMP(), INTERVAL @days DAY) AND log_share > 0
      GROUP BY 1
    )
    ORDER BY weight DESC, instance LIMIT @most"""


class Log(Protocol):
    """What is asked of dropfit.warehouse.Warehouse."""

    def name(self, table: str) -> str:
        """The table's full name."""

    def query(self, sql: str, parameters: Mapping[str, Any]) -> list[Any]:
        """Rows of a query."""


def chosen(contract: Contract, counted: Universe, settings: Settings, log: Log | None = None) -> Universe:
    """The keys of a table, as the settings say.

    Args:
        contract: of the version.
        counted: the keys of the accepted rows.
        settings: universe, coverage, table_rows, frequency and frequency_days.
        log: the prediction log; where it is asked for and not given, the settings say where it is.

    Raises:
        SettingsError: when the setting does not fit the contract.
    """
    if settings.universe == "domains":
        return domains(contract, counted, settings.table_rows)
    if settings.universe == "seen":
        return universe.within(counted, settings.table_rows)
    if settings.frequency == "requests":
        counted = _requested(contract, counted, settings, log)
    return universe.frequent(counted, settings.coverage, settings.table_rows)


def _requested(contract: Contract, counted: Universe, settings: Settings, log: Log | None) -> Universe:
    """The keys of recent requests; those of the accepted rows where there is no log, or nothing in it."""
    days = settings.frequency_days
    try:
        found = asked(contract, log or _warehouse(settings), days)
    except DropfitError as error:
        LOG.warning("the prediction log cannot be read: %s", error)
        return counted.noted(f"the prediction log cannot be read, so accepted rows were counted: {error}")
    if len(found):
        return found
    return counted.noted(f"the prediction log holds no request of the last {days} days: accepted rows were counted")


def _warehouse(settings: Settings) -> Warehouse:
    from .warehouse import Warehouse

    return Warehouse(settings)


def asked(contract: Contract, log: Log, days: int) -> Universe:
    """The keys that were asked for, each request weighted by the share of requests that is logged.

    A request counts when its instance is one of the contract; a key that no accepted row holds counts too.

    Args:
        contract: what an instance is.
        log: where the view `prediction_log` is.
        days: of the past.

    Raises:
        Unavailable: when BigQuery does not answer.
        NotFound: when there is no such view.
    """
    sql = ASKED_SQL.format(view=log.name(LOG_VIEW))
    rows = log.query(sql, {"days": days, "most": MOST_ASKED})
    decoder = msgspec.json.Decoder(InstanceDecoder(contract, 1).kind)
    instances, weights, invalid = [], [], 0.0
    for row in rows:
        try:
            instances.append(decoder.decode(_text(row["instance"])))
            weights.append(float(row["weight"]))
        except msgspec.MsgspecError:
            invalid += float(row["weight"])
    seen = Seen(contract)
    kinds = {n: pa.string() if isinstance(contract.feature(n), Category) else pa.float64() for n in contract.key}
    columns = {n: pa.array([getattr(i, n) for i in instances], kind) for n, kind in kinds.items()}
    seen.add(pa.table(columns), np.array(weights))
    total = float(rows[0]["total"]) if rows else 0.0
    seen.add_beside(total - invalid - sum(weights))
    found = seen.universe("requests")
    return found.noted(f"{invalid:,.0f} logged requests are none of the present contract") if invalid else found


def _text(told: Any) -> str:
    """An instance as JSON: where the log's column is a text already, TO_JSON_STRING has quoted it once more."""
    return str(msgspec.json.decode(told)) if str(told).startswith('"') else str(told)
