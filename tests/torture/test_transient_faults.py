# SPDX-License-Identifier: Apache-2.0
"""Faults that pass are not seen; faults that last surface as Unavailable inside a deadline: every call to the cloud.

Broken on the wire, between the official clients and the emulators.
"""

from __future__ import annotations

import inspect
import io
import time
from collections.abc import Callable, Iterator
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import requests
from google.auth.credentials import AnonymousCredentials
from google.cloud import storage as official
from proxy import FAULTS, Proxy

from dropfit import rest, storage, warehouse
from dropfit.errors import Unavailable
from dropfit.rest import Api
from dropfit.settings import Settings
from dropfit.storage import Bucket
from dropfit.tables import TableColumn, TableFacts
from dropfit.warehouse import Warehouse
from localcloud.cloud import LocalCloud

PAYLOAD = bytes(range(256)) * 16
PASSES, LASTS = 60.0, (0.4, 4.0, 40.0)
"""Deadlines of the retries in seconds, where a fault passes and where it lasts: a busy machine may need a longer one
for a second try."""
HANGS = {"hang": 0.5}
"""Seconds until a call without an answer is given up; of the other faults none leaves a call without one."""


def but(*quick: str) -> list[Any]:
    """Every fault, those of them marked as longer proofs that are not named."""
    return [f if f in quick else pytest.param(f, marks=pytest.mark.verify) for f in FAULTS]


def patient(monkeypatch: pytest.MonkeyPatch, module: Any, seconds: float, *names: str) -> None:
    """The deadline of a module's retries, which come quickly."""
    for name in names:
        monkeypatch.setattr(module, name, getattr(module, name).with_delay(0.01, 0.05).with_timeout(seconds))


@pytest.fixture(scope="module")
def before_storage(cloud: LocalCloud) -> Iterator[Proxy]:
    proxy = Proxy(cloud.env["STORAGE_EMULATOR_HOST"])
    yield proxy
    proxy.stop()


@pytest.fixture(scope="module")
def before_bigquery(cloud: LocalCloud) -> Iterator[Proxy]:
    proxy = Proxy(cloud.env["BIGQUERY_EMULATOR_HOST"])
    yield proxy
    proxy.stop()


@pytest.fixture
def bucket(
    deployment: Callable[..., Settings], before_storage: Proxy, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Bucket]:
    patient(monkeypatch, storage, PASSES, "RETRY")
    found = deployment()
    client = official.Client(
        project="p", credentials=AnonymousCredentials(), client_options={"api_endpoint": before_storage.url}
    )
    yield Bucket(client, found.data_bucket)
    before_storage.heal()


def opened(bucket: Bucket, name: str, generation: int) -> bytes:
    with bucket.open(name, generation) as stream:
        return stream.read(1000) + stream.read()


def downloaded(bucket: Bucket, name: str, generation: int) -> bytes:
    stream = io.BytesIO()
    bucket.download(name, generation, stream)
    return stream.getvalue()


# Every public method: what it does to the object "a", and what that must give.
STORAGE: dict[str, tuple[Callable[[Bucket, int], Any], Callable[[Any], bool]]] = {
    "stat": (lambda b, g: b.stat("a"), lambda found: found.size == len(PAYLOAD)),
    "read": (lambda b, g: b.read("a"), lambda found: found == PAYLOAD),
    "fetch": (lambda b, g: b.fetch("a"), lambda found: found[0] == PAYLOAD),
    "fetch_all": (lambda b, g: b.fetch_all(["a"] * 3), lambda found: [p for p, _ in found] == [PAYLOAD] * 3),
    "open": (lambda b, g: opened(b, "a", g), lambda found: found == PAYLOAD),
    "download": (lambda b, g: downloaded(b, "a", g), lambda found: found == PAYLOAD),
    "create": (lambda b, g: b.create("new", b"x"), lambda found: found.size == 1),
    "replace": (lambda b, g: b.replace("a", b"xy", g), lambda found: found.size == 2),
    "put": (lambda b, g: b.put("p", b"xyz"), lambda found: found.size == 3),
    "put a stream": (lambda b, g: b.put("s", io.BytesIO(PAYLOAD)), lambda found: found.size == len(PAYLOAD)),
    "list": (lambda b, g: [s.name for s in b.list()], lambda found: found == ["a"]),
    "delete": (lambda b, g: b.delete("a"), lambda found: found is None),
    "uri": (lambda b, g: b.uri("a"), lambda found: found.endswith("/a")),
}


def test_every_method_of_a_bucket_is_tried_here() -> None:
    methods = {name for name, _ in inspect.getmembers(Bucket, inspect.isfunction) if not name.startswith("_")}
    assert methods == {name for name in STORAGE if " " not in name}


@pytest.mark.parametrize("fault", but("503", "reset", "lost"))
def test_a_fault_of_storage_that_passes_is_not_seen(
    bucket: Bucket, before_storage: Proxy, fault: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(storage, "TIMEOUT", (HANGS.get(fault, 60.0),) * 2)
    for name, (call, right) in STORAGE.items():
        before_storage.heal()
        for stored in list(bucket.list()):
            bucket.delete(stored.name)
        generation = bucket.put("a", PAYLOAD).generation
        before_storage.hang = 0.7
        before_storage.faults = [fault]
        before_storage.only = lambda method, path: "/o" in path  # not the client's own look at the bucket
        found = call(bucket, generation)
        assert right(found), f"{name} after {fault} gave {str(found)[:200]}"
        assert before_storage.broken == (name != "uri"), name
    before_storage.heal()


@pytest.mark.verify
@pytest.mark.parametrize("fault", but("503"))
def test_a_fault_of_storage_that_lasts_is_unavailable_inside_a_deadline(
    bucket: Bucket, before_storage: Proxy, fault: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, (call, _) in STORAGE.items():
        if name == "uri":
            continue
        for seconds in LASTS:
            before_storage.heal()
            patient(monkeypatch, storage, PASSES, "RETRY")
            monkeypatch.setattr(storage, "TIMEOUT", (60.0, 60.0))
            generation = bucket.put("a", PAYLOAD).generation
            before_storage.always, before_storage.hang = fault, 0.1
            before_storage.only = lambda method, path: "/o" in path
            patient(monkeypatch, storage, seconds, "RETRY")
            monkeypatch.setattr(storage, "TIMEOUT", (0.05 if fault in HANGS else 60.0,) * 2)
            begun = time.monotonic()
            with pytest.raises(Unavailable):
                call(bucket, generation)
            assert time.monotonic() - begun < seconds + 30, name
            if before_storage.broken > 1:
                break
        assert before_storage.broken > 1, f"{name} was not tried again after {fault}"


COLUMNS = (
    TableColumn("pot", "INT64"),
    TableColumn("prediction", "FLOAT64"),
    TableColumn("policy", "STRING"),
    TableColumn("model_version", "STRING"),
)


@pytest.fixture
def table(
    deployment: Callable[..., Settings], before_bigquery: Proxy, monkeypatch: pytest.MonkeyPatch
) -> Iterator[tuple[Warehouse, str]]:
    found = deployment()
    sink = io.BytesIO()
    rows = {"pot": [1, 2, 3], "prediction": [0.5, 0.25, None], "policy": ["", "minimum", "minimum,beyond:pot"]}
    pq.write_table(pa.table({**rows, "model_version": ["v"] * 3}), sink)
    data = storage.connect(found).data
    data.put("rows.parquet", sink.getvalue())
    monkeypatch.setenv("BIGQUERY_EMULATOR_HOST", before_bigquery.url)
    patient(monkeypatch, warehouse, PASSES, "RETRY", "AGAIN")
    there = Warehouse(found)
    there.load("t", COLUMNS, [data.uri("rows.parquet")], ("pot",), {})
    there.point_view("t")
    yield there, data.uri("rows.parquet")
    before_bigquery.heal()


# Every public method, and what it must give.
WAREHOUSE: dict[str, tuple[Callable[[Warehouse, str], Any], Any]] = {
    "load": (lambda w, uri: w.load("t2", COLUMNS, [uri], ("pot",), {}), None),
    "load_into": (lambda w, uri: w.load_into(w.name("t4"), COLUMNS, [uri], {}), None),
    "has": (lambda w, uri: w.has(w.name("t")), True),
    "rows": (lambda w, uri: sum(batch.num_rows for batch in w.rows(w.name("t"))), 3),
    "facts": (lambda w, uri: w.facts("t", ("pot",), "v"), TableFacts(3, 3, 0, 0)),
    "sample": (lambda w, uri: sorted(row["pot"] for row in w.sample("t", ("pot",), 9)), [1, 2, 3]),
    "spread": (lambda w, uri: sum(c.before + c.after for c in w.spread("t", "t", True)), 6),
    "point_view": (lambda w, uri: w.point_view("t"), None),
    "make_view": (lambda w, uri: w.make_view("pots", "SELECT pot FROM `{entries}`", w.name("t")), None),
    "look_up": (lambda w, uri: [row["prediction"] for row in w.look_up({"pot": 2})], [0.25]),
    "shown": (lambda w, uri: w.shown() in ("", "t"), True),
    "exists": (lambda w, uri: w.exists("t"), True),
    "tables": (lambda w, uri: list(w.tables()), []),
    "drop": (lambda w, uri: w.drop("t3"), None),
    "query": (lambda w, uri: [row["n"] for row in w.query("SELECT 1 AS n", {})], [1]),
}


REQUESTS = {
    "load": ("POST",),
    "load_into": ("POST",),
    "exists": ("GET",),
    "has": ("GET",),
    "tables": ("GET",),
    "drop": ("DELETE",),
}


def test_every_method_of_the_warehouse_is_tried_here() -> None:
    methods = {name for name, _ in inspect.getmembers(Warehouse, inspect.isfunction) if not name.startswith("_")}
    assert methods - {"name"} == set(WAREHOUSE)


@pytest.mark.parametrize("which", ["POST", "GET", "DELETE"])
@pytest.mark.parametrize("fault", but("503", "reset", "lost"))
def test_a_fault_of_bigquery_that_passes_is_not_seen(
    table: tuple[Warehouse, str], before_bigquery: Proxy, fault: str, which: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    there, uri = table
    monkeypatch.setattr(warehouse, "TIMEOUT", HANGS.get(fault, 60.0))
    for name, (call, right) in WAREHOUSE.items():
        before_bigquery.heal()
        before_bigquery.hang = (
            0.7 if which == "POST" else 0.1
        )  # the client itself waits 120 s for the answer to a poll
        before_bigquery.only = lambda method, path: method == which
        before_bigquery.faults = [fault]
        assert call(there, uri) == right, name
        # The emulator has done a load before it answers, and is not asked again; some calls are one request.
        assert before_bigquery.broken == (which in REQUESTS.get(name, ("POST", "GET"))), name
    before_bigquery.heal()
    assert there.facts("t2", ("pot",), "v") == TableFacts(3, 3, 0, 0)


@pytest.mark.verify
@pytest.mark.parametrize("fault", but("503"))
def test_a_fault_of_bigquery_that_lasts_is_unavailable_inside_a_deadline(
    table: tuple[Warehouse, str], before_bigquery: Proxy, fault: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    there, uri = table
    monkeypatch.setattr(warehouse, "TIMEOUT", HANGS.get(fault, 60.0))
    for name, (call, _) in WAREHOUSE.items():
        for seconds in LASTS:
            before_bigquery.heal()
            before_bigquery.always, before_bigquery.hang = fault, 0.05
            patient(monkeypatch, warehouse, seconds, "RETRY", "AGAIN")
            begun = time.monotonic()
            with pytest.raises(Unavailable):
                call(there, uri)
            assert time.monotonic() - begun < seconds + 30, name
            if before_bigquery.broken > 1:
                break
        assert before_bigquery.broken > 1, f"{name} was not tried again after {fault}"


def quick_api(monkeypatch: pytest.MonkeyPatch, fault: str) -> Api:
    monkeypatch.setattr(rest, "DELAY", 0.01)
    monkeypatch.setattr(rest, "PATIENCE", PASSES)
    monkeypatch.setattr(rest, "TIMEOUT", HANGS.get(fault, 60.0))
    return Api("scope", requests.Session())


@pytest.mark.parametrize("fault", but("503", "reset", "lost"))
def test_a_launch_survives_a_fault_that_passes_and_tells_of_one_that_lasts(
    cloud: LocalCloud, before_storage: Proxy, monkeypatch: pytest.MonkeyPatch, fault: str
) -> None:
    api, url = quick_api(monkeypatch, fault), f"{before_storage.url}/storage/v1/b?project=p"
    before_storage.heal()
    before_storage.hang = 0.7
    before_storage.faults = [fault]
    name = f"launch-{fault}-{time.time_ns()}"
    if fault in ("lost", "torn"):  # what took effect is asked for twice, and the emulator minds that of a bucket
        with pytest.raises(Unavailable, match="409"):
            api.post(url, {"name": name})
    else:
        assert api.post(url, {"name": name})["name"] == name
    before_storage.always, before_storage.broken = fault, 0
    for seconds in LASTS:
        monkeypatch.setattr(rest, "PATIENCE", seconds)
        with pytest.raises(Unavailable):
            api.post(url, {"name": name})
        if before_storage.broken > 1:
            break
    assert before_storage.broken > 1
    before_storage.heal()
