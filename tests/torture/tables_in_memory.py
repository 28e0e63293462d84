# SPDX-License-Identifier: Apache-2.0
"""The warehouse of a world in memory."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from dropfit.errors import NotFound
from dropfit.shift import Count
from dropfit.tables import TableFacts

if TYPE_CHECKING:
    from world import World


class Row(NamedTuple):
    """A row of a table, as far as anybody looks at it."""

    key: str
    version: str


class FakeWarehouse:
    """dropfit.warehouse.Warehouse in memory: tables and the view.

    Args:
        world: whose data bucket it loads from, and whose time it is.
    """

    def __init__(self, world: World) -> None:
        self.held: dict[str, list[Row]] = {}
        self.view = ""
        self.torn = 0
        self._made: dict[str, dt.datetime] = {}
        self._world = world

    def load(self, table: str, columns: Any, uris: Sequence[str], cluster: Any, labels: Any) -> None:
        rows = []
        for uri in uris:
            payload = self._world.data.read(uri.removeprefix(f"gs://{self._world.data.name}/"))
            rows += [Row(*line.split("\t")) for line in payload.decode().splitlines()]
        if self.torn:
            self.torn -= 1
            rows = rows[:-1]
        self.held[table] = rows
        self._made.setdefault(table, dt.datetime.fromtimestamp(self._world.now, dt.UTC))

    def facts(self, table: str, key: Any, version: str) -> TableFacts:
        if table not in self.held:
            raise NotFound(f"{table} does not exist")
        rows = self.held[table]
        return TableFacts(len(rows), len({row.key for row in rows}), 0, sum(row.version != version for row in rows))

    def spread(self, before: str, after: str, numbers: bool) -> list[Count]:
        """Nothing was predicted: all tables are alike."""
        if before not in self.held:
            raise NotFound(f"{before} does not exist")
        return [Count(0, len(self.held[before]), len(self.held[after]))]

    def point_view(self, table: str) -> None:
        self.view = table

    def shown(self) -> str:
        return self.view

    def exists(self, table: str) -> bool:
        return table in self.held

    def tables(self) -> dict[str, dt.datetime]:
        return {table: self._made[table] for table in self.held}

    def drop(self, table: str) -> None:
        self.held.pop(table, None)
        self._made.pop(table, None)
