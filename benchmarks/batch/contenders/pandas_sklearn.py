# SPDX-License-Identifier: Apache-2.0
"""pandas and scikit-learn in one process: a row group, a DataFrame, predict_proba, a Parquet file."""

from __future__ import annotations

from pathlib import Path

from benchmarks.batch import child
from benchmarks.batch.contenders import forms


def load(folder: Path) -> child.Work:
    """Import and read the pipeline."""
    import joblib
    import pandas  # noqa: F401
    import pyarrow.parquet as pq

    pipeline = joblib.load(folder / "pipeline.joblib")

    def work(source: Path, sink: Path) -> None:
        file = pq.ParquetFile(source)
        for group in range(file.num_row_groups):
            frame = file.read_row_group(group).to_pandas()
            frame["prediction"] = pipeline.predict_proba(frame)[:, 1]
            frame[[*forms.KEY, "prediction"]].to_parquet(sink / f"{group:05d}.parquet", index=False)

    return work


if __name__ == "__main__":
    child.serve(load)
