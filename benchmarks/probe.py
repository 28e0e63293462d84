# SPDX-License-Identifier: Apache-2.0
"""What it costs a loading version to prove itself, and what a row costs by either runtime.

.venv/bin/python -m benchmarks.probe
"""

from __future__ import annotations

import io
import os
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
import pyarrow.parquet as pq

from dropfit import export, probe, version
from dropfit.encoding import Encoder, learn, take
from dropfit.ingest import Caps, from_table, ingest
from dropfit.problem import problem
from dropfit.training import train
from localcloud import flights


def rows() -> Any:
    """January, as ingest accepts it."""
    accepted = io.BytesIO()
    with tempfile.TemporaryDirectory() as folder:
        (month,) = flights.months(Path(folder), (1,))
        with month.open("rb") as stream:
            ingest(problem, stream, accepted, io.StringIO(), Caps())
    return from_table(pq.read_table(accepted))


def timed(work: Callable[[], Any], times: int) -> float:
    """Median milliseconds."""
    spent = []
    for _ in range(times):
        began = time.perf_counter()
        work()
        spent.append(1000 * (time.perf_counter() - began))
    return statistics.median(spent)


def main() -> None:
    """Print the figures."""
    data = rows()
    trained = train(problem, data)
    matrix = Encoder(problem, learn(problem, data), problem.derive).matrix(take(data, np.arange(1000)))
    from sklearn.ensemble import HistGradientBoostingClassifier

    categorical = HistGradientBoostingClassifier(
        max_iter=80, max_leaf_nodes=15, min_samples_leaf=200, early_stopping=False, categorical_features=[0, 1, 2]
    ).fit(np.nan_to_num(matrix), (np.arange(1000) % 3 == 0).astype(int))
    for name, estimator in (("plain codes", trained.estimator), ("categorical_features", categorical)):
        made = export.export(estimator, trained.sample, 2)
        model = version.open_model(made.payload, made.runtime)
        load = timed(lambda m=made: version.open_model(m.payload, m.runtime), 20)
        check = timed(lambda m=made, f=model: probe.check(m.probe, f), 50)
        one = timed(lambda f=model: f(matrix[:1]), 200)
        print(
            f"{name}: {made.runtime}, file {len(made.payload):,} bytes, probe {len(made.probe):,} bytes, "
            f"open {load:.2f} ms, prove {check:.3f} ms, one row {1000 * one:.0f} us"
        )


if __name__ == "__main__":
    main()
