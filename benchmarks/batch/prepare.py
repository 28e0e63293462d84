# SPDX-License-Identifier: Apache-2.0
"""The model that all predict with, and the files: twelve months of flights through the repository's own code.

Runs in a process of its own, so that the one which measures stays small.
"""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

SEED = 20130101
GROUP = 131_072
"""Rows of a row group."""
FEW = 2_000
"""Rows of a warm-up."""


@dataclass(frozen=True)
class Prepared:
    """What was made.

    Attributes:
        trained: accepted rows of twelve months.
        keys: distinct keys among them, from which the files' rows are drawn.
        model_bytes: of the ONNX model.
    """

    trained: int
    keys: int
    model_bytes: int


def file_of(folder: Path, rows: int) -> Path:
    """Where the file of so many rows lies."""
    return folder / f"flights-{rows}.parquet"


def prepare(folder: Path, sizes: list[int]) -> Prepared:
    """Train, export, and draw the files.

    Args:
        folder: gets model.onnx, encoding.json, codes.json, pipeline.joblib, expected.parquet and the files of rows.
        sizes: rows of each file.
    """
    os.environ["OMP_NUM_THREADS"] = "2"
    import msgspec
    import pyarrow as pa
    import pyarrow.parquet as pq

    from dropfit import counting, export
    from dropfit.encoding import Encoder, length
    from dropfit.ingest import from_table
    from dropfit.problem import problem
    from dropfit.training import train

    rows = _year(problem, folder)
    trained = train(problem, rows)
    model = export.export(trained.estimator, trained.sample, trained.width, problem.may_be_missing)
    encoder = Encoder(problem, trained.encoding, problem.derive)
    keys = counting.of_rows(problem, rows)
    table = pa.concat_tables(keys.features(problem, trained.encoding)).combine_chunks()
    late = trained.estimator.predict_proba(encoder.matrix(from_table(table)))[:, 1]
    pq.write_table(table.append_column("prediction", pa.array(late)), folder / "expected.parquet")
    (folder / "model.onnx").write_bytes(model.payload)
    (folder / "encoding.json").write_bytes(msgspec.json.encode(trained.encoding))
    (folder / "codes.json").write_text(json.dumps(encoder.codes))
    _pipeline(folder, rows, trained.estimator)
    pq.write_table(_drawn(table, FEW, 0), folder / "few.parquet")
    for size in sorted(set(sizes)):
        _write(table, file_of(folder, size), size)
    return Prepared(length(rows), table.num_rows, len(model.payload))


def _year(problem: Any, folder: Path) -> dict[str, Any]:
    """The accepted rows of all months."""
    import numpy as np

    from benchmarks.year import accepted
    from localcloud import flights

    months = [accepted(problem, month) for month in flights.months(folder / "months")]
    return {name: np.concatenate([month[name] for month in months]) for name in months[0]}


def _pipeline(folder: Path, rows: dict[str, Any], fitted: Any) -> None:
    import joblib
    import pandas as pd

    from benchmarks.batch.contenders import forms

    frame = pd.DataFrame({name: rows[name] for name in forms.TEXTS + forms.NUMBERS})
    joblib.dump(forms.pipeline(frame, fitted), folder / "pipeline.joblib")


def _drawn(table: Any, rows: int, seed: int) -> Any:
    """Rows drawn with replacement."""
    import numpy as np

    return table.take(np.random.default_rng(seed).integers(0, table.num_rows, rows))


def _write(table: Any, file: Path, rows: int) -> None:
    """A file of rows drawn with replacement, each row group with a seed of its own."""
    import pyarrow.parquet as pq

    fresh = file.with_suffix(".part")
    with pq.ParquetWriter(fresh, table.schema) as sink:
        for start in range(0, rows, GROUP):
            sink.write_table(_drawn(table, min(GROUP, rows - start), SEED + start), row_group_size=GROUP)
    fresh.replace(file)
