# SPDX-License-Identifier: Apache-2.0
"""What is known of a version, as it lies in storage: plain data, without the bucket it lies in."""

from __future__ import annotations

import datetime as dt
from typing import Literal

import msgspec

from .contract import Contract

Runtime = Literal["onnxruntime", "skops"]
"""What executes a model: ONNX, or scikit-learn itself over a file that runs no code when it is opened."""
VIEW = "predictions"
"""The view that shows the served version's table."""
FOLDER = "tables"
"""Where tables are prepared, in the data bucket, a folder a version."""


def table_name(version: str, filling: str = "") -> str:
    """The table of a version: ids hold a hyphen, table names do not.

    Args:
        version: its id.
        filling: which filling of it, as a refresh names them; empty for the one that its training made.
    """
    return f"{VIEW}__{version.replace('-', '_')}" + (f"__{filling}" if filling else "")


class Artifact(msgspec.Struct, frozen=True):
    """A file of a version: where, how large, and what it must hash to."""

    name: str
    size: int
    sha256: str


class Shard(Artifact, frozen=True):
    """A shard of a batch prediction, and how many rows it holds."""

    rows: int = 0


class Shards(msgspec.Struct, frozen=True, kw_only=True):
    """The list of a batch prediction's shards: those that count."""

    version: str
    rows: int
    shards: tuple[Shard, ...]


class Input(msgspec.Struct, frozen=True):
    """One upload a version was trained on.

    Attributes:
        object: its name in the landing bucket.
        generation: which write of that name.
        receipt: its receipt, and the folder of its accepted rows.
        rows: accepted rows.
        sha256: of the accepted rows' Parquet file.
        crc32c: of the uploaded object, base64, as storage reports it.
    """

    object: str
    generation: int
    receipt: str
    rows: int
    sha256: str
    crc32c: str = ""


class Window(msgspec.Struct, frozen=True):
    """How the uploads of a version were chosen; which ones they are stands in its inputs.

    Attributes:
        setting: problem.py's window: the newest so many uploads; 0 means all.
        chosen: uploads that were used.
        left_out: uploads that were in the window and could not be used -> why.
    """

    setting: int
    chosen: int
    left_out: dict[str, str] = {}


class Model(msgspec.Struct, frozen=True):
    """A fitted estimator in storage, with what turns rows into its matrix.

    Attributes:
        model: its file.
        encoding: the encoding it was fitted with.
        runtime: what executes it.
        classes: labels in the order of its probabilities; empty unless the target is a label.
    """

    model: Artifact
    encoding: Artifact
    runtime: Runtime
    classes: tuple[str, ...]


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
        model: the served model's file.
        encoding: the encoding's JSON.
        runtime: what executes the model.
        runtime_reason: why it is not ONNX, when it is not.
        probe: some rows of the model's input and what it answered when it was made.
        trial: the model fitted on all but the holdout, by which versions are compared.
        trial_encoding: what it was fitted with.
        trial_runtime: what executes it.
        trial_classes: labels in the order of its probabilities: it may have seen fewer.
        inputs: the uploads it was trained on.
        window: how they were chosen.
        rows: training rows after duplicates were dropped.
        duplicates: rows that an upload repeated, by identity.
        holdout: the blocks it was judged on, first and last, and their number of rows.
        metrics: metric -> value of the challenger on the holdout.
        constant: the same metrics of the constant prediction.
        held: which of the rows judged, one bit a row.
        parity: of the export.
        seed: of everything random.
        libraries: package -> version.
        code: estimator, derive, ingest, contract, problem -> SHA-256 of what it was then.
        revision: git revision, or the tag of the image, when known.
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
    code: dict[str, str] = {}
    revision: str = ""
    runtime: Runtime = "onnxruntime"
    runtime_reason: str = ""
    probe: Artifact | None = None
    trial: Artifact | None = None
    trial_encoding: Artifact | None = None
    trial_runtime: Runtime = "onnxruntime"
    trial_classes: tuple[str, ...] = ()
    held: Artifact | None = None
    window: Window | None = None

    @property
    def artifacts(self) -> tuple[Artifact, ...]:
        """Every file of the version."""
        named = (self.model, self.encoding, self.probe, self.trial, self.trial_encoding, self.held)
        return tuple(artifact for artifact in named if artifact is not None)

    @property
    def served(self) -> Model:
        """The model that serves."""
        return Model(self.model, self.encoding, self.runtime, self.classes)

    @property
    def judged(self) -> Model | None:
        """The model that was judged, None in a version that keeps none."""
        if self.trial is None or self.trial_encoding is None:
            return None
        return Model(self.trial, self.trial_encoding, self.trial_runtime, self.trial_classes)
