# SPDX-License-Identifier: Apache-2.0
"""What of a deployment holds data, how much that is, and what it costs to keep."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import msgspec

from dropfit.errors import NotFound
from dropfit.rest import Api

from .cost import read_prices
from .environment import Environment

STORAGE = "https://storage.googleapis.com/storage/v1"
BIGQUERY = "https://bigquery.googleapis.com/bigquery/v2"
DATA = frozenset(
    {
        "google_storage_bucket.landing",
        "google_storage_bucket.data",
        "google_storage_bucket.models",
        "google_bigquery_dataset.predictions",
        "google_logging_project_bucket_config.predictions",
    }
)
"""Only `--and-data` removes these."""
KEPT = DATA | {"google_project_service.apis"}
"""What stays without it: switching an API off could break what others run in the project."""
PAGES, TABLES = 20, 50
"""More pages of objects, and more tables, are not counted: a person waits."""
GIB = 1024**3


class Holding(msgspec.Struct, frozen=True):
    """How much is in one place.

    Attributes:
        where: as people name it.
        says: how much.
        size: bytes, as far as counted.
        price: of prices.toml, for keeping it.
    """

    where: str
    says: str
    size: int = 0
    price: str = "storage"


def kind(address: str) -> str:
    """Type and name of an address, without its index."""
    return address.partition("[")[0]


def holds_data(address: str) -> bool:
    """Whether what is at this address, or would go with it, is data."""
    return kind(address) in DATA


def found(environment: Environment, api: Api) -> list[Holding]:
    """How much there is; what is not there is left out.

    Raises:
        Unavailable, Refused: when Google does not say.
    """
    buckets = (_bucket(environment.bucket(what), api) for what in ("landing", "data", "models"))
    return [holding for holding in (*buckets, _dataset(environment, api)) if holding is not None]


def cost(holdings: Iterable[Holding]) -> str:
    """What keeping it costs a month, by list prices."""
    prices, kept = read_prices(), list(holdings)
    dollars = sum(holding.size / GIB * prices[holding.price].price for holding in kept)
    return f"{sum(holding.size for holding in kept) / 1e9:,.2f} GB cost about ${dollars:,.2f} a month (list price)"


def _listed(url: str, key: str, api: Api, **asked: str) -> tuple[list[Any], bool]:
    """What a list holds, and whether it goes on beyond what a person waits for.

    Raises:
        NotFound: when what it is in is not there.
    """
    items: list[Any] = []
    token = ""
    for _ in range(PAGES):
        page = api.get(url, {"maxResults": "1000", **asked, **({"pageToken": token} if token else {})})
        items += page.get(key, [])
        token = str(page.get("nextPageToken", ""))
        if not token:
            break
    return items, bool(token)


def _bucket(name: str, api: Api) -> Holding | None:
    fields = "items(size),nextPageToken"
    try:
        items, goes_on = _listed(f"{STORAGE}/b/{name}/o", "items", api, versions="true", fields=fields)
    except NotFound:
        return None
    size = sum(int(item.get("size", 0)) for item in items)
    more = "more than " if goes_on else ""
    return Holding(
        f"gs://{name}", f"{more}{len(items):,} objects, older versions included, {size / 1e6:,.1f} MB", size
    )


def _dataset(environment: Environment, api: Api) -> Holding | None:
    name = environment.name.replace("-", "_")
    url = f"{BIGQUERY}/projects/{environment.project}/datasets/{name}/tables"
    try:
        listed, _ = _listed(url, "tables", api)
    except NotFound:
        return None
    tables = [str(table["tableReference"]["tableId"]) for table in listed if table.get("type") == "TABLE"]
    rows = size = 0
    for table in tables[:TABLES]:
        try:
            told = api.get(f"{url}/{table}")
        except NotFound:  # a job has just removed it
            continue
        rows += int(told.get("numRows", 0))
        size += int(told.get("numBytes", 0))
    more = "more than " if len(tables) > TABLES else ""
    return Holding(
        f"BigQuery {environment.project}.{name}", f"{len(tables):,} tables, {more}{rows:,} rows", size, "tables"
    )
