# SPDX-License-Identifier: Apache-2.0
"""Beam's documented idiom: RunInference with a keyed SklearnModelHandlerPandas, an element one row."""

from __future__ import annotations

from pathlib import Path

from benchmarks.batch import child
from benchmarks.batch.contenders import forms


def load(folder: Path) -> child.Work:
    """Import; the handler loads the pipeline itself, inside."""
    import apache_beam as beam
    import pandas as pd
    import pyarrow as pa
    from apache_beam.ml.inference.base import KeyedModelHandler, RunInference
    from apache_beam.ml.inference.sklearn_inference import ModelFileType, SklearnModelHandlerPandas
    from apache_beam.options.pipeline_options import PipelineOptions

    def late(model, frames, inference_args=None):  # type: ignore[no-untyped-def]
        # Beam's own function for DataFrames, with predict_proba for predict.
        together = pd.concat(frames, axis=0)
        return model.predict_proba(together)[:, 1], [together.iloc[[row]] for row in range(len(together))]

    def row(answer):  # type: ignore[no-untyped-def]
        key, result = answer
        return dict(zip(forms.KEY, key, strict=True), prediction=float(result.inference))

    kinds = {name: pa.string() if name in forms.TEXTS else pa.int64() for name in forms.KEY}
    schema = pa.schema([*kinds.items(), ("prediction", pa.float64())])

    def work(source: Path, sink: Path) -> None:
        handler = SklearnModelHandlerPandas(
            str(folder / "pipeline.joblib"), model_file_type=ModelFileType.JOBLIB, inference_fn=late
        )
        with beam.Pipeline(options=PipelineOptions(["--runner=FnApiRunner"])) as pipeline:
            (
                pipeline
                | "Read" >> beam.io.ReadFromParquet(str(source))
                | "Key" >> beam.Map(lambda row: (tuple(row[n] for n in forms.KEY), pd.DataFrame([row])))
                | "Predict" >> RunInference(KeyedModelHandler(handler))
                | "Row" >> beam.Map(row)
                | "Write" >> beam.io.WriteToParquet(str(sink / "part"), schema, file_name_suffix=".parquet")
            )

    return work


if __name__ == "__main__":
    child.serve(load)
