# SPDX-License-Identifier: Apache-2.0
"""A pipeline of the batch prediction's shape, small: descriptions of work, read, worked on, written, committed."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import apache_beam as beam

from dropfit.errors import Unavailable


class Read(beam.DoFn):
    """A part's number -> its rows."""

    def setup(self) -> None:
        self.worker = os.getpid()

    def process(self, part: int) -> Iterable[list[int]]:
        assert self.worker == os.getpid()
        yield list(range(part * 10, part * 10 + 10))


class Work(beam.DoFn):
    """Rows -> their squares; a part takes a while, so that no worker takes them all."""

    def process(self, rows: list[int]) -> Iterable[list[int]]:
        time.sleep(0.02)
        yield [row * row for row in rows]


class Fail(beam.DoFn):
    """What a worker raises."""

    def __init__(self, ours: bool) -> None:
        self._ours = ours

    def process(self, rows: list[int]) -> Iterable[list[int]]:
        if 30 in rows:
            raise Unavailable("storage did not answer") if self._ours else KeyError("wing")
        yield rows


class Write(beam.DoFn):
    """Rows -> a file; says which, and who wrote it."""

    def __init__(self, folder: str) -> None:
        self._folder = Path(folder)

    def process(self, rows: list[int]) -> Iterable[tuple[str, int, int]]:
        file = self._folder / f"{rows[0]}.txt"
        file.write_text(" ".join(map(str, rows)))
        yield file.name, os.getpid(), threading.get_ident()


class Commit(beam.DoFn):
    """The list of all files -> the manifest."""

    def __init__(self, folder: str) -> None:
        self._folder = Path(folder)

    def process(self, written: list[tuple[str, int, int]]) -> None:
        said = "".join(f"{name} {pid} {thread}\n" for name, pid, thread in sorted(written))
        (self._folder / "manifest").write_text(said)


class Batch:
    """Builds it.

    Args:
        folder: where it writes.
        parts: how many.
        between: a step more, before what is written.
    """

    def __init__(self, folder: Path, parts: int = 16, between: Any = None) -> None:
        self.folder, self.parts, self.between = folder, parts, between
        self.built = 0

    def __call__(self, pipeline: Any) -> None:
        self.built += 1
        worked = (
            pipeline
            | "Plan" >> beam.Create(range(self.parts), reshuffle=False)
            | "Spread" >> beam.Reshuffle()
            | "Read" >> beam.ParDo(Read())
            | "Predict" >> beam.ParDo(self.between or Work())
        )
        (
            worked
            | "Write" >> beam.ParDo(Write(str(self.folder)))
            | "List" >> beam.combiners.ToList()
            | "Commit" >> beam.ParDo(Commit(str(self.folder)))
        )

    def rows(self) -> list[int]:
        """What the manifest lists."""
        names = [line.split()[0] for line in (self.folder / "manifest").read_text().splitlines()]
        return sorted(int(row) for name in names for row in (self.folder / name).read_text().split())

    def workers(self) -> tuple[set[str], set[str]]:
        """The processes and the threads that wrote."""
        lines = [line.split() for line in (self.folder / "manifest").read_text().splitlines()]
        return {pid for _, pid, _ in lines}, {thread for _, _, thread in lines}
