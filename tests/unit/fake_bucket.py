# SPDX-License-Identifier: Apache-2.0
"""dropfit.storage.Bucket in memory, and faults for it."""

from __future__ import annotations

import collections
import datetime as dt
import io
import itertools
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import BinaryIO

import msgspec

from dropfit.errors import Conflict, NotFound, Unavailable
from dropfit.storage import Stored

GENERATIONS = itertools.count(1_700_000_000_000_000)


class FakeBucket:
    """dropfit.storage.Bucket in memory: one live generation per name, compare-and-swap, faults when asked.

    `fail("read", Unavailable("..."), times=2)` makes the next calls fail before they do anything;
    `lose_answer("replace")` lets the next call write and then fail, as a broken connection does.
    """

    def __init__(self, name: str = "bucket") -> None:
        self.name = name
        self.clock: Callable[[], dt.datetime] = lambda: dt.datetime.now(dt.UTC)
        self.generation: Callable[[], int] = lambda: next(GENERATIONS)
        self._objects: dict[str, tuple[bytes, Stored]] = {}
        self._before: dict[str, list[Exception]] = collections.defaultdict(list)
        self._after: dict[str, list[Exception]] = collections.defaultdict(list)
        self._lock = threading.RLock()

    def fail(self, method: str, error: Exception | None = None, times: int = 1) -> None:
        self._before[method] += [error or Unavailable(f"gs://{self.name}: 503")] * times

    def lose_answer(self, method: str) -> None:
        self._after[method].append(Unavailable(f"gs://{self.name}: the connection broke"))

    @contextmanager
    def _call(self, method: str) -> Iterator[None]:
        with self._lock:
            if self._before[method]:
                raise self._before[method].pop(0)
            yield
            if self._after[method]:
                raise self._after[method].pop(0)

    def stat(self, name: str) -> Stored | None:
        with self._call("stat"):
            return self._objects[name][1] if name in self._objects else None

    def read(self, name: str, generation: int | None = None) -> bytes:
        with self._call("read"):
            return self._live(name, generation)[0]

    def fetch(self, name: str) -> tuple[bytes, int]:
        with self._call("fetch"):
            payload, stored = self._live(name)
            return payload, stored.generation

    def fetch_all(self, names: Sequence[str]) -> list[tuple[bytes, int]]:
        return [self.fetch(name) for name in names]

    @contextmanager
    def open(self, name: str, generation: int) -> Iterator[BinaryIO]:
        with self._call("open"):
            payload = self._live(name, generation)[0]
        yield io.BytesIO(payload)

    def download(self, name: str, generation: int, stream: BinaryIO) -> None:
        with self._call("download"):
            stream.write(self._live(name, generation)[0])

    def create(self, name: str, payload: bytes, metadata: Mapping[str, str] | None = None) -> Stored:
        with self._call("create"):
            return self._swap(name, payload, 0, metadata)

    def replace(
        self, name: str, payload: bytes, generation: int, metadata: Mapping[str, str] | None = None
    ) -> Stored:
        with self._call("replace"):
            return self._swap(name, payload, generation, metadata)

    def put(self, name: str, payload: bytes | BinaryIO, content_type: str = "application/octet-stream") -> Stored:
        with self._call("put"):
            if not isinstance(payload, bytes):
                payload.seek(0)
                payload = payload.read()
            return self._write(name, payload, None)

    def list(self, prefix: str = "") -> Iterator[Stored]:
        with self._call("list"):
            return iter([self._objects[n][1] for n in sorted(self._objects) if n.startswith(prefix)])

    def delete(self, name: str) -> None:
        with self._call("delete"):
            self._objects.pop(name, None)

    def uri(self, name: str) -> str:
        return f"gs://{self.name}/{name}"

    def age(self, name: str, seconds: float) -> None:
        """Pretend that an object was written so long ago."""
        payload, stored = self._objects[name]
        older = stored.updated - dt.timedelta(seconds=seconds)
        self._objects[name] = payload, msgspec.structs.replace(stored, updated=older)

    def rot(self, name: str, payload: bytes) -> None:
        """Change an object's bytes and nothing else, as a failing disk does: generation, size and metadata stay."""
        self._objects[name] = payload, self._objects[name][1]

    def copy(self) -> FakeBucket:
        """Another bucket with the same objects."""
        twin = FakeBucket(self.name)
        twin._objects = dict(self._objects)
        return twin

    def _live(self, name: str, generation: int | None = None) -> tuple[bytes, Stored]:
        found = self._objects.get(name)
        if found is None or generation not in (None, found[1].generation):
            raise NotFound(f"gs://{self.name}/{name} does not exist")
        return found

    def _swap(self, name: str, payload: bytes, generation: int, metadata: Mapping[str, str] | None) -> Stored:
        found = self._objects.get(name)
        if (found[1].generation if found else 0) != generation:
            if found and found[0] == payload:
                return found[1]
            raise Conflict(f"gs://{self.name}/{name} was written by somebody else")
        return self._write(name, payload, metadata)

    def _write(self, name: str, payload: bytes, metadata: Mapping[str, str] | None) -> Stored:
        stored = Stored(self.name, name, self.generation(), len(payload), self.clock(), dict(metadata or {}))
        self._objects[name] = bytes(payload), stored
        return stored
