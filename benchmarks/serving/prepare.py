# SPDX-License-Identifier: Apache-2.0
"""The model that all serve: January and February through a real local cloud, and January's rows fitted once more.

Runs in a process of its own, so that the one which measures holds none of these libraries in its memory.
"""

from __future__ import annotations

import io
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from . import bodies

if TYPE_CHECKING:
    from dropfit.pointer import Served
    from dropfit.registry import Registry
    from dropfit.settings import Settings

Matrices = list[list[list[float]]]
MLSERVER = {"debug": False, "parallel_workers": 0, "host": "127.0.0.1", "metrics_endpoint": None}
MLMODEL = {
    "name": "flights",
    "implementation": "mlserver_sklearn.SKLearnModel",
    "parameters": {"uri": "./estimator.joblib"},
}


@dataclass(frozen=True)
class Prepared:
    """What the measuring needs to know.

    Attributes:
        versions: January's and February's, as the pointer keeps them, in JSON.
        model: the version that is measured.
        rows: January's accepted rows.
        table_rows: rows of its table.
        requests: bodies.kind(mix, size) -> requests of instances.
        matrices: the same as the model's inputs.
        expected: the same -> what scikit-learn answers.
    """

    versions: tuple[bytes, bytes]
    model: str
    rows: int
    table_rows: int
    requests: dict[str, list[list[bodies.Instance]]]
    matrices: dict[str, Matrices]
    expected: dict[str, list[list[float]]]


def prepare(environ: Mapping[str, str], folder: Path) -> Prepared:
    """Upload January, fit the rivals' estimator, upload February, and leave January served.

    Args:
        environ: of a running local cloud.
        folder: gets the rivals' files too, for those without a storage client.
    """
    os.environ.update(environ)
    os.environ["OMP_NUM_THREADS"] = "1"
    from benchmarks.year import accepted
    from dropfit import settings, storage
    from dropfit.contract import load_problem
    from dropfit.registry import Registry
    from localcloud import flights

    config = settings.load()
    problem, buckets = load_problem(config.problem), storage.connect(config)
    january, february = flights.months(folder / "files", (1, 2))
    registry = Registry(buckets.models)
    first, second = (_promoted(config, registry, month) for month in (january, february))
    registry.move(first, registry.current(), "bench")
    keys, rows = _table_keys(config, first.table), accepted(problem, january)
    fitted = Rivals(problem, rows)
    for name, payload in fitted.files(registry, first.version).items():
        (folder / name).write_bytes(payload)
        buckets.models.put(f"bench/{name}", payload)
    drawn = {bodies.kind("hits", size): bodies.draw(keys, size, 0) for size in bodies.SIZES}
    drawn |= {bodies.kind("mix", size): bodies.draw(keys, size, bodies.MISSES) for size in bodies.SIZES}
    matrices = {kind: [fitted.matrix(request) for request in requests] for kind, requests in drawn.items()}
    return Prepared(
        versions=(msgspec.json.encode(first), msgspec.json.encode(second)),
        model=first.version,
        rows=len(next(iter(rows.values()))),
        table_rows=len(keys),
        requests=drawn,
        matrices={kind: [matrix.tolist() for matrix in made] for kind, made in matrices.items()},
        expected={kind: [fitted.late(matrix) for matrix in made] for kind, made in matrices.items()},
    )


def _promoted(config: Settings, registry: Registry, month: Path) -> Served:
    """Upload a file, and see what it made served."""
    from benchmarks.year import upload

    receipt = upload(config, month)
    pointer = registry.current().pointer
    assert receipt.state == "promoted", receipt.reason
    assert pointer is not None
    return pointer.as_served()


def _table_keys(config: Settings, table: str) -> list[tuple[Any, ...]]:
    """The keys of a version's table, in order."""
    from dropfit.warehouse import Warehouse

    warehouse = Warehouse(config)
    rows = warehouse.query(f"SELECT {', '.join(bodies.KEY)} FROM `{warehouse.name(table)}`", {})  # noqa: S608
    return sorted((*row.values()[:3], *(int(value) for value in row.values()[3:])) for row in rows)


class Rivals:
    """The same estimator fitted on the same rows, for the servers that run scikit-learn.

    Args:
        problem: the flights.
        rows: January's accepted rows.
    """

    def __init__(self, problem: Any, rows: Any) -> None:
        from dropfit.encoding import Encoder, learn
        from dropfit.training import classes_of, truth

        self.encoding = learn(problem, rows)
        self._encoder = Encoder(problem, self.encoding, problem.derive)
        self._inputs = [feature.name for feature in problem.inputs]
        self._matrix = self._encoder.matrix(rows)
        self._late = truth(problem, rows, classes_of(problem, rows))
        self.estimator = problem.estimator(problem.inputs).fit(self._matrix, self._late)

    def matrix(self, instances: list[bodies.Instance]) -> Any:
        """Instances -> the model's inputs, float32, shape (rows, 7)."""
        import numpy as np

        columns = {name: np.array([i[name] for i in instances]) for name in bodies.KEY}
        return self._encoder.matrix(columns | {"distance": np.full(len(instances), np.nan)})

    def late(self, matrix: Any) -> list[float]:
        """The probability of each row."""
        answers: list[float] = self.estimator.predict_proba(matrix)[:, 1].tolist()
        return answers

    def files(self, registry: Any, version: str) -> dict[str, bytes]:
        """What the rivals load; the ONNX bytes are Dropfit's own."""
        import joblib

        model = registry.read_artifact(registry.manifest(version).served.model)
        lookup = {"vocabularies": self.encoding.vocabularies, "distances": self.encoding.pinned["distance"].values}
        estimator, pipeline = io.BytesIO(), io.BytesIO()
        joblib.dump(self.estimator, estimator)
        joblib.dump(self._pipeline(), pipeline)
        return {
            "model.onnx": model,
            "lookup.json": json.dumps(lookup).encode(),
            "estimator.joblib": estimator.getvalue(),
            "pipeline.joblib": pipeline.getvalue(),
            "settings.json": json.dumps(MLSERVER).encode(),
            "model-settings.json": json.dumps(MLMODEL).encode(),
        }

    def _pipeline(self) -> Any:
        """The usual form: a DataFrame's categories encoded, then the estimator."""
        import numpy as np
        import pandas as pd
        from sklearn.base import clone
        from sklearn.compose import ColumnTransformer
        from sklearn.pipeline import make_pipeline
        from sklearn.preprocessing import OrdinalEncoder

        words = list(self.encoding.vocabularies)
        frame = pd.DataFrame(self._matrix.astype(np.float64), columns=self._inputs)
        for name, known in self.encoding.vocabularies.items():
            frame[name] = np.array(known, dtype=object)[frame[name].astype(int)]
        codes = OrdinalEncoder(handle_unknown="use_encoded_value", unknown_value=np.nan)
        encode = ColumnTransformer([("codes", codes, words)], remainder="passthrough")
        return make_pipeline(encode, clone(self.estimator)).fit(frame, self._late)
