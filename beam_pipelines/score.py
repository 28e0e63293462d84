# SPDX-License-Identifier: Apache-2.0
"""Score any file: inputs -> predictions in a file, a folder or a table, and a sheet of the rows set aside."""

from __future__ import annotations

import collections
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

import pyarrow.csv as pacsv

from beam_pipelines import batch_predict, outputs, shards, sources
from beam_pipelines.folders import GS, folder
from beam_pipelines.ledger import Batch, Ledger, Plan, broke_off
from beam_pipelines.outputs import TABLE, Output
from beam_pipelines.sources import Source
from beam_pipelines.table_output import full
from dropfit import storage
from dropfit.checks import REJECTED
from dropfit.encoding import sha256
from dropfit.errors import BadFile, BadRequest, NotFound
from dropfit.registry import Registry
from dropfit.settings import Settings

Watch = Callable[[Ledger, Plan], AbstractContextManager[Any]]


class Scored(NamedTuple):
    """What became of a batch.

    Attributes:
        version: the version that predicted.
        output: where the predictions are.
        rows: rows predicted.
        rejected: rows set aside.
        sheet: where these are, empty when there are none.
        reasons: `column: reason` -> rows, the most frequent first.
        policy: the policy's rule -> rows that it changed.
    """

    version: str
    output: str
    rows: int
    rejected: int
    sheet: str
    reasons: dict[str, int]
    policy: dict[str, int]


def score(
    settings: Settings,
    inputs: tuple[str, ...],
    output: str,
    version: str = "",
    sheet: str = "",
    replace: bool = False,
    watch: Watch | None = None,
) -> Scored:
    """Predict every row of the inputs.

    Args:
        settings: where everything is, and which runner works.
        inputs: as `sources.gathered` takes them.
        output: as `outputs.parse` takes it.
        version: which version predicts; empty: the one that is served.
        sheet: where the rows go that were set aside, a CSV file; empty: beside the output.
        replace: whether an output that is there already may be replaced.
        watch: gives a context manager that follows the work.

    Raises:
        BadRequest: when the output is there already, is none, or is an input.
        NotFound: when nothing is served, or an input is not there.
        BadFile: when an input cannot be read.
    """
    target = outputs.parse(settings, output)
    aside = sheet or target.sheet
    _check(settings, target, aside, replace)
    registry = Registry(storage.connect(settings).models)
    manifest = registry.manifest(version or _served(registry))
    stage = f"batch/{sha256(repr((target.name, inputs)).encode())[:16]}-input"
    files = tuple(sources.gathered(settings, [_whole_name(settings, text) for text in inputs], stage))
    _check_inputs(settings, files, target.name, aside)
    name = f"{manifest.version}-{sha256(target.name.encode())[:8]}"
    try:
        ledger, _ = batch_predict.run(settings, Batch(manifest.version, files, target.place, name), watch)
    except BadFile:  # which no second run mends
        target.abandon()
        raise
    if rejects := any(piece.rejected for piece in ledger.pieces()):
        outputs.put(settings, aside, lambda stream: _write_sheet(stream, ledger))
    told = _told(ledger, manifest.version, target.name, aside if rejects else "")
    target.finish(ledger, manifest)
    folder(settings, f"{GS}{settings.data_bucket}/{stage}").delete("/")
    return told


def _check(settings: Settings, target: Output, sheet: str, replace: bool) -> None:
    """Nothing of anybody's is overwritten unasked."""
    if target.name == sheet:
        raise BadRequest(f"--rejected {sheet} is the output: name another file")
    if target.taken() and not replace:
        raise BadRequest(f"{target.name} is there already: name another, or say --replace")
    began = broke_off(folder(settings, target.place))  # which may have written the sheet, and not yet the output
    if not (replace or began) and outputs.is_there(settings, sheet):
        raise BadRequest(
            f"{sheet}, where rows go that cannot be predicted, is there already: --rejected or --replace"
        )


def _check_inputs(settings: Settings, files: tuple[Source, ...], *written: str) -> None:
    here = [file.uri for file in files if not file.uri.startswith(GS)]
    if here and settings.runs_elsewhere:
        raise BadRequest(f"{settings.runner}'s workers cannot read {here[0]}: put it into a bucket first")
    for name in written:
        if _whole_path(name) in {file.uri for file in files}:
            raise BadRequest(f"{name} is one of the inputs: name another output")


def _whole_path(text: str) -> str:
    return text if text.startswith(GS) else str(Path(text).resolve())


def _told(ledger: Ledger, version: str, output: str, sheet: str) -> Scored:
    rows, reasons, policy = 0, collections.Counter[str](), collections.Counter[str]()
    for piece in ledger.pieces():
        rows += piece.rows
        reasons.update(piece.reasons)
        policy.update(piece.policy)
    counted = dict(reasons.most_common()), dict(policy.most_common())
    return Scored(version, output, rows, sum(reasons.values()), sheet, *counted)


def _whole_name(settings: Settings, text: str) -> str:
    """An input; a table that is named with less means the deployment's own."""
    return TABLE + full(settings, text.removeprefix(TABLE)) if text.startswith(TABLE) else text


def _served(registry: Registry) -> str:
    pointer = registry.current().pointer
    if pointer is None:
        raise NotFound("nothing is served yet: upload a file first, or name a version with --version")
    return pointer.version


def _write_sheet(stream: BinaryIO, ledger: Ledger) -> None:
    """The rows that were set aside as CSV: file, row (the first data row is 1), column, reason, the row as JSON."""
    with pacsv.CSVWriter(stream, REJECTED) as writer:
        for piece in ledger.pieces():
            if piece.rejected is not None:
                writer.write_table(shards.table(ledger, piece, piece.rejected).cast(REJECTED))
