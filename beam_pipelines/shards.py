# SPDX-License-Identifier: Apache-2.0
"""The shards of a batch, read one by one and put together: as Parquet, or as CSV, which knows no nested cells."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, BinaryIO

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pacsv
import pyarrow.parquet as pq

from beam_pipelines.ledger import FITTED, Ledger, Piece
from dropfit.encoding import sha256
from dropfit.errors import ArtifactError
from dropfit.tables import as_parquet


def tables(ledger: Ledger) -> Iterator[Any]:
    """The predicted rows of all pieces, a table each, in the order of the input.

    Raises:
        ArtifactError: when a shard is not what was written.
    """
    for piece in ledger.pieces():
        if piece.shard is not None:
            yield table(ledger, piece, piece.shard)


def table(ledger: Ledger, piece: Piece, file: Any) -> Any:
    """A file of a piece, proven before it is parsed."""
    payload = ledger.folder.read(file.name)
    if sha256(payload) != file.sha256:
        raise ArtifactError(f"{file.name} of split {piece.split} is not what was written; run it again")
    return pq.read_table(pa.BufferReader(payload), use_threads=False)


def common(found: Iterable[Any]) -> Any:
    """One schema for tables that were read from different files, or whose types were inferred: the widest type of
    each column, text where there is none.
    """
    kinds: dict[str, Any] = {}
    for each in found:
        for field in each.schema:
            kinds[field.name] = _wider(kinds.get(field.name, field.type), field.type)
    return pa.schema(list(kinds.items()))


def _wider(one: Any, other: Any) -> Any:
    if one == other:
        return one
    try:
        schemas = [pa.schema([("x", one)]), pa.schema([("x", other)])]
        return pa.unify_schemas(schemas, promote_options="permissive").field(0).type
    except pa.ArrowException:
        return pa.string()


def _fitted(each: Any, schema: Any) -> Any:
    columns = []
    for field in schema:
        if field.name not in each.column_names:
            columns.append(pa.nulls(each.num_rows, field.type))
        elif each.schema.field(field.name).type == field.type:
            columns.append(each.column(field.name))
        elif pa.types.is_string(field.type):
            columns.append(_as_text(each.column(field.name)))
        else:
            columns.append(each.column(field.name).cast(field.type))
    return pa.table(columns, schema=schema)


def alike(ledger: Ledger, schema: Any) -> list[str]:
    """The names of all shards, of one schema: those that have another are written once more with it."""
    names = []
    for place, piece in enumerate(ledger.pieces()):
        assert piece.shard is not None  # noqa: S101 (a noted piece has one)
        each, name = table(ledger, piece, piece.shard), piece.shard.name
        if each.schema.remove_metadata() != schema:
            name = f"{FITTED}{place:07}.parquet"
            ledger.folder.put(name, as_parquet(_fitted(each, schema)))
        names.append(name)
    return names


def write_parquet(stream: BinaryIO, schema: Any, found: Iterable[Any]) -> None:
    """All rows as one Parquet file, a row group a table.

    Args:
        stream: where to.
        schema: of all of them, as `common` gives it.
        found: the tables.
    """
    with pq.ParquetWriter(stream, schema, compression="zstd", store_schema=False) as writer:
        for each in found:
            writer.write_table(_fitted(each, schema))


def write_csv(stream: BinaryIO, schema: Any, found: Iterable[Any], classes: Sequence[str] = ()) -> None:
    """All rows as CSV: probabilities as a column a label, other nested cells as JSON.

    Args:
        stream: where to.
        schema: of all of them, as `common` gives it.
        found: the tables.
        classes: labels in the order of the probabilities; empty unless the target is a label.
    """
    writer = None
    for each in found:
        flat = _flat(_fitted(each, schema), classes)
        writer = writer or pacsv.CSVWriter(stream, flat.schema)
        writer.write_table(flat)
    if writer is not None:
        writer.close()


def _flat(each: Any, classes: Sequence[str]) -> Any:
    columns: dict[str, Any] = {}
    for name in each.column_names:
        column = each.column(name)
        if name == "probabilities" and classes:
            columns.update(_by_label(column.combine_chunks(), classes))
        else:
            columns[name] = _as_text(column) if pa.types.is_nested(column.type) else column
    return pa.table(columns)


def _by_label(column: Any, classes: Sequence[str]) -> dict[str, Any]:
    """The probability of each label; none in a row where the policy denies them all."""
    there = pc.greater(pc.list_value_length(column), 0).to_numpy(zero_copy_only=False)
    shares = np.full((len(there), len(classes)), np.nan)
    shares[there] = pc.struct_field(pc.list_flatten(column), "probability").to_numpy().reshape(-1, len(classes))
    return {f"probability_{name}": pa.array(shares[:, place], from_pandas=True) for place, name in enumerate(classes)}


def _as_text(column: Any) -> Any:
    if pa.types.is_nested(column.type):
        cells = (None if cell is None else json.dumps(cell, default=str) for cell in column.to_pylist())
        return pa.array(cells, pa.string())
    return column.cast(pa.string())
