# SPDX-License-Identifier: Apache-2.0
"""Dropfit: the batch graph on Beam's own runner, two workers, the version's scorer on whole Arrow tables."""

from __future__ import annotations

import datetime as dt
from pathlib import Path

from benchmarks.batch import child

WORKERS = 2


def load(folder: Path) -> child.Work:
    """Import everything the work needs."""
    import apache_beam as beam
    import apache_beam.runners.portability.fn_api_runner.fn_runner
    import pyarrow as pa
    import pyarrow.parquet as pq
    from apache_beam.options.pipeline_options import PipelineOptions

    from dropfit import tables
    from dropfit.columnar import Columnar
    from dropfit.contract import Category
    from dropfit.encoding import Encoder, loads
    from dropfit.problem import problem
    from dropfit.runtime import OnnxModel, Scorer

    pa.set_cpu_count(1)
    texts = [feature.name for feature in problem.features if isinstance(feature, Category)]
    at = dt.datetime.now(dt.UTC)

    class Predict(beam.DoFn):
        """A row group -> a Parquet file."""

        def __init__(self, source: str, sink: str) -> None:
            self._source, self._sink = source, sink

        def setup(self) -> None:
            encoder = Encoder(problem, loads((folder / "encoding.json").read_bytes()), problem.derive)
            model = OnnxModel((folder / "model.onnx").read_bytes())
            self._columnar = Columnar(Scorer(problem, encoder, model, ()))

        def process(self, group):  # type: ignore[no-untyped-def]
            table = pq.ParquetFile(self._source, read_dictionary=texts).read_row_group(group, use_threads=False)
            rows = tables.rows_table(problem, table, self._columnar.score(table), (), "bench", at)
            pq.write_table(rows, f"{self._sink}/{group:05d}.parquet", compression="zstd", store_schema=False)
            yield rows.num_rows

    def work(source: Path, sink: Path) -> None:
        count = pq.ParquetFile(source).num_row_groups
        mode = ["--direct_running_mode=multi_threading", f"--direct_num_workers={WORKERS}"]
        with beam.Pipeline(options=PipelineOptions(["--runner=FnApiRunner", *mode])) as pipeline:
            (
                pipeline
                | "Split" >> beam.Create(range(count))
                | "Spread" >> beam.Reshuffle()
                | "Predict" >> beam.ParDo(Predict(str(source), str(sink)))
                | "List" >> beam.combiners.ToList()
                | "Commit" >> beam.Map(len)
            )

    return work


if __name__ == "__main__":
    child.serve(load)
