# SPDX-License-Identifier: Apache-2.0
"""What a table in BigQuery is found to hold, before anybody is served from it."""

from __future__ import annotations

import abc
from collections.abc import Mapping, Sequence
from typing import Any

from .rules import ABSTENTION
from .shift import ABSTAINED, BINS, Count
from .tables import TableFacts


class Inspection(abc.ABC):
    """The questions that a table is asked; what a warehouse answers them with is in warehouse.py."""

    @abc.abstractmethod
    def name(self, table: str) -> str:
        """A table's full name."""

    @abc.abstractmethod
    def query(self, sql: str, parameters: Mapping[str, Any]) -> list[Any]:
        """Rows of a query."""

    def facts(self, table: str, key: Sequence[str], version: str) -> TableFacts:
        """What a table holds: rows, distinct keys, rows without prediction or abstention, rows of another version."""
        quoted = ", ".join(f"`{name}`" for name in key)
        sql = f"""
            SELECT SUM(n) AS all_rows, COUNT(*) AS all_keys, SUM(n_null) AS null_rows, SUM(n_other) AS other_rows
            FROM (
              SELECT COUNT(*) AS n,
                     COUNTIF((prediction IS NULL) != REGEXP_CONTAINS(IFNULL(policy, ''), @abstained)) AS n_null,
                     COUNTIF(model_version IS NULL OR model_version != @version) AS n_other
              FROM `{self.name(table)}` GROUP BY {quoted}
            )"""  # noqa: S608 (names are checked, the value is a parameter)
        (row,) = self.query(sql, {"version": version, "abstained": ABSTENTION})
        return TableFacts(*(int(row[name] or 0) for name in ("all_rows", "all_keys", "null_rows", "other_rows")))

    def sample(self, table: str, key: Sequence[str], rows: int) -> list[dict[str, Any]]:
        """So many rows of a table (or all), every column of each; chosen by a hash of their key: always the same."""
        # With FARM_FINGERPRINT there the emulator leaves out the probabilities, and takes ten times as long.
        chosen = f"MD5(TO_JSON_STRING(STRUCT({', '.join(f'`{name}`' for name in key)})))"
        sql = f"SELECT * FROM `{self.name(table)}` ORDER BY {chosen} LIMIT {rows:d}"  # noqa: S608
        return [dict(row.items()) for row in self.query(sql, {})]

    def spread(self, before: str, after: str, numbers: bool) -> list[Count]:
        """How often each prediction occurs in two tables.

        Args:
            before: the older; numbers are counted between its quantiles, at them, and beyond.
            after: the newer.
            numbers: whether predictions are numbers, and not labels.

        Raises:
            NotFound: when one is gone.
        """
        given: dict[str, Any] = {}
        place = "prediction"
        if numbers:
            sql = f"SELECT APPROX_QUANTILES(prediction, {BINS}) AS edges FROM `{self.name(before)}`"  # noqa: S608
            given["edges"] = sorted(set(self.query(sql, {})[0]["edges"] or ()))
            # A bin between two edges has an even number, an edge itself an odd one.
            place = "2 * RANGE_BUCKET(prediction, @edges) - IF(prediction IN UNNEST(@edges), 1, 0)"
        sql = f"""
            SELECT place, COUNTIF(older) AS n_before, COUNTIF(NOT older) AS n_after
            FROM (
              SELECT IF(prediction IS NULL, NULL, {place}) AS place, TRUE AS older FROM `{self.name(before)}`
              UNION ALL
              SELECT IF(prediction IS NULL, NULL, {place}) AS place, FALSE AS older FROM `{self.name(after)}`
            ) GROUP BY place"""  # noqa: S608
        found = self.query(sql, given)
        counted = []
        for number, row in enumerate(found):
            at = ABSTAINED if row["place"] is None else row["place"] if numbers else number  # labels have no order
            counted.append(Count(at, row["n_before"], row["n_after"]))
        return counted
