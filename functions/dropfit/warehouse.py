# SPDX-License-Identifier: Apache-2.0
"""BigQuery: the only module that touches google.cloud.bigquery.

Names come from the contract, whose column names are checked, and from version ids; values are query parameters.
"""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import requests
from google.api_core import exceptions as google_errors
from google.api_core.retry import Retry
from google.auth import exceptions as auth_errors
from google.cloud import bigquery

from .errors import ArtifactError, BadRequest, NotFound, SettingsError, is_transient, of_google
from .inspection import Inspection
from .manifest import VIEW
from .settings import Settings
from .tables import TableColumn

RETRY = Retry(predicate=is_transient, initial=0.5, maximum=20.0, timeout=120.0)
"""Jittered back-off for one request about a job: on 408, 429, 5xx and broken connections, for at most 120 s."""
AGAIN = Retry(predicate=is_transient, initial=1.0, maximum=60.0, timeout=600.0)
"""The same for a whole job, run again under a fresh id: whatever we ask of BigQuery can be asked twice."""
ONCE: Any = None  # the client takes None for "no retries", though its types do not say so
TIMEOUT = 60.0
"""Seconds for the request that starts a job."""
QUERY_TIMEOUT = 300.0
"""Seconds that a query may take."""
LOAD_TIMEOUT = 3600.0
"""Seconds that a load may take."""
DATASET = re.compile(r"[A-Za-z0-9_]{1,1024}\Z")
QUERY = re.compile(r"\s*(SELECT|WITH)\s", re.IGNORECASE)
TABLE = re.compile(r"[a-z][a-z0-9.:-]{0,127}\.[A-Za-z0-9_]{1,1024}\.[A-Za-z0-9_]{1,1024}\Z")


class Warehouse(Inspection):
    """The deployment's dataset through the official client; no call is made before the first method.

    Every method raises Unavailable when BigQuery does not answer within its deadline, Refused when it never will.

    Args:
        settings: project and dataset.

    Raises:
        SettingsError: when the dataset's name is not one.
    """

    def __init__(self, settings: Settings) -> None:
        if not DATASET.match(settings.dataset):
            raise SettingsError(f"DROPFIT_DATASET={settings.dataset!r}: letters, digits and underscores only")
        with _ours("BigQuery"):
            self._client = bigquery.Client(project=settings.project)
        self._dataset = f"{settings.project}.{settings.dataset}"

    def name(self, table: str) -> str:
        """The table's full name.

        Raises:
            ArtifactError: when it is no name of ours; a pointer says what is shown, and comes from storage.
        """
        if not DATASET.match(table):
            raise ArtifactError(f"{table[:80]!r} is no table of ours")
        return f"{self._dataset}.{table}"

    def load(
        self,
        table: str,
        columns: Sequence[TableColumn],
        uris: Sequence[str],
        cluster: Sequence[str],
        labels: Mapping[str, str],
    ) -> None:
        """Replace a table by the rows of Parquet objects, in one load job.

        Args:
            table: its name.
            columns: its schema.
            uris: the objects.
            cluster: columns to cluster by; BigQuery takes four at most, and no FLOAT64.
            labels: of the table, and of the job.
        """
        config = _load_config(columns, labels)
        config.clustering_fields = [c.name for c in columns if c.name in cluster and c.kind != "FLOAT64"][:4] or None
        with _ours(self.name(table)):
            AGAIN(self._load_once)(list(uris), self.name(table), config)
            # Labels of a job are not its table's, and a dataset may give new tables an end; a rollback may need them.
            made = bigquery.Table(self.name(table))
            made.labels, made.expires = dict(labels), None
            self._client.update_table(made, ["labels", "expires"], retry=RETRY, timeout=TIMEOUT)

    def load_into(
        self, table: str, columns: Sequence[TableColumn], uris: Sequence[str], labels: Mapping[str, str]
    ) -> None:
        """Replace a person's own table by the rows of Parquet objects, in one load job.

        Args:
            table: PROJECT.DATASET.TABLE.
            columns: its schema.
            uris: the objects.
            labels: of the table.

        Raises:
            BadRequest: when that is no table's name.
            NotFound: when there is no such dataset.
        """
        config = _load_config(columns, labels)
        with _ours(table):
            AGAIN(self._load_once)(list(uris), _checked(table), config)

    def has(self, table: str) -> bool:
        """Whether there is a table PROJECT.DATASET.TABLE; BadRequest when that is no table's name."""
        try:
            with _ours(table):
                self._client.get_table(_checked(table), retry=RETRY, timeout=TIMEOUT)
        except NotFound:
            return False
        return True

    def point_view(self, table: str) -> None:
        """Make the view show a table: one atomic statement."""
        sql = f"CREATE OR REPLACE VIEW `{self.name(VIEW)}` AS SELECT * FROM `{self.name(table)}`"  # noqa: S608
        self.query(sql, {})

    def make_view(self, view: str, select: str, source: str) -> None:
        """Make or replace a view over a table of another dataset: one atomic statement.

        Args:
            view: its name in our dataset.
            select: SQL with `{entries}` where the table's name belongs.
            source: `PROJECT.DATASET.TABLE`.

        Raises:
            SettingsError: when that is no table's name.
            NotFound: when there is no such table.
        """
        if not TABLE.match(source):
            raise SettingsError(f"{source[:200]!r} is not PROJECT.DATASET.TABLE")
        self.query(f"CREATE OR REPLACE VIEW `{self.name(view)}` AS {select.format(entries=source)}", {})

    def shown(self) -> str:
        """The table that the view shows, empty when there is no view of ours."""
        sql = f"""
            SELECT view_definition FROM `{self._dataset}`.INFORMATION_SCHEMA.VIEWS
            WHERE table_name = @view"""  # noqa: S608 (names are checked, the value is a parameter)
        rows = self.query(sql, {"view": VIEW})
        found = re.search(rf"\b({VIEW}__\w+)", rows[0]["view_definition"]) if rows else None
        return found[1] if found else ""

    def exists(self, table: str) -> bool:
        """Whether there is such a table."""
        try:
            with _ours(self.name(table)):
                self._client.get_table(self.name(table), retry=RETRY, timeout=TIMEOUT)
        except NotFound:
            return False
        return True

    def tables(self) -> dict[str, dt.datetime]:
        """Every version's table in the dataset -> when it was made."""
        with _ours(self._dataset):
            listed = self._client.list_tables(self._dataset, retry=RETRY, timeout=TIMEOUT)
            return {t.table_id: t.created for t in listed if t.table_id.startswith(f"{VIEW}__")}

    def drop(self, table: str) -> None:
        """Remove a table; fine when it is gone already."""
        with _ours(self.name(table)):
            self._client.delete_table(self.name(table), not_found_ok=True, retry=RETRY, timeout=TIMEOUT)

    def look_up(self, key: Mapping[str, Any]) -> list[dict[str, Any]]:
        """The rows of the view with that key: for people and tests, never on the serving path."""
        where = " AND ".join(f"`{name}` = @{name}" for name in key)
        sql = f"SELECT * FROM `{self.name(VIEW)}` WHERE {where}"  # noqa: S608
        return [dict(row.items()) for row in self.query(sql, key)]

    def query(self, sql: str, parameters: Mapping[str, Any]) -> list[Any]:
        """Rows of a query with named parameters (str, int, float, or a list of float)."""
        kinds = {str: "STRING", int: "INT64", float: "FLOAT64"}
        given = [
            bigquery.ArrayQueryParameter(n, "FLOAT64", v)
            if isinstance(v, list)
            else bigquery.ScalarQueryParameter(n, kinds[type(v)], v)
            for n, v in parameters.items()
        ]
        config = bigquery.QueryJobConfig(query_parameters=given)
        with _ours(self._dataset):
            rows: list[Any] = AGAIN(self._query_once)(sql, config)
            return rows

    def rows(self, source: str) -> Iterator[Any]:
        """The rows of a table, a view or a query, in one consistent state and never all of them in memory.

        Args:
            source: `PROJECT.DATASET.TABLE` or SQL. A result larger than 10 GB is refused: name a destination there.

        Yields:
            Arrow record batches, at least one.

        Raises:
            NotFound: when there is no such table.
            SettingsError: when the text is neither.
        """
        if not QUERY.match(source):
            if not TABLE.match(source):
                raise SettingsError(f"{source[:200]!r} is neither PROJECT.DATASET.TABLE nor a query")
            source = f"SELECT * FROM `{source}`"  # noqa: S608 (a checked name)
        with _ours(source):
            found = AGAIN(self._started)(source)
            given = False
            for batch in found.to_arrow_iterable():
                given = True
                yield batch
            if not given:
                import pyarrow as pa

                nothing = found.to_arrow(create_bqstorage_client=False)
                yield pa.RecordBatch.from_pylist([], schema=nothing.schema)

    # The request that starts a job is not retried by itself: when it took effect and its answer was lost, the same
    # job id is refused as a duplicate. AGAIN starts another job, which does the same once more.

    def _load_once(self, uris: list[str], table: str, config: Any) -> None:
        job = self._client.load_table_from_uri(uris, table, job_config=config, retry=ONCE, timeout=TIMEOUT)
        job.result(timeout=LOAD_TIMEOUT, retry=RETRY)

    def _started(self, sql: str) -> Any:
        job = self._client.query(sql, retry=ONCE, job_retry=None, timeout=TIMEOUT)
        return job.result(timeout=LOAD_TIMEOUT, retry=RETRY, job_retry=None)

    def _query_once(self, sql: str, config: Any) -> list[Any]:
        job = self._client.query(sql, job_config=config, retry=ONCE, job_retry=None, timeout=TIMEOUT)
        return list(job.result(timeout=QUERY_TIMEOUT, retry=RETRY, job_retry=None))


def _load_config(columns: Sequence[TableColumn], labels: Mapping[str, str]) -> Any:
    parquet = bigquery.ParquetOptions()  # type: ignore[no-untyped-call]
    parquet.enable_list_inference = True
    config = bigquery.LoadJobConfig(
        source_format=bigquery.SourceFormat.PARQUET,
        schema=[_field(c) for c in columns],
        write_disposition=bigquery.WriteDisposition.WRITE_TRUNCATE,
        labels=dict(labels),
    )
    config.parquet_options = parquet
    return config


def _checked(table: str) -> str:
    if not TABLE.match(table):
        raise BadRequest(f"{table[:200]!r} is not PROJECT.DATASET.TABLE")
    return table


def _field(column: TableColumn) -> Any:
    mode = "REPEATED" if column.repeated else "NULLABLE"
    return bigquery.SchemaField(column.name, column.kind, mode=mode, fields=tuple(map(_field, column.fields)))


@contextmanager
def _ours(what: str) -> Iterator[None]:
    """Google's exceptions as ours."""
    try:
        yield
    except google_errors.NotFound as error:
        raise NotFound(f"{what} does not exist: {error.message}") from error
    except (
        google_errors.GoogleAPIError,
        auth_errors.GoogleAuthError,
        requests.RequestException,
        ConnectionError,
        TimeoutError,
    ) as error:
        raise of_google(what, error) from error
