# SPDX-License-Identifier: Apache-2.0
"""A version made once more, from the accepted rows that its manifest names, and compared with the one in storage."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec
import numpy as np

from . import libraries, version
from .contract import Columns, Problem
from .encoding import Encoder, length, sha256, take
from .errors import ArtifactError, NotFound
from .manifest import Manifest
from .receipts import accepted_name
from .registry import Registry
from .storage import Bucket

SHAPES = ("contract", "ingest", "derive")
"""Where these differ, rows or matrix are others: there is nothing to compare."""


class Difference(msgspec.Struct, frozen=True):
    """Something that is not as it was when the version was made."""

    what: str
    then: str
    now: str


class Reproduced(msgspec.Struct, frozen=True, kw_only=True):
    """How a version and its repetition compare.

    Attributes:
        version: its id.
        revision: the git revision, or the tag of the image, it was made at, when known.
        differences: in code, seed, libraries or rows; empty when all is as it was.
        rows: rows that both were fitted on.
        compared: of these, the rows they were compared on; 0 when they cannot be compared.
        differing: of these, the rows whose predictions are not equal to the last bit.
        largest: largest absolute difference of a prediction.
        same_file: whether the repetition's file is the stored one, byte by byte.
    """

    version: str
    revision: str
    differences: tuple[Difference, ...]
    rows: int
    compared: int = 0
    differing: int = 0
    largest: float = 0.0
    same_file: bool = False

    @property
    def same(self) -> bool:
        """Whether the same data and seed gave the same predictions."""
        return self.compared > 0 and self.differing == 0


def reproduce(
    registry: Registry,
    data: Bucket,
    problem: Problem,
    name: str,
    most: int = 100_000,
    tell: Callable[[str], None] = lambda _: None,
) -> Reproduced:
    """Fit a version again, under the present problem.py, and compare predictions on its training rows.

    Args:
        registry: where the version is.
        data: the data bucket, with the accepted rows.
        problem: the present problem.
        name: the version.
        most: rows to compare on, spread over all.
        tell: hears what is being done.

    Raises:
        NotFound: when there is no such version.
        ArtifactError: when it, or a file of accepted rows, is not what it was, or must not be opened here.
        TrainingError: when the present code cannot train on these rows.
    """
    from . import holdout

    manifest = registry.manifest(name)
    found = differences(manifest, problem)
    if any(difference.what in SHAPES for difference in found):
        return _result(manifest, found, manifest.rows)
    stored = version.load(registry, problem, name)
    rows = holdout.without_duplicates(problem, accepted(data, manifest, tell))
    if length(rows) != manifest.rows:
        found.append(Difference("rows", str(manifest.rows), str(length(rows))))
    return _result(manifest, found, length(rows), **_compared(problem, stored, rows, most, tell))


def _compared(
    problem: Problem, stored: version.Version, rows: Columns, most: int, tell: Callable[[str], None]
) -> dict[str, Any]:
    """Fit and export again, and ask both models about the same rows."""
    from . import export, training

    manifest = stored.manifest
    tell(f"fitting {length(rows):,} rows")
    trained = training.train(problem, rows)
    tell("exporting and comparing")
    made = export.export(trained.estimator, trained.sample, trained.width, problem.may_be_missing)
    chosen = take(rows, np.unique(np.linspace(0, length(rows) - 1, most).astype(np.int64)))
    encoder = Encoder(problem.contract, trained.encoding, problem.derive)
    ours = version.open_model(made.payload, made.runtime)(encoder.matrix(chosen))
    theirs = stored.scorer.model(stored.scorer.encoder.matrix(chosen))
    if ours.shape != theirs.shape or made.runtime != manifest.runtime:
        raise ArtifactError(
            f"{manifest.version} gives {theirs.shape[1]} numbers a row by {manifest.runtime}, its repetition "
            f"{ours.shape[1]} by {made.runtime}: they cannot be compared"
        )
    apart = np.abs(ours - theirs).max(axis=1)
    return {
        "compared": len(apart),
        "differing": int((apart > 0).sum()),
        "largest": float(apart.max()),
        "same_file": sha256(made.payload) == manifest.model.sha256,
    }


def differences(manifest: Manifest, problem: Problem) -> list[Difference]:
    """What is not as it was when the version was made: code, seed, libraries."""
    then = {**manifest.code, "seed": str(manifest.seed), **manifest.libraries}
    now = {**problem.code_sha256, "seed": str(problem.seed), **libraries.recorded()}
    return [
        Difference(what, then.get(what, "")[:12], now.get(what, "")[:12])
        for what in dict.fromkeys([*then, *now])
        if then.get(what, "") != now.get(what, "")
    ]


def accepted(data: Bucket, manifest: Manifest, tell: Callable[[str], None] = lambda _: None) -> Columns:
    """The rows that a version was trained on, duplicates included, in the order of upload.

    Raises:
        ArtifactError: when a file of them is gone, or does not hash to what the manifest says.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    from .ingest import from_table

    parts = []
    for number, used in enumerate(manifest.inputs, 1):
        tell(f"reading {used.object} ({number} of {len(manifest.inputs)})")
        name = accepted_name(used.receipt, used.sha256)
        try:
            payload = data.read(name)
        except NotFound as error:
            raise ArtifactError(f"the accepted rows of {used.object} are gone: {name}") from error
        if sha256(payload) != used.sha256:
            raise ArtifactError(f"{name} is not what was accepted of {used.object}")
        parts.append(pq.read_table(pa.BufferReader(payload)))
    if not parts:
        raise ArtifactError(f"the manifest of {manifest.version} names no upload")
    return from_table(pa.concat_tables(parts))


def _result(manifest: Manifest, found: list[Difference], rows: int, **compared: Any) -> Reproduced:
    return Reproduced(
        version=manifest.version, revision=manifest.revision, differences=tuple(found), rows=rows, **compared
    )
