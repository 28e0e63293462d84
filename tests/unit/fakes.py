# SPDX-License-Identifier: Apache-2.0
"""What the unit tests share: a small problem with rows, a version of a real model, waiting."""

from __future__ import annotations

import datetime as dt
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
import numpy as np
from fake_bucket import FakeBucket

from dropfit import backoff, records, snapshot
from dropfit.contract import (
    Category,
    Columns,
    Contract,
    Feature,
    Gate,
    Label,
    Number,
    Policy,
    Probability,
    Problem,
    Target,
    Timestamp,
)
from dropfit.manifest import Artifact, Manifest, Parity
from dropfit.pointer import Current
from dropfit.registry import Registry
from dropfit.settings import Settings
from dropfit.verdict import Completed


def eventually(condition: Callable[[], Any], seconds: float = 60.0) -> Any:
    """Wait for a condition and return what it gave."""
    deadline = time.monotonic() + seconds
    while not (found := condition()):
        assert time.monotonic() < deadline, "it did not come true in time"
        time.sleep(0.005)
    return found


def settings(**changes: Any) -> Settings:
    named = {"project": "p", "landing_bucket": "landing", "data_bucket": "data", "models_bucket": "models"}
    return Settings(**(named | changes))


LEAF = Category(name="leaf", max_length=12)
CUP = Category(name="cup", values=("small", "large"), missing=True)
MINUTES = Number(name="minutes", minimum=0, maximum=60, missing=True)
WARMTH = Number(name="warmth", minimum=0, maximum=100, given_by=("leaf",))
GROUPS = (("leaf", "cup"), ("leaf",), ())
"""Back-off groups of its key."""
LEAVES = ("assam", "earl grey", "sencha")


def derive(features: Columns) -> Columns:
    return {"strength": features["minutes"] * features["warmth"]}


def boosting(inputs: Sequence[Feature]) -> Any:
    from sklearn.ensemble import HistGradientBoostingClassifier

    return HistGradientBoostingClassifier(max_iter=5, min_samples_leaf=5, early_stopping=False, random_state=0)


def boosting_quantity(inputs: Sequence[Feature]) -> Any:
    from sklearn.ensemble import HistGradientBoostingRegressor

    return HistGradientBoostingRegressor(max_iter=5, min_samples_leaf=5, early_stopping=False, random_state=0)


def tea(**changes: Any) -> Problem:
    """Will this cup of tea be drunk? A problem with every kind of column, and no cloud in it."""
    target = changes.get("target", Probability(name="drunk"))
    made = Category(name=target.name) if isinstance(target, Label) else Number(name=target.name)
    usual = {
        "name": "tea",
        "title": "Will this cup of tea be drunk?",
        "columns": (LEAF, CUP, MINUTES, WARMTH, Timestamp(name="brewed"), Number(name="pot", integer=True), made),
        "features": (LEAF, CUP, MINUTES, WARMTH),
        "derived": (Number(name="strength"),),
        "derive": derive,
        "target": target,
        "key": ("leaf", "cup", "minutes"),
        "identity": ("pot",),
        "time": "brewed",
        "estimator": boosting,
        "gate": Gate(minimum_rows=10),
        "policy": Policy(minimum=0.0, maximum=1.0) if isinstance(target, Probability) else Policy(),
    }
    return Problem(**(usual | changes))


def batch_of(contract: Contract, instances: Sequence[Any]) -> dict[str, Any]:
    """Decoded instances as a row batch."""
    kinds = {f.name: object if isinstance(f, Category) else np.float64 for f in contract.features}
    return {name: np.array([getattr(i, name) for i in instances], dtype=kind) for name, kind in kinds.items()}


def pots(rows: int = 300, target: Target | None = None, seed: int = 0) -> dict[str, Any]:
    """Accepted rows of `tea`, ten days of them."""
    chance = np.random.default_rng(seed)
    leaf = chance.integers(0, len(LEAVES), rows)
    minutes = chance.integers(0, 10, rows).astype(np.float64)
    liking = minutes + 3 * leaf + chance.normal(0, 1, rows)
    columns = {
        "leaf": np.array(LEAVES, dtype=object)[leaf],
        "cup": np.array(["small", "large", None], dtype=object)[chance.integers(0, 3, rows)],
        "minutes": np.where(chance.random(rows) < 0.1, np.nan, minutes),
        "warmth": 60.0 + 10 * leaf,
        "brewed": np.datetime64("2013-01-01", "us") + (np.arange(rows) * 10 // rows).astype("timedelta64[D]"),
        "pot": np.arange(rows, dtype=np.float64),
    }
    if target is None or isinstance(target, Probability):
        return {**columns, target.name if target else "drunk": (liking > 7).astype(np.float64)}
    if isinstance(target, Label):
        names = np.array(target.values, dtype=object)
        # The last label is never given.
        return {**columns, target.name: names[np.clip(liking // 5, 0, len(names) - 2).astype(int)]}
    return {**columns, target.name: liking}


def csv_of(problem: Problem, columns: Columns) -> bytes:
    """Rows as a CSV file of that problem."""
    names = [c.name for c in problem.columns]
    lines = zip(*(columns[n].tolist() for n in names), strict=True)
    text = "".join(",".join("" if c is None or c != c else str(c) for c in line) + "\n" for line in lines)
    return (",".join(names) + "\n" + text).encode()


class Shelf(NamedTuple):
    """A problem, what training made of it, and a models bucket that holds the version with the head of its table."""

    problem: Problem
    rows: Columns
    trained: Any
    bucket: FakeBucket
    manifest: Manifest
    head: Artifact

    def registry(self) -> Registry:
        """A registry over a copy of the bucket."""
        return Registry(self.bucket.copy())  # type: ignore[arg-type]


def shelve(target: Target, **changes: Any) -> Shelf:
    """Train, export and publish a version, and point at it, as the job does."""
    from dropfit import export, libraries, training

    problem = tea(target=target, **changes)
    rows = pots(target=target)
    trained = training.train(problem, rows)
    exported = export.export(trained.estimator, trained.sample, trained.width, problem.may_be_missing)
    bucket = FakeBucket("models")
    registry = Registry(bucket)  # type: ignore[arg-type]
    learned = msgspec.json.encode(trained.encoding)
    made = manifest(
        "v1",
        problem,
        classes=trained.classes,
        model=registry.add_artifact("v1", "model", exported.suffix, exported.payload),
        encoding=registry.add_artifact("v1", "encoding", ".json", learned),
        trial=registry.add_artifact(
            "v1", "trial", exported.suffix, exported.payload
        ),  # good enough for what it is for
        trial_encoding=registry.add_artifact("v1", "trial-encoding", ".json", learned),
        trial_runtime=exported.runtime,
        trial_classes=trained.classes,
        rows=trained.rows,
        holdout=trained.holdout,
        metrics=trained.metrics,
        constant=trained.constant,
        parity=exported.parity,
        runtime=exported.runtime,
        runtime_reason=exported.reason,
        probe=registry.add_artifact("v1", "probe", ".json", exported.probe),
        libraries=libraries.recorded(),
        code=problem.code_sha256,
        seed=problem.seed,
    )
    registry.publish(made)
    head, held = headed(registry, problem, rows)
    registry.complete(completed("v1", "predictions__v1", held.rows, head, held.rows, held.groups))
    registry.promote("v1", "predictions__v1", Current(None, 0), snapshot=head)
    return Shelf(problem, rows, trained, bucket, made, head)


def headed(registry: Registry, problem: Problem, rows: Columns) -> tuple[Artifact, snapshot.Written]:
    """The snapshot of version v1: every key that the rows hold, the most frequent first, and the back-off groups."""
    from dropfit import version

    scorer = version.load(registry, problem, "v1").scorer
    keys, features = universe_of(problem.contract, rows, scorer.encoder)
    scored = scorer.score(features)
    shares = [()] * len(keys) if scored.probabilities is None else map(tuple, scored.probabilities.tolist())
    made = map(records.Row, scored.values.tolist(), scored.fired, shares)
    held = zip(keys.axes.texts(keys.numbers), made, strict=True)
    groups = backoff.Groups(problem.contract, keys.axes, keys.numbers, keys.counts, scorer.classes)
    # What the policy abstains from counts in no group.
    columns = [scored.values.astype(np.float64)] if scored.probabilities is None else scored.probabilities.T
    for place, column in enumerate(columns):
        groups.add(column, place)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / f"head{snapshot.SUFFIX}"
        written = snapshot.write(path, held, groups, 1024**2)
        return registry.add_file("v1", "snapshot", path), written


def completed(
    version: str, table: str, rows: int, head: Artifact | None = None, keys: int = 0, groups: int = 0, **more: Any
) -> Completed:
    """What is said of a version whose table is verified."""
    now = dt.datetime.now(dt.UTC)
    made = {"version": version, "table": table, "rows": rows, "snapshot": head, "keys": keys, "groups": groups}
    return Completed(**made, verified_at=now, **more)


def universe_of(contract: Contract, rows: Columns, encoder: Any) -> tuple[Any, dict[str, Any]]:
    """Every key that the rows hold, and the features that its prediction is made with, as a row batch."""
    import pyarrow as pa

    from dropfit import counting
    from dropfit.ingest import from_table

    keys = counting.of_rows(contract, rows)
    features = from_table(pa.concat_tables(keys.features(contract, encoder.encoding)))
    return keys, {n: v.astype(np.float64) if v.dtype.kind == "i" else v for n, v in features.items()}


def manifest(version: str, problem: Problem | None = None, **changes: Any) -> Manifest:
    """A manifest, whose artifacts need not exist."""
    problem = problem or tea()
    usual = {
        "version": version,
        "created": dt.datetime(2013, 2, 1, tzinfo=dt.UTC),
        "contract": problem.contract,
        "problem": "fakes:tea",
        "derive_sha256": problem.derive_sha256,
        "classes": (),
        "model": Artifact(f"versions/{version}/model.onnx", 1, "0" * 64),
        "encoding": Artifact(f"versions/{version}/encoding.json", 1, "0" * 64),
        "inputs": (),
        "rows": 300,
        "duplicates": 0,
        "holdout": {"first": "2013-01-09", "last": "2013-01-10", "method": "newest", "rows": 60},
        "metrics": {"log_loss": 0.2, "brier": 0.1},
        "constant": {"log_loss": 0.6, "brier": 0.2},
        "parity": Parity(60, 0.0, 0.0),
        "seed": 1,
        "libraries": {},
    }
    return Manifest(**(usual | changes))
