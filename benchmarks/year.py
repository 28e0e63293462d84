# SPDX-License-Identifier: Apache-2.0
"""A year of uploads: how good the served model is on the month that follows each upload.

    .venv/bin/python -m benchmarks.year            # about 3 minutes

Starts a local cloud of its own, uploads the twelve months one after another with Google's client, and asks the
predict function over HTTP for every flight of the following month. Beside it: the constant (the training window's
rate) and January's model, never trained again.
"""

from __future__ import annotations

import io
import os
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import httpx
import numpy as np
from google.cloud import storage as google_storage
from rich.console import Console
from sklearn.metrics import log_loss, roc_auc_score

from dropfit import display, ingest, settings, storage, version
from dropfit.contract import Problem, load_problem
from dropfit.encoding import length, take
from dropfit.follow import Follower
from dropfit.receipts import Receipt, Receipts, UploadedObject
from dropfit.registry import Registry
from dropfit.settings import Settings
from localcloud import flights
from localcloud.cloud import LocalCloud

PATIENCE = 500.0
LOT = 1000


class Month(NamedTuple):
    """One upload, and how good what was served then is on the file that follows.

    Attributes:
        uploaded: the file's name.
        state: the upload's outcome.
        version: what was served after it.
        rows: rows of the following file.
        served: log loss of the served model there, over HTTP.
        auc: its area under the ROC curve.
        constant: log loss of the training window's rate.
        frozen: log loss of the first version.
    """

    uploaded: str
    state: str
    version: str
    rows: int
    served: float
    auc: float
    constant: float
    frozen: float


def year(config: Settings, files: Sequence[Path]) -> Iterator[Month]:
    """Upload file after file; measure after each but the last."""
    buckets, problem = storage.connect(config), load_problem(config.problem)
    registry, seen, first = Registry(buckets.models), [], ""
    for position, file in enumerate(files):
        receipt = upload(config, file)
        seen.append(truth(problem, accepted(problem, file)))
        served = registry.current().pointer
        assert served is not None, receipt.reason
        first = first or served.version
        if position + 1 == len(files):
            yield Month(file.name, receipt.state, served.version, 0, *[float("nan")] * 4)
            return
        rows = accepted(problem, files[position + 1])
        known, late = np.concatenate(seen), truth(problem, rows)
        asked = over_http(config, problem, rows, served.version)
        frozen = version.load(registry, problem, first).scorer.score(rows).values
        rate = np.full(len(late), known.mean())
        losses = [log_loss(late, values) for values in (asked, rate, frozen)]
        auc = float(roc_auc_score(late, asked))
        yield Month(file.name, receipt.state, served.version, len(late), losses[0], auc, *losses[1:])


def upload(config: Settings, file: Path) -> Receipt:
    """Upload with Google's client, and wait for the outcome."""
    data = storage.connect(config).data
    follower = Follower(data, PATIENCE)
    blob = google_storage.Client(project=config.project).bucket(config.landing_bucket).blob(file.name)
    blob.upload_from_filename(file)
    uploaded = UploadedObject(config.landing_bucket, blob.name, int(blob.generation))
    list(follower.uploads([uploaded.id]))
    return Receipts(data).get(uploaded.id)


def accepted(problem: Problem, file: Path) -> dict[str, np.ndarray]:
    """The rows of a file that ingest accepts."""
    import pyarrow.parquet as pq

    good = io.BytesIO()
    with file.open("rb") as stream:
        ingest.ingest(problem, stream, good, io.StringIO(), ingest.Caps())
    good.seek(0)
    return ingest.from_table(pq.read_table(good))


def truth(problem: Problem, rows: dict[str, np.ndarray]) -> np.ndarray:
    """The target of the rows, as 0 and 1."""
    return rows[problem.target.name].astype(int)


def over_http(config: Settings, problem: Problem, rows: dict[str, np.ndarray], served: str) -> np.ndarray:
    """The predict function's answer for every row."""
    names = [feature.name for feature in problem.features]
    values: list[float] = []
    with httpx.Client(base_url=config.predict_url, timeout=60) as client:
        while client.get("/model").json()["version"] != served:
            pass
        for start in range(0, length(rows), LOT):
            lot = take(rows, np.arange(start, min(start + LOT, length(rows))))
            table = zip(*(lot[name].tolist() for name in names), strict=True)
            instances = [whole(dict(zip(names, row, strict=True))) for row in table]
            reply = client.post("/predict", json={"instances": instances}).json()
            assert reply["model_version"] == served, reply
            values += [prediction["value"] for prediction in reply["predictions"]]
    return np.array(values)


def whole(instance: dict[str, object]) -> dict[str, object]:
    """Whole numbers as JSON integers, as a client would send them."""
    return {n: int(v) if isinstance(v, float) and v.is_integer() else v for n, v in instance.items()}


def show(console: Console, months: Sequence[Month]) -> None:
    """Print the series."""
    right = ["rows of the next", "served", "constant", "January's", "AUC"]
    table = display.grid("Log loss on the month that follows", "uploaded", "outcome", "version", *right, right=right)
    for m in months:
        numbers = [f"{value:.4f}" for value in (m.served, m.constant, m.frozen, m.auc)] if m.rows else [""] * 4
        table.add_row(m.uploaded, m.state, m.version, f"{m.rows:,}" if m.rows else "", *numbers)
    scored = [m for m in months if m.rows]
    means = [f"{np.mean([getattr(m, n) for m in scored]):.4f}" for n in ("served", "constant", "frozen", "auc")]
    table.add_row("mean", "", "", "", *means)
    console.print(table)


def main() -> None:
    """Measure and print."""
    with tempfile.TemporaryDirectory() as folder, LocalCloud(Path(folder) / "home") as cloud:
        os.environ.update(cloud.env)
        console, months = Console(), []
        for month in year(settings.load(), flights.months(Path(folder))):
            console.print(
                f"{month.uploaded}: {month.state}, served {month.served:.4f}, constant {month.constant:.4f}"
            )
            months.append(month)
        show(console, months)


if __name__ == "__main__":
    main()
