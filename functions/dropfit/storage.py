# SPDX-License-Identifier: Apache-2.0
"""Cloud Storage: the only module that touches google.cloud.storage.

Preconditions are used on small single uploads alone (`create`, `replace`): that is what real buckets and the emulator
both enforce. Whatever is larger is immutable under a fresh name (`put`).
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any, BinaryIO, NamedTuple

import msgspec
import requests
from google.api_core import exceptions as google_errors
from google.auth import exceptions as auth_errors
from google.cloud import storage  # type: ignore[attr-defined]  # it ships no types
from google.cloud.storage.exceptions import DataCorruption  # type: ignore[import-untyped]
from google.cloud.storage.retry import DEFAULT_RETRY  # type: ignore[import-untyped]

from .errors import ArtifactError, Conflict, NotFound, of_google
from .settings import Settings

TIMEOUT = (5.0, 30.0)
"""Seconds to connect, and between two bytes."""
RETRY = DEFAULT_RETRY.with_timeout(60.0)
"""Jittered back-off on 408, 429, 5xx and broken connections, for at most 60 s."""
CHUNK = 8 * 1024**2
ABREAST = 8
"""Requests at a time where many objects are read; the client's pool holds ten connections."""


class Stored(msgspec.Struct, frozen=True):
    """One generation of one object: what a listing says of it.

    Attributes:
        bucket: bucket name.
        name: object name, opaque.
        generation: which write of that name.
        size: bytes.
        updated: when, by the server's clock.
        metadata: the object's custom metadata.
        crc32c: of the content, base64, as storage reports it.
    """

    bucket: str
    name: str
    generation: int
    size: int
    updated: dt.datetime
    metadata: dict[str, str]
    crc32c: str = ""


class Bucket:
    """One bucket through the official client.

    Every method raises Unavailable when storage does not answer within its deadline, Refused when it never will,
    ArtifactError when what it gives is not what its checksum says.
    """

    def __init__(self, client: storage.Client, name: str) -> None:
        self.name = name
        self._client = client
        self._bucket = client.bucket(name)

    def stat(self, name: str) -> Stored | None:
        """The live generation of an object, or None."""
        with _ours(self.name, name):
            blob = self._bucket.get_blob(name, timeout=TIMEOUT, retry=RETRY)
        return _stored(blob) if blob is not None else None

    def read(self, name: str, generation: int | None = None) -> bytes:
        """All of an object's bytes, of one generation when given.

        Raises:
            NotFound: when it, or that generation of it, is gone.
        """
        with _ours(self.name, name):
            blob = self._bucket.blob(name, generation=generation)
            return _bytes(blob)

    def fetch(self, name: str) -> tuple[bytes, int]:
        """An object's bytes and the generation they are of.

        Raises:
            NotFound: when it is not there.
        """
        with _ours(self.name, name):
            blob = self._bucket.blob(name)
            payload = _bytes(blob)
            if blob.generation is not None:
                return payload, int(blob.generation)
        stored = self.stat(name)
        if stored is None:
            raise NotFound(f"gs://{self.name}/{name} does not exist")
        return self.read(name, stored.generation), stored.generation

    def fetch_all(self, names: Sequence[str]) -> list[tuple[bytes, int]]:
        """The same of many objects, in their order, several at a time: one after another, a thousand take a minute.

        Raises:
            NotFound: when one is not there.
        """
        with ThreadPoolExecutor(ABREAST) as pool:
            return list(pool.map(self.fetch, names))

    @contextmanager
    def open(self, name: str, generation: int) -> Iterator[BinaryIO]:
        """A generation as a stream that reads ranges, never the whole into memory.

        Raw: what was uploaded with Content-Encoding gzip comes packed, as its size says.

        Raises:
            NotFound: when that generation is gone.
        """
        with _ours(self.name, name):
            blob = self._bucket.blob(name, generation=generation)
            with blob.open("rb", chunk_size=CHUNK, raw_download=True, timeout=TIMEOUT, retry=RETRY) as stream:
                yield stream

    def download(self, name: str, generation: int, stream: BinaryIO) -> None:
        """Write a generation's bytes into a file as they come, never the whole into memory; in one request.

        Raises:
            NotFound: when that generation is gone.
        """
        with _ours(self.name, name):
            blob = self._bucket.blob(name, generation=generation)
            try:
                blob.download_to_file(stream, timeout=TIMEOUT, retry=RETRY)
            except DataCorruption:  # asked for once more, as in `_bytes`
                stream.seek(0)
                stream.truncate()
                blob.download_to_file(stream, timeout=TIMEOUT, retry=RETRY)

    def create(self, name: str, payload: bytes, metadata: Mapping[str, str] | None = None) -> Stored:
        """Write an object that must not exist yet.

        Raises:
            Conflict: when it exists with other content.
        """
        return self.replace(name, payload, 0, metadata)

    def replace(
        self, name: str, payload: bytes, generation: int, metadata: Mapping[str, str] | None = None
    ) -> Stored:
        """Compare-and-swap: write if the live generation is still the one given.

        Raises:
            Conflict: when it is not. A refusal that our own retried write caused is recognised by reading back.
        """
        try:
            with _ours(self.name, name):
                return self._upload(name, payload, metadata, if_generation_match=generation)
        except Conflict:
            stored = self.stat(name)
            if stored is not None and stored.size == len(payload) and self.read(name) == payload:
                return stored
            raise

    def put(self, name: str, payload: bytes | BinaryIO, content_type: str = "application/octet-stream") -> Stored:
        """Write an object whose name is ours alone, or a person's upload: a retry writes the same again."""
        with _ours(self.name, name):
            if isinstance(payload, bytes):
                return self._upload(name, payload, None, content_type=content_type)
            blob = self._bucket.blob(name)
            blob.upload_from_file(payload, content_type=content_type, rewind=True, timeout=TIMEOUT, retry=RETRY)
            return _stored(blob)

    def list(self, prefix: str = "") -> Iterator[Stored]:
        """The live objects whose names start so, in the order of their names."""
        with _ours(self.name, prefix):
            for blob in self._client.list_blobs(self.name, prefix=prefix, timeout=TIMEOUT, retry=RETRY):
                yield _stored(blob)

    def delete(self, name: str) -> None:
        """Remove an object; fine when it is gone already."""
        try:
            with _ours(self.name, name):
                self._bucket.blob(name).delete(timeout=TIMEOUT, retry=RETRY)
        except NotFound:
            return

    def uri(self, name: str) -> str:
        """The object's gs:// address."""
        return f"gs://{self.name}/{name}"

    def _upload(
        self,
        name: str,
        payload: bytes,
        metadata: Mapping[str, str] | None,
        content_type: str = "application/json",
        **condition: int,
    ) -> Stored:
        blob = self._bucket.blob(name)
        blob.metadata = dict(metadata) if metadata else None
        blob.upload_from_string(payload, content_type=content_type, timeout=TIMEOUT, retry=RETRY, **condition)
        return _stored(blob)


class Buckets(NamedTuple):
    """The three buckets of a deployment."""

    landing: Bucket
    data: Bucket
    models: Bucket


def connect(settings: Settings) -> Buckets:
    """The deployment's buckets behind one client; no call is made yet.

    Raises:
        Unavailable: when there are no credentials.
    """
    client = _client(settings, settings.landing_bucket)
    names = (settings.landing_bucket, settings.data_bucket, settings.models_bucket)
    return Buckets(*(Bucket(client, name) for name in names))


def bucket(settings: Settings, name: str) -> Bucket:
    """Any bucket, a person's own too; no call is made yet.

    Raises:
        Unavailable: when there are no credentials.
    """
    return Bucket(_client(settings, name), name)


def _client(settings: Settings, name: str) -> Any:
    with _ours(name, ""):
        return storage.Client(project=settings.project)


def _bytes(blob: Any) -> bytes:
    """An object's bytes, proven by their checksum; asked for once more, as the way may have damaged them."""
    try:
        return bytes(blob.download_as_bytes(timeout=TIMEOUT, retry=RETRY))
    except DataCorruption:
        return bytes(blob.download_as_bytes(timeout=TIMEOUT, retry=RETRY))


def _stored(blob: Any) -> Stored:
    return Stored(
        blob.bucket.name,
        blob.name,
        int(blob.generation),
        int(blob.size or 0),
        blob.updated,
        dict(blob.metadata or {}),
        blob.crc32c or "",
    )


@contextmanager
def _ours(bucket: str, name: str) -> Iterator[None]:
    """Google's exceptions as ours."""
    where = f"gs://{bucket}/{name}"
    try:
        yield
    except google_errors.NotFound as error:
        raise NotFound(f"{where} does not exist") from error
    except google_errors.PreconditionFailed as error:
        raise Conflict(f"{where} was written by somebody else") from error
    except (
        google_errors.GoogleAPIError,
        auth_errors.GoogleAuthError,
        requests.RequestException,
        ConnectionError,
    ) as error:
        raise of_google(where, error) from error
    except DataCorruption as error:
        raise ArtifactError(f"{where} is damaged: its bytes are not those of its checksum") from error
