# SPDX-License-Identifier: Apache-2.0
"""Where the predictions of a batch go: a Parquet or CSV file, a folder of shards, a BigQuery table.

Until all is predicted nothing of it can be seen there: a file is put together beside its place and renamed, an object
is written by one upload, a table by one load job.
"""

from __future__ import annotations

import gzip
import os
import secrets
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO, Protocol, cast

from beam_pipelines import shards
from beam_pipelines.folders import GS, folder, writing
from beam_pipelines.ledger import NOTES, PLAN, REJECTED, SHARDS, Ledger, broke_off, discard, has_ended
from dropfit import storage
from dropfit.encoding import sha256
from dropfit.errors import BadRequest, disk
from dropfit.manifest import Manifest
from dropfit.settings import Settings

SUFFIXES = (".parquet", ".csv.gz", ".csv")
TABLE = "bq://"


class Output(Protocol):
    """A place for predictions.

    Attributes:
        name: as a person named it.
        place: address of the folder that the batch works in.
        sheet: where rows go that cannot be predicted, unless a person says where.
    """

    name: str
    place: str
    sheet: str

    def taken(self) -> bool:
        """Whether something is there already.

        Raises:
            BadRequest: when it must not be replaced, whoever says so.
        """

    def finish(self, ledger: Ledger, manifest: Manifest) -> None:
        """Put all pieces there, and remove what the work left."""

    def abandon(self) -> None:
        """Remove what the work left: nobody can go on with it."""


def parse(settings: Settings, text: str) -> Output:
    """What a person means by `--output`.

    Raises:
        BadRequest: when it is none of the forms.
    """
    if text.startswith(TABLE):
        from beam_pipelines.table_output import TableOutput

        return TableOutput(settings, text.removeprefix(TABLE))
    if not text.removeprefix(GS).strip("/. "):
        raise BadRequest(f"--output {text!r} names nothing: say a file, a folder or a table")
    if text.endswith("/") or (not text.startswith(GS) and Path(text).is_dir()):
        return FolderOutput(settings, text.rstrip("/"))
    if text.endswith(SUFFIXES):
        return FileOutput(settings, text)
    raise BadRequest(
        f"--output {text}: say FILE.parquet, FILE.csv or FOLDER/ (each also as gs://BUCKET/...), or bq://DATASET.TABLE"
    )


class FolderOutput:
    """The shards as they are, and the manifest that lists them.

    Raises:
        BadRequest: when the workers are on other machines, and the folder is on this one.
    """

    def __init__(self, settings: Settings, uri: str) -> None:
        if not uri.startswith(GS) and settings.runs_elsewhere:
            raise BadRequest(
                f"--output {uri}/: {settings.runner}'s workers cannot write here; say gs://BUCKET/FOLDER/"
            )
        self.name = f"{uri}/"
        self.place = uri if uri.startswith(GS) else str(Path(uri).absolute())
        self.sheet = f"{uri}/rejected.csv"
        self._folder = folder(settings, self.place)

    def taken(self) -> bool:
        """Whether a batch has ended here; one that broke off goes on."""
        if not (self._folder.is_empty() or broke_off(self._folder) or has_ended(self._folder)):
            raise BadRequest(f"{self.name} holds other things: name a folder that is empty, or none yet")
        return has_ended(self._folder)

    def abandon(self) -> None:
        """Remove what is of ours, unless it is what an earlier batch ended with."""
        if not has_ended(self._folder):
            discard(self._folder)

    def finish(self, ledger: Ledger, manifest: Manifest) -> None:
        """Leave the listed shards and the manifest alone."""
        kept = {piece.shard.name for piece in ledger.pieces() if piece.shard}
        for name in self._folder.names(SHARDS):
            if name not in kept:
                self._folder.delete(name)
        for left in (NOTES, REJECTED, PLAN):
            self._folder.delete(left)


class FileOutput:
    """One Parquet or CSV file, local or in a bucket."""

    def __init__(self, settings: Settings, uri: str) -> None:
        self.name = uri
        self._settings = settings
        self._remote = uri.startswith(GS)
        self.sheet = next(uri.removesuffix(end) for end in SUFFIXES if uri.endswith(end)) + ".rejected.csv"
        if self._remote or settings.runs_elsewhere:
            self.place = f"{GS}{settings.data_bucket}/batch/{sha256(uri.encode())[:16]}"
        else:
            path = Path(uri).absolute()
            self.place = str(path.with_name(f".{path.name}.dropfit"))

    def taken(self) -> bool:
        """Whether the file is there."""
        return is_there(self._settings, self.name)

    def abandon(self) -> None:
        """Remove the folder, which is ours alone."""
        folder(self._settings, self.place).delete("/")

    def finish(self, ledger: Ledger, manifest: Manifest) -> None:
        """Put the shards together, in the order of the input."""
        put(self._settings, self.name, lambda stream: self._write(stream, ledger, manifest))
        ledger.folder.delete("/")

    def _write(self, stream: BinaryIO, ledger: Ledger, manifest: Manifest) -> None:
        schema = shards.common(shards.tables(ledger))
        if self.name.endswith(".parquet"):
            shards.write_parquet(stream, schema, shards.tables(ledger))
        elif self.name.endswith(".csv"):
            shards.write_csv(stream, schema, shards.tables(ledger), manifest.classes)
        else:
            with gzip.open(stream, "wb") as packed:
                shards.write_csv(cast(BinaryIO, packed), schema, shards.tables(ledger), manifest.classes)


def is_there(settings: Settings, uri: str) -> bool:
    """Whether there is a file, or an object gs://BUCKET/NAME."""
    if not uri.startswith(GS):
        return Path(uri).exists()
    bucket, _, name = uri.removeprefix(GS).partition("/")
    return storage.bucket(settings, bucket).stat(name) is not None


def put(settings: Settings, uri: str, write: Callable[[BinaryIO], None]) -> None:
    """Make a file or an object that appears whole or not at all.

    Args:
        settings: how buckets are opened.
        uri: a path, or gs://BUCKET/NAME.
        write: writes its bytes.
    """
    if uri.startswith(GS):
        bucket, _, name = uri.removeprefix(GS).partition("/")
        with disk(), tempfile.TemporaryFile() as stream:
            write(stream)
            storage.bucket(settings, bucket).put(name, stream)
        return
    path = Path(uri)
    beside = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    with writing(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            with beside.open("wb") as stream:
                write(stream)
            os.replace(beside, path)
        finally:
            beside.unlink(missing_ok=True)
