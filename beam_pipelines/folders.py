# SPDX-License-Identifier: Apache-2.0
"""A folder for a batch's work: of this machine, or beginning of names in a bucket. Workers open it by its address."""

from __future__ import annotations

import os
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Protocol

from dropfit import storage
from dropfit.errors import Conflict, NotFound, Refused, disk
from dropfit.settings import Settings
from dropfit.storage import Bucket

GS = "gs://"


@contextmanager
def writing(place: Path) -> Iterator[None]:
    """What the system will not write, as Refused; a full disk as Unavailable."""
    try:
        with disk():
            yield
    except OSError as error:
        raise Refused(f"{place} cannot be written: {error.strerror or error}; name another place") from error


class Folder(Protocol):
    """What a batch needs of the place where its shards and its notes lie. Names are relative to it, with slashes."""

    def put(self, name: str, payload: bytes) -> None:
        """Write what nobody else writes under that name, or the same."""

    def create(self, name: str, payload: bytes) -> bool:
        """Write what must not be there yet; whether it was not."""

    def read(self, name: str) -> bytes:
        """All bytes of it, or NotFound."""

    def names(self, prefix: str) -> list[str]:
        """What is there under such names, in their order."""

    def full(self, name: str) -> str:
        """Its whole name: in the bucket, or on this machine."""

    def is_empty(self) -> bool:
        """Whether nothing is there, of ours or of anybody's."""

    def delete(self, name: str) -> None:
        """Remove it, with a slash behind it all that is in it, `/` all; fine when it is gone already."""


class LocalFolder:
    """A directory. Every file appears whole or not at all."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def put(self, name: str, payload: bytes) -> None:
        """Write it beside, then rename."""
        with writing(self._path):
            os.replace(self._written(name, payload), self._path / name)

    def create(self, name: str, payload: bytes) -> bool:
        """The same by a hard link, which fails where the name is taken."""
        with writing(self._path):
            written = self._written(name, payload)
            try:
                os.link(written, self._path / name)
            except FileExistsError:
                return False
            finally:
                written.unlink()
        return True

    def _written(self, name: str, payload: bytes) -> Path:
        target = self._path / name
        target.parent.mkdir(parents=True, exist_ok=True)
        written = target.with_name(f".{target.name}.{secrets.token_hex(4)}")
        written.write_bytes(payload)
        return written

    def read(self, name: str) -> bytes:
        """A file's bytes."""
        try:
            return (self._path / name).read_bytes()
        except FileNotFoundError:
            raise NotFound(f"{self._path / name} does not exist") from None

    def names(self, prefix: str) -> list[str]:
        """What is in one of its directories; hidden files are still being written."""
        found = sorted((self._path / prefix).glob("*"))
        return [f"{prefix}{path.name}" for path in found if path.is_file() and not path.name.startswith(".")]

    def full(self, name: str) -> str:
        """Its path."""
        return str(self._path / name)

    def is_empty(self) -> bool:
        """Whether there is no such directory, or nothing in it."""
        return not self._path.exists() or not any(self._path.iterdir())

    def delete(self, name: str) -> None:
        """A file, or a directory with all that is in it."""
        if name.endswith("/"):
            shutil.rmtree(self._path / name.strip("/"), ignore_errors=True)
        else:
            (self._path / name).unlink(missing_ok=True)


class BucketFolder:
    """Names of a bucket that begin alike."""

    def __init__(self, bucket: Bucket, prefix: str) -> None:
        self._bucket = bucket
        self._prefix = f"{prefix.strip('/')}/" if prefix.strip("/") else ""

    def put(self, name: str, payload: bytes) -> None:
        """Write an object."""
        self._bucket.put(self._prefix + name, payload)

    def create(self, name: str, payload: bytes) -> bool:
        """Write an object that is not there."""
        try:
            self._bucket.create(self._prefix + name, payload)
        except Conflict:
            return False
        return True

    def read(self, name: str) -> bytes:
        """An object's bytes."""
        return self._bucket.read(self._prefix + name)

    def names(self, prefix: str) -> list[str]:
        """The objects under it."""
        found = self._bucket.list(self._prefix + prefix)
        return [stored.name.removeprefix(self._prefix) for stored in found]

    def full(self, name: str) -> str:
        """Its object name."""
        return self._prefix + name

    def is_empty(self) -> bool:
        """Whether no object's name begins so."""
        return next(iter(self._bucket.list(self._prefix)), None) is None

    def delete(self, name: str) -> None:
        """An object, or all of a folder (`name/`)."""
        if not name.endswith("/"):
            self._bucket.delete(self._prefix + name)
            return
        for stored in list(self._bucket.list(self._prefix + name.lstrip("/"))):
            self._bucket.delete(stored.name)


def folder(settings: Settings, uri: str) -> Folder:
    """The folder at an address: gs://BUCKET/PREFIX or a path. No call is made yet."""
    if not uri.startswith(GS):
        return LocalFolder(Path(uri))
    name, _, prefix = uri.removeprefix(GS).partition("/")
    return BucketFolder(storage.bucket(settings, name), prefix)
