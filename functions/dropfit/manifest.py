# SPDX-License-Identifier: Apache-2.0
"""What is known of a version, as it lies in storage: plain data, without the bucket it lies in."""

from __future__ import annotations

import datetime as dt

import msgspec

from .contract import Contract

VIEW = "predictions"
"""The view that shows the served version's table."""
FOLDER = "tables"
"""Where tables are prepared, in the data bucket, a folder a version."""


def table_name(version: str) -> str:
    """The table of a version: ids hold a hyphen, table names do not."""
    return f"{VIEW}__{version.replace('-', '_')}"


class Artifact(msgspec.Struct, frozen=True):
    """A file of a version: where, how large, and what it must hash to."""

    name: str
    size: int
    sha256: str


class Shards(msgspec.Struct, frozen=True, kw_only=True):
    """The list of a batch prediction's shards: those that count."""

    version: str
    rows: int
    shards: tuple[Artifact, ...]


class Input(msgspec.Struct, frozen=True):
    """One upload a version was trained on."""

    object: str
    generation: int
    receipt: str
    rows: int
    sha256: str


class Parity(msgspec.Struct, frozen=True):
    """How far the exported model is from the fitted estimator, on the holdout and on rows with gaps.

    Attributes:
        rows: rows compared.
        differing: share of rows (0 to 1) that differ by more than the tolerance.
        largest: largest absolute difference.
    """

    rows: int
    differing: float
    largest: float


class Manifest(msgspec.Struct, frozen=True, kw_only=True):
    """Everything about a version that was known when it was made.

    Attributes:
        version: its id.
        created: when.
        contract: the contract it was trained under; serving uses this one.
        problem: `module:attribute` it came from.
        derive_sha256: hash of the derive function's source, empty without one.
        classes: labels in the order of the model's probabilities; empty unless the target is a label.
        model: the ONNX file.
        encoding: the encoding's JSON.
        inputs: the uploads it was trained on.
        rows: training rows after duplicates were dropped.
        duplicates: rows that an upload repeated, by identity.
        holdout: the blocks it was judged on, first and last, and their number of rows.
        metrics: metric -> value of the challenger on the holdout.
        constant: the same metrics of the constant prediction.
        parity: of the export.
        seed: of everything random.
        libraries: package -> version.
        revision: git revision, when known.
    """

    version: str
    created: dt.datetime
    contract: Contract
    problem: str
    derive_sha256: str
    classes: tuple[str, ...]
    model: Artifact
    encoding: Artifact
    inputs: tuple[Input, ...]
    rows: int
    duplicates: int
    holdout: dict[str, str | int]
    metrics: dict[str, float]
    constant: dict[str, float]
    parity: Parity
    seed: int
    libraries: dict[str, str]
    revision: str = ""


class Report(msgspec.Struct, frozen=True, kw_only=True):
    """The gate's verdict on a version: whether it may be served, and the sentences why."""

    version: str
    passed: bool
    reasons: tuple[str, ...]
    judged_at: dt.datetime
    champion: str = ""


class Completed(msgspec.Struct, frozen=True, kw_only=True):
    """A version is complete: its table is loaded and verified, so it may be served.

    Attributes:
        version: its id.
        table: its static-serving table.
        rows: rows of the table, as verified.
        verified_at: when.
    """

    version: str
    table: str
    rows: int
    verified_at: dt.datetime


class Decision(msgspec.Struct, frozen=True, kw_only=True):
    """What a person said of a version that had passed the gate: the last word counts."""

    version: str
    approved: bool
    by: str
    at: dt.datetime
    reason: str = ""


class Served(msgspec.Struct, frozen=True):
    """A version that was served once, with all that serving it again takes.

    Attributes:
        version: its id.
        table: its static-serving table.
        previous: the version served before it, empty for the first.
        manifest_sha256: what its manifest hashes to.
        since: from when it was served last.
        by: the person or the job that made it so.
    """

    version: str
    table: str
    previous: str
    manifest_sha256: str = ""
    since: dt.datetime | None = None
    by: str = ""


class Pointer(msgspec.Struct, frozen=True, kw_only=True):
    """What is served.

    Attributes:
        version: the served version.
        table: its static-serving table.
        previous: where `dropfit rollback` leads: the version served before this one was first.
        epoch: grows with every decision of a person (rollback, approve, pin), so that a training that began before it
            cannot undo it.
        nonce: of the write, to recognise it after a retried request.
        promoted_at: when.
        manifest_sha256: what the version's manifest hashes to.
        pinned: whether trainings may not replace it.
        by: the person or the job that swapped the pointer.
        trail: what was served before, the newest last, each version once.
    """

    version: str
    table: str
    previous: str
    epoch: int
    nonce: str
    promoted_at: dt.datetime
    manifest_sha256: str = ""
    pinned: bool = False
    by: str = ""
    trail: tuple[Served, ...] = ()

    def as_served(self) -> Served:
        """What it points at, as the trail keeps it."""
        return Served(
            self.version, self.table, self.previous, self.manifest_sha256, since=self.promoted_at, by=self.by
        )
