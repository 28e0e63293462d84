# SPDX-License-Identifier: Apache-2.0
"""Dropfit: what `dropfit batch predict SOURCE --output SINK/` runs, checks and ledger included, on two workers.

The version comes out of a folder instead of a bucket; all else is the real thing.
"""

from __future__ import annotations

import datetime as dt
from pathlib import Path

from benchmarks.batch import child

WORKERS = 2
VERSION = "20130101T000000-benchmark"


def load(folder: Path) -> child.Work:
    """Import everything the work needs."""
    import pyarrow as pa

    from beam_pipelines import batch_predict, sources, transforms
    from beam_pipelines.ledger import Batch
    from dropfit.encoding import Encoder, loads
    from dropfit.manifest import Artifact, Manifest, Parity
    from dropfit.problem import problem
    from dropfit.runtime import OnnxModel, Scorer
    from dropfit.settings import Settings
    from dropfit.version import Version

    pa.set_cpu_count(1)
    settings = Settings(project="p", landing_bucket="l", data_bucket="d", models_bucket="m", batch_workers=WORKERS)
    encoder = Encoder(problem, loads((folder / "encoding.json").read_bytes()), problem.derive)
    scorer = Scorer(problem, encoder, OnnxModel((folder / "model.onnx").read_bytes()), ())
    manifest = Manifest(
        version=VERSION,
        created=dt.datetime.now(dt.UTC),
        contract=problem.contract,
        problem=settings.problem,
        derive_sha256=problem.derive_sha256,
        classes=(),
        model=Artifact("model.onnx", 0, ""),
        encoding=Artifact("encoding.json", 0, ""),
        inputs=(),
        rows=0,
        duplicates=0,
        holdout={},
        metrics={},
        constant={},
        parity=Parity(0, 0.0, 0.0),
        seed=0,
        libraries={},
    )
    transforms.loaded = lambda settings, version: Version(manifest, scorer)

    def work(source: Path, sink: Path) -> None:
        found = tuple(sources.expand(settings, [str(source)]))
        batch_predict.run(settings, Batch(VERSION, found, str(sink), VERSION))

    return work


if __name__ == "__main__":
    child.serve(load)
