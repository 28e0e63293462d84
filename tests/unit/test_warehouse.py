# SPDX-License-Identifier: Apache-2.0
"""What BigQuery itself is strict about and its emulator is not, against a fake of the client."""

from __future__ import annotations

import re
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from fakes import tea
from google.api_core import exceptions as google_errors

from dropfit import tables, view, warehouse
from dropfit.contract import Number
from dropfit.errors import ArtifactError, NotFound, Refused, SettingsError, Unavailable
from dropfit.settings import Settings
from dropfit.warehouse import Warehouse

SETTINGS = Settings(project="p", landing_bucket="l", data_bucket="d", models_bucket="m")
# cloud.google.com/bigquery/docs/reference/standard-sql/lexical#reserved_keywords
RESERVED = set(
    re.findall(
        r"\w+",
        """
        all and any array as asc assert_rows_modified at between by case cast collate contains create cross cube
        current default define desc distinct else end enum escape except exclude exists extract false fetch
        following for from full group grouping groups hash having if ignore in inner intersect interval into is join
        lateral left like limit lookup merge natural new no not null nulls of on or order outer over partition
        preceding proto qualify range recursive respect right rollup rows select set some struct tablesample then to
        treat true unbounded union unnest using when where window with within
        """,
    )
)


class Client:
    """Remembers what it was asked, and fails as it is told."""

    def __init__(self, fault: Exception | None = None) -> None:
        self.fault = fault
        self.failures: list[Exception] = []
        self.asked: list[Any] = []
        self.patched: list[Any] = []

    def _answer(self, *given: Any, **named: Any) -> Any:
        self.asked.append((given, named))
        if self.fault:
            raise self.fault
        return SimpleNamespace(result=self._result)

    def _result(self, **named: Any) -> list[Any]:
        if self.failures:
            raise self.failures.pop(0)
        return []

    def update_table(self, table: Any, fields: list[str], **named: Any) -> None:
        self.patched.append((table, fields))

    load_table_from_uri = query = _answer


@pytest.fixture
def client(monkeypatch: pytest.MonkeyPatch) -> Client:
    fake = Client()
    monkeypatch.setattr(warehouse.bigquery, "Client", lambda project: fake)
    monkeypatch.setattr(warehouse, "AGAIN", warehouse.AGAIN.with_delay(0.001, 0.002))
    return fake


@pytest.fixture
def hasty(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    """What lasts is given up at once: for faults that pass, a busy machine may need its time."""
    monkeypatch.setattr(warehouse, "AGAIN", warehouse.AGAIN.with_timeout(0.05))


def test_no_alias_in_our_sql_is_a_reserved_word() -> None:
    source = Path(warehouse.__file__).read_text() + view.LOG_SQL
    aliases = {alias.lower() for alias in re.findall(r"\bAS (?!SELECT)(\w+)", source)}
    assert len(aliases) >= 12
    assert aliases & RESERVED == set()


def test_a_table_is_clustered_by_no_more_than_four_columns_and_by_no_fraction(client: Client) -> None:
    wide = tuple(Number(name=f"n{n}", integer=n % 2 == 0) for n in range(12))
    contract = tea(
        features=wide, key=tuple(f.name for f in wide), derived=(), derive=None, prepare=lambda file: {}
    ).contract
    Warehouse(SETTINGS).load("predictions__x", tables.columns(contract), ["gs://d/a"], contract.key, {})
    config = client.asked[0][1]["job_config"]
    assert config.clustering_fields == ["n0", "n2", "n4", "n6"]
    assert [field.name for field in config.schema][:2] == ["n0", "n1"]


def test_a_loaded_table_has_its_labels_and_no_end_whatever_the_dataset_gives_new_tables(client: Client) -> None:
    named = {"dropfit_version": "v", "dropfit_problem": "tea"}
    Warehouse(SETTINGS).load("predictions__x", (), ["gs://d/a"], (), named)
    ((table, fields),) = client.patched
    sent = table._build_resource(fields)  # the request that the client makes of it: null takes an end away
    assert (table.table_id, sent) == ("predictions__x", {"labels": named, "expirationTime": None})


def test_a_name_that_is_no_table_never_reaches_a_query(client: Client) -> None:
    with pytest.raises(ArtifactError):
        Warehouse(SETTINGS).point_view("x`; DROP TABLE y; --")
    assert client.asked == []


def test_the_view_of_the_prediction_log_reads_the_table_of_entries(client: Client) -> None:
    assert view.show_log("p.logs._AllLogs", Warehouse(SETTINGS))
    (sql,), _ = client.asked[0]
    assert sql.startswith("CREATE OR REPLACE VIEW `p.dropfit.prediction_log` AS")
    assert "FROM `p.logs._AllLogs` AS entry" in sql


@pytest.mark.parametrize("entries", ["", "no table", "p.logs", "p.logs._AllLogs`; DROP TABLE x; --", "p.{0}.x"])
def test_without_a_table_of_entries_there_is_no_view_and_no_query(client: Client, entries: str) -> None:
    assert not view.show_log(entries, Warehouse(SETTINGS))
    assert client.asked == []


@pytest.mark.usefixtures("hasty")
@pytest.mark.parametrize("fault", [google_errors.NotFound("x"), google_errors.Forbidden("x"), ConnectionError("x")])
def test_a_log_that_does_not_exist_yet_or_is_out_of_reach_stops_nobody(
    client: Client, fault: Exception, caplog: pytest.LogCaptureFixture
) -> None:
    client.fault = fault
    assert not view.show_log("p.logs._AllLogs", Warehouse(SETTINGS))
    assert "no view prediction_log" in caplog.text


@pytest.mark.usefixtures("hasty")
@pytest.mark.parametrize(
    ("fault", "ours"),
    [
        (google_errors.NotFound("x"), NotFound),
        (google_errors.BadRequest("x"), Refused),
        (google_errors.Forbidden("x"), Refused),
        (google_errors.TooManyRequests("x"), Unavailable),
        (google_errors.Forbidden("x", errors=[{"reason": "rateLimitExceeded"}]), Unavailable),
        (google_errors.ServiceUnavailable("x"), Unavailable),
        (google_errors.RetryError("x", None), Unavailable),
        (ConnectionError("x"), Unavailable),
    ],
    ids=lambda value: value.__class__.__name__ if isinstance(value, Exception) else "",
)
def test_googles_faults_become_ours(client: Client, fault: Exception, ours: type[Exception]) -> None:
    client.fault = fault
    with pytest.raises(ours):
        Warehouse(SETTINGS).look_up({"leaf": "assam", "pot": 3})


def failed_job(reason: str, status: int) -> Exception:
    """As the client tells of a job that was begun and failed."""
    return google_errors.from_http_status(status, reason, errors=[{"reason": reason, "message": "x"}])


PASSING = [("backendError", 500), ("rateLimitExceeded", 403), ("jobRateLimitExceeded", 500), ("jobBackendError", 400)]


@pytest.mark.parametrize(("reason", "status"), PASSING)
def test_a_job_that_failed_for_a_passing_reason_is_run_again(client: Client, reason: str, status: int) -> None:
    client.failures = [failed_job(reason, status)] * 2
    Warehouse(SETTINGS).load("predictions__x", (), ["gs://d/a"], (), {})
    assert len(client.asked) == 3
    client.failures = [failed_job(reason, status)]
    Warehouse(SETTINGS).point_view("predictions__x")
    assert len(client.asked) == 5


@pytest.mark.usefixtures("hasty")
@pytest.mark.parametrize(("reason", "status"), [("invalid", 400), ("invalidQuery", 500), ("accessDenied", 403)])
def test_a_job_that_would_fail_again_is_not_run_again(client: Client, reason: str, status: int) -> None:
    client.failures = [failed_job(reason, status)] * 2
    with pytest.raises((Refused, Unavailable)):
        Warehouse(SETTINGS).load("predictions__x", (), ["gs://d/a"], (), {})
    assert len(client.asked) == 1


def test_a_dataset_that_is_no_name_is_refused() -> None:
    with pytest.raises(SettingsError, match="DROPFIT_DATASET"):
        Warehouse(Settings(project="p", landing_bucket="l", data_bucket="d", models_bucket="m", dataset="a.b`c"))
