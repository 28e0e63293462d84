# SPDX-License-Identifier: Apache-2.0
"""Every byte of a manifest and a thousand bytes of the files it names, flipped one at a time: none gets to a parser.

.venv/bin/python tests/torture/flips.py [SEED [BYTES]]
"""

from __future__ import annotations

import random
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).parents[1] / "unit"))

from fakes import Shelf, shelve

from dropfit import documents, runtime, skops_model, snapshot, version
from dropfit.contract import Probability
from dropfit.errors import ArtifactError
from dropfit.registry import Registry

PARSERS: tuple[tuple[Any, str], ...] = (
    (documents, "decode"),
    (runtime.onnxruntime, "InferenceSession"),
    (skops_model, "load"),
    (snapshot, "Snapshot"),
)
"""Whatever turns a version's bytes into something else."""


class Figure(NamedTuple):
    """What became of the flips.

    Attributes:
        seed: of the choice of bytes and bits.
        manifest: flips in manifests: two for every byte, a random bit and all eight.
        seals: flips in the seals beside them.
        artifacts: flips in the files that the manifests name.
        refused: how many of all were refused.
        parsed: how many damaged files were given to a parser.
    """

    seed: int
    manifest: int
    seals: int
    artifacts: int
    refused: int
    parsed: int

    @property
    def ok(self) -> bool:
        """Whether all were refused and none was parsed."""
        return self.refused == self.manifest + self.seals + self.artifacts and self.parsed == 0

    def __str__(self) -> str:
        return (
            f"{self.manifest:,} flips over every manifest byte, {self.seals} of seals, {self.artifacts:,} of artifact"
            f" bytes: {self.refused:,} refused, {self.parsed} parsed (seed {self.seed})"
        )


class Watch:
    """Parsers that remember what they were given."""

    def __init__(self) -> None:
        self.given: list[bytes] = []

    @contextmanager
    def over(self, parsers: Sequence[tuple[Any, str]]) -> Iterator[Watch]:
        real = [getattr(module, name) for module, name in parsers]
        for (module, name), parse in zip(parsers, real, strict=True):
            setattr(module, name, self._watched(parse))
        try:
            yield self
        finally:
            for (module, name), parse in zip(parsers, real, strict=True):
                setattr(module, name, parse)

    def _watched(self, parse: Callable[..., Any]) -> Callable[..., Any]:
        def watched(payload: bytes | Path, *rest: Any, **more: Any) -> Any:
            self.given.append(payload.read_bytes() if isinstance(payload, Path) else bytes(payload))
            return parse(payload, *rest, **more)

        return watched


def neighbours(inputs: Any) -> Any:
    """An estimator without faithful ONNX: its version is served through skops."""
    from sklearn.impute import SimpleImputer
    from sklearn.neighbors import KNeighborsClassifier
    from sklearn.pipeline import make_pipeline

    return make_pipeline(SimpleImputer(), KNeighborsClassifier(5))


def shelves() -> tuple[Shelf, Shelf]:
    """A version of each runtime."""
    target = Probability(name="drunk")
    return shelve(target), shelve(target, estimator=neighbours)


def run(seed: int, artifact_bytes: int = 1000, versions: Sequence[Shelf] = ()) -> Figure:
    """Flip, load, and count.

    Args:
        seed: of the choice of bytes and bits.
        artifact_bytes: how many bytes of artifacts, spread over all of them.
        versions: real versions; a small one of each runtime when there are none.
    """
    chance = random.Random(seed)  # noqa: S311 (a seed is what replays it)
    counts = dict.fromkeys(Figure._fields, 0) | {"seed": seed}
    versions = versions or shelves()
    with Watch().over(PARSERS) as watch:
        for shelf in versions:
            _whole(shelf, watch)
            for payload, name, seal in _manifest(shelf, chance):
                counts["manifest"] += 1
                _count(counts, _damaged(shelf, name, payload, watch, seal))
            for seal in _seals(shelf, chance):
                counts["seals"] += 1
                _count(counts, _refused(shelf, seal, watch))
            for payload, name in _artifacts(shelf, chance, artifact_bytes // len(versions)):
                counts["artifacts"] += 1
                _count(counts, _damaged(shelf, name, payload, watch))
    return Figure(**counts)


def _count(counts: dict[str, int], outcome: tuple[bool, bool]) -> None:
    counts["refused"] += outcome[0]
    counts["parsed"] += outcome[1]


def _whole(shelf: Shelf, watch: Watch) -> None:
    """The version as it was published is loaded, and every one of its files is seen by a parser: the watch works."""
    watch.given.clear()
    load(shelf.registry(), shelf)
    files = {shelf.bucket.read(s.name) for s in shelf.bucket.list("versions/v1/") if "table.json" not in s.name}
    if files - set(watch.given):
        raise AssertionError("a file of the version came past the parsers that are watched")


def load(registry: Registry, shelf: Shelf, seal: str = "") -> None:
    """Everything that is ever read of a version."""
    loaded = version.load(registry, shelf.problem, "v1", seal=seal)
    version.load_judged(registry, shelf.problem, loaded.manifest)
    with tempfile.TemporaryDirectory() as folder:
        snapshot.Snapshot(registry.fetch_artifact(shelf.head, Path(folder)), unlink=True).close()


def _refused(shelf: Shelf, seal: str, watch: Watch, damaged: bytes = b"") -> tuple[bool, bool]:
    """Whether it was refused, and whether a parser saw the damage (or anything, when the seal is what is damaged)."""
    watch.given.clear()
    try:
        load(shelf.registry(), shelf, seal)
    except ArtifactError:
        return True, damaged in watch.given if damaged else bool(watch.given)
    return False, True


def _damaged(shelf: Shelf, name: str, payload: bytes, watch: Watch, seal: str = "") -> tuple[bool, bool]:
    """Whether a version with one damaged file was refused, and whether a parser saw the damage."""
    bucket = shelf.bucket.copy()
    bucket.rot(name, payload)
    return _refused(shelf._replace(bucket=bucket), seal, watch, payload)


def _flipped(payload: bytes, place: int, mask: int) -> bytes:
    return payload[:place] + bytes([payload[place] ^ mask]) + payload[place + 1 :]


def _manifest(shelf: Shelf, chance: random.Random) -> Iterator[tuple[bytes, str, str]]:
    """Every byte twice; by turns the pointer knows what the manifest must hash to, or only its own seal does."""
    name = "versions/v1/manifest.json"
    payload, seal = shelf.bucket.read(name), shelf.registry().seal("v1")
    for place in range(len(payload)):
        yield _flipped(payload, place, 1 << chance.randrange(8)), name, seal if place % 2 else ""
        yield _flipped(payload, place, 0xFF), name, "" if place % 2 else seal


def _seals(shelf: Shelf, chance: random.Random) -> Iterator[str]:
    """The hash that a pointer or the metadata holds, every one of its bytes damaged."""
    seal = shelf.registry().seal("v1").encode()
    for place in range(len(seal)):
        yield _flipped(seal, place, 1 << chance.randrange(7)).decode("ascii", "replace")


def _artifacts(shelf: Shelf, chance: random.Random, count: int) -> Iterator[tuple[bytes, str]]:
    """Random bytes of every file by turns, so that the small ones are not spared."""
    names = sorted({artifact.name for artifact in (*shelf.manifest.artifacts, shelf.head)})
    for number in range(count):
        name = names[number % len(names)]
        payload = shelf.bucket.read(name)
        mask = 1 << chance.randrange(8) if number // len(names) % 2 else chance.randrange(1, 256)
        yield _flipped(payload, chance.randrange(len(payload)), mask), name


if __name__ == "__main__":
    figure = run(*(int(argument) for argument in sys.argv[1:3] or ["1"]))
    print(figure)
    sys.exit(not figure.ok)
