# SPDX-License-Identifier: Apache-2.0
"""What a batch prediction may read: files, folders and patterns, here or in a bucket; a BigQuery table or a query.

A file is read in ranges, whether it lies here or in a bucket. What BigQuery holds is laid down once as Parquet
objects beside the batch, so that a retried worker and a run that goes on after a kill read the same rows.
"""

from __future__ import annotations

import fnmatch
import glob
import io
import re
import secrets
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, BinaryIO

import msgspec
import pyarrow as pa
import pyarrow.parquet as pq

from dropfit import documents, splits, storage
from dropfit.errors import BadFile, Conflict, NotFound, Refused
from dropfit.parts import ROWS
from dropfit.settings import Settings
from dropfit.splits import Split
from dropfit.warehouse import Warehouse

GS, TABLE = "gs://", "bq://"
QUERY = re.compile(r"\s*(SELECT|WITH)\s", re.IGNORECASE)
WILD = re.compile(r"[*?\[]")
STAGED = "staged.json"


class Source(msgspec.Struct, frozen=True):
    """A file to read.

    Attributes:
        uri: gs://BUCKET/NAME or a local path.
        size: bytes.
        generation: of an object; of a local file when it was last written, in ns since 1970. With the size it says
            whether it is still the same file.
    """

    uri: str
    size: int
    generation: int


class Staged(msgspec.Struct, frozen=True):
    """What BigQuery gave.

    Attributes:
        inputs: the tables and queries.
        names: objects in the data bucket.
        rows: in all of them.
    """

    inputs: tuple[str, ...]
    names: tuple[str, ...]
    rows: int


def is_bigquery(text: str) -> bool:
    """Whether an input is a table (bq://PROJECT.DATASET.TABLE) or a query (SELECT or WITH ...)."""
    return text.startswith(TABLE) or bool(QUERY.match(text))


def gathered(settings: Settings, inputs: Sequence[str], place: str) -> list[Source]:
    """All that inputs name: files and objects first, then what BigQuery holds, laid down.

    Args:
        settings: how buckets are opened.
        inputs: as `expand` and `staged` know them, mixed.
        place: folder in the data bucket, of this batch alone, for what BigQuery holds.

    Raises:
        NotFound: naming what there is not.
        Conflict: when another table or query lies in that folder.
    """
    ours = [text for text in inputs if is_bigquery(text)]
    files = [text for text in inputs if not is_bigquery(text)]
    found = expand(settings, files) if files or not ours else []
    return [*found, *(staged(settings, ours, place) if ours else [])]


def expand(settings: Settings, inputs: Sequence[str]) -> list[Source]:
    """The files that inputs name, each once, those of a pattern or folder in the order of their names.

    Args:
        settings: how buckets are opened.
        inputs: local files, folders (all in them, but for hidden ones) and patterns (* ? [] and ** for any depth);
            gs://BUCKET/NAME, a pattern of the same kind whose * crosses slashes too, and gs://BUCKET/PREFIX/.

    Raises:
        NotFound: naming every input that matches nothing.
    """
    found: dict[str, Source] = {}
    nothing = []
    for text in inputs:
        matched = list(_objects(settings, text) if text.startswith(GS) else _files(text))
        found.update((source.uri, source) for source in matched if source.uri not in found)
        if not matched:
            nothing.append(text)
    if nothing or not found:
        raise NotFound(f"there is no such file or object: {', '.join(nothing) or 'no input was named'}")
    return list(found.values())


def _files(text: str) -> Iterator[Source]:
    path = Path(text)
    if path.is_dir():
        paths: Iterable[Path] = path.rglob("*")
    elif path.is_file() or not WILD.search(text):
        paths = [path]
    else:
        paths = map(Path, glob.glob(text, recursive=True))
    for each in sorted(paths):
        inside = each.relative_to(path).parts if path.is_dir() else ()
        if each.is_file() and not any(part.startswith(".") for part in inside):
            stat = each.stat()
            yield Source(str(each.resolve()), stat.st_size, stat.st_mtime_ns)


def _objects(settings: Settings, text: str) -> Iterator[Source]:
    name, _, pattern = text.removeprefix(GS).partition("/")
    bucket = storage.bucket(settings, name)
    stored = bucket.stat(pattern) if pattern and not pattern.endswith("/") else None
    if stored is not None:
        yield Source(text, stored.size, stored.generation)
        return
    folder = not pattern or pattern.endswith("/")
    if not folder and not WILD.search(pattern):
        return
    for each in bucket.list(pattern if folder else WILD.split(pattern)[0]):
        if not each.name.endswith("/") and (folder or fnmatch.fnmatchcase(each.name, pattern)):
            yield Source(bucket.uri(each.name), each.size, each.generation)


@contextmanager
def opened(settings: Settings, split: Split | Source) -> Iterator[BinaryIO]:
    """The file of a split, seekable, read in ranges and never whole.

    Args:
        settings: how buckets are opened.
        split: which file, and which write of it.

    Raises:
        NotFound: when it is gone.
        Conflict: when a local file was written since it was planned.
        BadFile: when what is read of it cannot be used, naming the file.
    """
    try:
        if split.uri.startswith(GS):
            name, _, key = split.uri.removeprefix(GS).partition("/")
            with storage.bucket(settings, name).open(key, split.generation) as stream:
                yield stream
            return
        with _local(split) as stream:
            yield stream
    except BadFile as error:
        raise BadFile(f"{split.uri}: {error.reason}", error.code) from error


@contextmanager
def _local(split: Split | Source) -> Iterator[BinaryIO]:
    path = Path(split.uri)
    try:
        written = path.stat().st_mtime_ns
        stream = path.open("rb")
    except FileNotFoundError as error:
        raise NotFound(f"{split.uri} does not exist") from error
    except PermissionError as error:
        raise Refused(f"{split.uri} may not be read: {error}") from error
    with stream:
        if written != split.generation:
            raise Conflict(f"{split.uri} was written since the batch was planned; start a new one")
        yield stream


def plan(settings: Settings, sources: Iterable[Source], target: int = splits.TARGET) -> list[Split]:
    """The splits of all files, numbered on.

    Args:
        settings: how buckets are opened.
        sources: as `expand` gives them.
        target: bytes of text in a split.

    Raises:
        BadFile: when a file cannot be used, naming it.
    """
    found: list[Split] = []
    for source in sources:
        with opened(settings, source) as stream:
            found += splits.plan(stream, source.uri, len(found), source.generation, target)
    return found


def staged(settings: Settings, inputs: Sequence[str], place: str) -> list[Source]:
    """The rows of BigQuery tables and queries as Parquet objects; what an earlier run laid down there stands.

    Args:
        settings: project and data bucket.
        inputs: as `is_bigquery` knows them.
        place: folder in the data bucket, of this batch alone.

    Raises:
        NotFound: when there is no such table.
        Conflict: when other inputs are staged there.
        Refused: when BigQuery will not run the query.
    """
    bucket = storage.bucket(settings, settings.data_bucket)
    note = f"{place}/{STAGED}"
    if bucket.stat(note) is None:
        warehouse = Warehouse(settings)
        names: list[str] = []
        rows = 0
        for text in inputs:
            for table in _parts(warehouse.rows(text.removeprefix(TABLE))):
                names.append(f"{place}/{len(names):05}-{secrets.token_hex(4)}.parquet")
                bucket.put(names[-1], _parquet(table))
                rows += table.num_rows
        with suppress(Conflict):  # where a second run of the same batch was first, its objects count
            bucket.create(note, documents.encode(Staged(tuple(inputs), tuple(names), rows)))
    found = documents.decode(bucket.read(note), Staged)
    if found.inputs != tuple(inputs):
        raise Conflict(f"{bucket.uri(note)} holds the rows of {', '.join(found.inputs)}; name another output")
    there = {stored.name: stored for stored in bucket.list(f"{place}/")}
    if gone := [name for name in found.names if name not in there]:
        raise NotFound(f"{bucket.uri(gone[0])} is gone, which held rows of {', '.join(inputs)}; name another output")
    return [Source(bucket.uri(name), there[name].size, there[name].generation) for name in found.names]


def _parts(batches: Iterable[Any]) -> Iterator[Any]:
    """Tables of at most so many rows as a part has; at least one, so that the columns are known."""
    held: list[Any] = []
    rows, given = 0, False
    for batch in batches:
        held.append(pa.Table.from_batches([batch]))
        rows += batch.num_rows
        while rows > ROWS:
            whole = pa.concat_tables(held)
            yield whole.slice(0, ROWS)
            held, rows, given = [whole.slice(ROWS)], rows - ROWS, True
    if held and (rows or not given):
        yield pa.concat_tables(held)


def _parquet(table: Any) -> bytes:
    sink = io.BytesIO()
    pq.write_table(table, sink, compression="zstd", row_group_size=ROWS)
    return sink.getvalue()
