# SPDX-License-Identifier: Apache-2.0
"""Spark's mapInPandas, local[2], with the scikit-learn pipeline. JVM and Python workers are warm when it is ready."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from benchmarks.batch import child
from benchmarks.batch.contenders import forms

SCHEMA = "carrier string, origin string, dest string, weekday long, hour long, prediction double"


def load(folder: Path) -> child.Work:
    """Start the JVM, and both Python workers on a few rows."""
    from pyspark.sql import SparkSession

    session = (
        SparkSession.builder.master("local[2]")
        .appName("bench-batch")
        .config("spark.ui.enabled", "false")
        .config("spark.driver.bindAddress", "127.0.0.1")
        .config("spark.driver.host", "127.0.0.1")
        .config("spark.local.dir", str(folder))
        .config("spark.sql.warehouse.dir", str(folder / "warehouse"))
        .getOrCreate()
    )
    model = str(folder / "pipeline.joblib")

    def predict(frames: Iterator[Any]) -> Iterator[Any]:
        import joblib

        pipeline = joblib.load(model)
        for frame in frames:
            frame["prediction"] = pipeline.predict_proba(frame)[:, 1]
            yield frame[[*forms.KEY, "prediction"]]

    def work(source: Path, sink: Path) -> None:
        rows = session.read.parquet(str(source))
        rows.mapInPandas(predict, SCHEMA).write.mode("overwrite").parquet(str(sink))

    few = session.read.parquet(str(folder / "few.parquet")).repartition(2)
    few.mapInPandas(predict, SCHEMA).count()
    return work


if __name__ == "__main__":
    child.serve(load)
