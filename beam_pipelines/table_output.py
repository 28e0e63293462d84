# SPDX-License-Identifier: Apache-2.0
"""Predictions of a batch as a BigQuery table of a person's own, by one load job over the listed shards."""

from __future__ import annotations

import re
from typing import Any

import pyarrow as pa

from beam_pipelines import shards
from beam_pipelines.folders import GS, folder
from beam_pipelines.ledger import Ledger
from dropfit.encoding import sha256
from dropfit.errors import BadRequest
from dropfit.manifest import VIEW, Manifest
from dropfit.settings import Settings
from dropfit.tables import TableColumn

COLUMN = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,299}\Z")


class TableOutput:
    """A table.

    Args:
        settings: whose project and dataset are meant where none is named.
        name: TABLE, DATASET.TABLE or PROJECT.DATASET.TABLE.

    Raises:
        BadRequest: when it is Dropfit's own.
    """

    def __init__(self, settings: Settings, name: str) -> None:
        self.name = full(settings, name)
        self.sheet = f"{self.name}.rejected.csv"
        self._settings = settings
        self.place = f"{GS}{settings.data_bucket}/batch/{sha256(self.name.encode())[:16]}"
        if self.name.rpartition(".")[2].split("__")[0] == VIEW:
            raise BadRequest(f"{self.name} is Dropfit's own: `dropfit batch refresh` fills it; name another table")

    def taken(self) -> bool:
        """Whether there is such a table."""
        return bool(self._warehouse().has(self.name))

    def abandon(self) -> None:
        """Remove the folder, which is ours alone."""
        folder(self._settings, self.place).delete("/")

    def finish(self, ledger: Ledger, manifest: Manifest) -> None:
        """Load all shards at once; the table is replaced whole or not at all."""
        schema = shards.common(shards.tables(ledger))
        bucket = f"{GS}{self._settings.data_bucket}/"
        uris = [f"{bucket}{ledger.folder.full(name)}" for name in shards.alike(ledger, schema)]
        self._warehouse().load_into(self.name, columns(schema), uris, {"dropfit_version": manifest.version.lower()})
        ledger.folder.delete("/")

    def _warehouse(self) -> Any:
        from dropfit.warehouse import Warehouse

        return Warehouse(self._settings)


def full(settings: Settings, name: str) -> str:
    """PROJECT.DATASET.TABLE of a table that is named with less, which means the deployment's own."""
    parts = name.split(".")
    return ".".join([settings.project, settings.dataset][: 3 - len(parts)] + parts)


def columns(schema: Any) -> list[TableColumn]:
    """An Arrow schema as BigQuery's.

    Raises:
        BadRequest: naming the columns that BigQuery cannot hold.
    """
    bad = [name for name in schema.names if not COLUMN.match(name)]
    if bad:
        raise BadRequest(f"not usable as BigQuery columns: {', '.join(bad)}; rename them, or write a file")
    return [_column(field.name, field.type) for field in schema]


def _column(name: str, kind: Any) -> TableColumn:
    tests = (
        (pa.types.is_boolean, "BOOL"),
        (pa.types.is_integer, "INT64"),
        (pa.types.is_floating, "FLOAT64"),
        (pa.types.is_date, "DATE"),
        (pa.types.is_string, "STRING"),
        (pa.types.is_large_string, "STRING"),
        (pa.types.is_null, "STRING"),
    )
    for test, told in tests:
        if test(kind):
            return TableColumn(name, told)
    if pa.types.is_timestamp(kind):
        return TableColumn(name, "TIMESTAMP" if kind.tz else "DATETIME")
    if pa.types.is_list(kind):
        return _column(name, kind.value_type)._replace(repeated=True)
    if pa.types.is_struct(kind):
        return TableColumn(name, "RECORD", fields=tuple(_column(field.name, field.type) for field in kind))
    raise BadRequest(f"column {name} holds {kind}, which a BigQuery table cannot; write a file")
