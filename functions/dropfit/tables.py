# SPDX-License-Identifier: Apache-2.0
"""The static-serving table: what its rows are, and how it comes to be served.

Per version a table `predictions__<version>`, loaded whole, verified, and then shown by the view `predictions`.
"""

from __future__ import annotations

import datetime as dt
import io
import re
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from .contract import Category, Columns, Contract, Feature, Label
from .errors import Conflict
from .manifest import Manifest
from .runtime import Scored

UNFIT = re.compile(r"[^a-z0-9_-]")


class TableColumn(NamedTuple):
    """A column of the table.

    Attributes:
        name: its name.
        kind: BigQuery type.
        repeated: whether it is an array.
        fields: of a RECORD.
    """

    name: str
    kind: str
    repeated: bool = False
    fields: tuple[TableColumn, ...] = ()


def ordered(contract: Contract) -> tuple[Feature, ...]:
    """Features with the key first, in the key's order."""
    return (
        *(contract.feature(name) for name in contract.key),
        *(f for f in contract.features if f.name not in contract.key),
    )


def columns(contract: Contract) -> tuple[TableColumn, ...]:
    """The table's columns: key, the other features the prediction was made with, and the prediction."""
    label = isinstance(contract.target, Label)
    shares = TableColumn(
        "probabilities", "RECORD", True, (TableColumn("label", "STRING"), TableColumn("probability", "FLOAT64"))
    )
    return (
        *(TableColumn(f.name, _kind(f)) for f in ordered(contract)),
        TableColumn("prediction", "STRING" if label else "FLOAT64"),
        *((shares,) if label else ()),
        TableColumn("policy", "STRING"),
        TableColumn("model_version", "STRING"),
        TableColumn("predicted_at", "TIMESTAMP"),
    )


def _kind(feature: Feature) -> str:
    if isinstance(feature, Category):
        return "STRING"
    return "INT64" if feature.integer else "FLOAT64"


def labels(manifest: Manifest, filling: str) -> dict[str, str]:
    """A table's labels: lower-case letters, digits, hyphens and underscores, at most 63 of them, as BigQuery has it.

    Args:
        manifest: of the version that predicts.
        filling: `training`, or which refresh.
    """
    named = {"version": manifest.version, "problem": manifest.contract.name, "filling": filling}
    return {f"dropfit_{what}": UNFIT.sub("_", text.lower())[:63] for what, text in named.items()}


def features_table(contract: Contract, rows: Columns) -> Any:
    """Features as an Arrow table, typed as in the warehouse."""
    types = {"STRING": pa.string(), "INT64": pa.int64(), "FLOAT64": pa.float64()}
    return pa.table({f.name: pa.array(rows[f.name], types[_kind(f)], from_pandas=True) for f in ordered(contract)})


def rows_table(
    contract: Contract, features: Any, scored: Scored, classes: tuple[str, ...], version: str, at: dt.datetime
) -> Any:
    """Rows of the static-serving table as Arrow.

    Args:
        contract: of the version.
        features: Arrow table as `features_table` makes it.
        scored: its predictions.
        classes: labels in the order of the probabilities.
        version: the version's id.
        at: when predicted, UTC.

    Returns:
        What was given and the columns of the prediction; one text for all rows is dictionary-coded (`as_parquet`).
    """
    rows = features.num_rows
    kind = pa.string() if isinstance(contract.target, Label) else pa.float64()
    table = features.append_column("prediction", pa.array(scored.values, kind))
    if scored.probabilities is not None:
        table = table.append_column("probabilities", _shares(scored.probabilities, classes))
    fired = pa.array([",".join(f) for f in scored.fired], pa.string()) if any(scored.fired) else _constant("", rows)
    table = table.append_column("policy", fired)
    table = table.append_column("model_version", _constant(version, rows))
    return table.append_column("predicted_at", pa.repeat(pa.scalar(at, pa.timestamp("us", tz="UTC")), rows))


def as_parquet(table: Any) -> bytes:
    """A shard's bytes. Arrow's own schema is left out, so what is dictionary-coded reads as plain text again."""
    sink = io.BytesIO()
    pq.write_table(table, sink, compression="zstd", store_schema=False)
    return sink.getvalue()


def _constant(text: str, rows: int) -> Any:
    """One text for all rows, written out once: Parquet keeps it so."""
    return pa.DictionaryArray.from_arrays(pa.repeat(pa.scalar(0, pa.int8()), rows), pa.array([text], pa.string()))


def _shares(probabilities: np.ndarray[Any, Any], classes: tuple[str, ...]) -> Any:
    """Each row's labels with their probabilities; none where the policy denies every label, and all are 0."""
    some = probabilities.any(axis=1)
    offsets = np.concatenate([[0], np.cumsum(np.where(some, len(classes), 0))]).astype(np.int32)
    labels = pa.DictionaryArray.from_arrays(
        pa.array(np.tile(np.arange(len(classes), dtype=np.int32), int(some.sum()))), pa.array(classes, pa.string())
    )
    shares = pa.array(probabilities[some].ravel(), pa.float64())
    items = pa.StructArray.from_arrays([labels.dictionary_decode(), shares], ["label", "probability"])
    return pa.ListArray.from_arrays(pa.array(offsets), items)


class TableFacts(NamedTuple):
    """What a table was found to hold.

    Attributes:
        rows: rows.
        keys: distinct keys.
        nulls: rows without a prediction where the policy does not say that it abstained, or the reverse.
        strangers: rows of another version.
    """

    rows: int
    keys: int
    nulls: int
    strangers: int


def verify(table: str, facts: TableFacts, expected: int) -> None:
    """A table may be served when it holds every expected key once, each with a prediction of its own version, or with
    an abstention of its policy.

    Raises:
        Conflict: saying what it holds instead.
    """
    if facts != TableFacts(expected, expected, 0, 0):
        raise Conflict(
            f"{table} is not what was loaded: {facts.rows:,} rows and {facts.keys:,} keys instead of {expected:,}, "
            f"{facts.nulls:,} without prediction or abstention, {facts.strangers:,} of another version; "
            "it is not served"
        )
