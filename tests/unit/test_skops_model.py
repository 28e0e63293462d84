# SPDX-License-Identifier: Apache-2.0
"""An estimator without faithful ONNX is stored and opened by a fixed list of types, and nothing else is opened."""

from __future__ import annotations

import io
import json
import os
import pickle
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
from fakes import Shelf, shelve

from dropfit import export, skops_model, version
from dropfit.contract import Label, Probability
from dropfit.errors import ArtifactError, ExportError
from dropfit.registry import Registry
from dropfit.runtime import OnnxModel

CHANCE = np.random.default_rng(0)
MATRIX = CHANCE.integers(0, 12, (300, 3)).astype(np.float32)
TRUTH = ((MATRIX[:, 0] * 7) % 5 > 2).astype(int)


def served_by_sklearn() -> dict[str, Any]:
    """What docs/adapt.md says has no faithful ONNX form and is served all the same."""
    from sklearn.compose import TransformedTargetRegressor, make_column_transformer
    from sklearn.ensemble import (
        HistGradientBoostingClassifier,
        HistGradientBoostingRegressor,
        RandomForestClassifier,
        VotingClassifier,
    )
    from sklearn.experimental import enable_iterative_imputer  # noqa: F401
    from sklearn.impute import IterativeImputer, SimpleImputer
    from sklearn.linear_model import LinearRegression, LogisticRegression
    from sklearn.naive_bayes import GaussianNB
    from sklearn.neighbors import KNeighborsClassifier, KNeighborsRegressor
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import OneHotEncoder

    few: dict[str, Any] = {"max_iter": 5, "min_samples_leaf": 5, "categorical_features": [0]}
    return {
        "boosting with categorical features": HistGradientBoostingClassifier(**few),
        "a forest where something can be missing": RandomForestClassifier(10, random_state=0),
        "an imputer before columns, where something can be missing": make_pipeline(
            SimpleImputer(),
            make_column_transformer((OneHotEncoder(handle_unknown="ignore"), [2])),
            LogisticRegression(),
        ),
        "its regressor": HistGradientBoostingRegressor(**few),
        "nearest neighbours": KNeighborsClassifier(),
        "by ball tree": KNeighborsRegressor(algorithm="ball_tree"),
        "a vote": VotingClassifier([("a", LogisticRegression()), ("b", GaussianNB())], voting="soft"),
        "iterative imputer": make_pipeline(IterativeImputer(), LogisticRegression()),
        "transformed target": TransformedTargetRegressor(LinearRegression(), func=np.log1p, inverse_func=np.expm1),
    }


@pytest.mark.filterwarnings("ignore")
def test_what_the_documents_say_is_served_by_scikit_learn_is_and_says_why() -> None:
    for name, estimator in served_by_sklearn().items():
        fitted = estimator.fit(MATRIX, TRUTH)
        gappy = (0, 1, 2) if "where something can be missing" in name else ()
        made = export.export(fitted, MATRIX, 2 if hasattr(fitted, "predict_proba") else 0, gappy)
        assert (made.runtime, made.suffix) == ("skops", ".skops"), name
        assert "ONNX form" in made.reason, name
        assert (made.parity.differing, made.parity.largest) == (0, 0), name


def everything_else() -> dict[str, Any]:
    """Estimators that are exported to ONNX today, and would have to be opened by skops if they were not."""
    from sklearn.compose import make_column_transformer
    from sklearn.ensemble import (
        ExtraTreesRegressor,
        GradientBoostingClassifier,
        HistGradientBoostingClassifier,
        RandomForestClassifier,
    )
    from sklearn.impute import SimpleImputer
    from sklearn.linear_model import LinearRegression, LogisticRegression
    from sklearn.neural_network import MLPClassifier
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import OneHotEncoder, OrdinalEncoder, StandardScaler
    from sklearn.tree import DecisionTreeRegressor

    codes = make_pipeline(SimpleImputer(strategy="constant", fill_value=-1), OneHotEncoder(handle_unknown="ignore"))
    ordinal = OrdinalEncoder(handle_unknown="use_encoded_value", unknown_value=-1)
    columns = make_column_transformer((codes, [2]), (make_pipeline(SimpleImputer(), StandardScaler()), [0, 1]))
    return {
        "boosting": HistGradientBoostingClassifier(max_iter=3),
        "old boosting": GradientBoostingClassifier(n_estimators=3),
        "forest": RandomForestClassifier(3),
        "extra trees": ExtraTreesRegressor(3),
        "tree": DecisionTreeRegressor(),
        "linear": LinearRegression(),
        "logistic": LogisticRegression(),
        "network": MLPClassifier((4,), max_iter=5),
        "network by gradient descent": MLPClassifier((4,), max_iter=5, solver="sgd"),
        "columns": make_pipeline(columns, LogisticRegression()),
        "ordinal": make_pipeline(ordinal, HistGradientBoostingClassifier(max_iter=3)),
    }


@pytest.mark.filterwarnings("ignore")
def test_the_fixed_list_covers_what_people_use() -> None:
    for name, estimator in everything_else().items():
        fitted = estimator.fit(MATRIX, TRUTH)
        again = skops_model.load(skops_model.dump(fitted))
        np.testing.assert_array_equal(again.predict(MATRIX), fitted.predict(MATRIX), err_msg=name)


def homemade() -> Any:
    from sklearn.base import BaseEstimator, ClassifierMixin

    class Homemade(ClassifierMixin, BaseEstimator):  # type: ignore[misc]
        def fit(self, matrix: Any, truth: Any) -> Homemade:
            self.classes_ = np.unique(truth)
            return self

        def predict(self, matrix: Any) -> Any:
            return np.zeros(len(matrix))

        def predict_proba(self, matrix: Any) -> Any:
            return np.full((len(matrix), 2), 0.5)

    return Homemade().fit(MATRIX, TRUTH)


def test_an_estimator_that_could_not_be_opened_again_is_refused_at_export_with_the_type_named() -> None:
    with pytest.raises(ExportError, match=r"no ONNX form.*never opened again.*Homemade"):
        export.export(homemade(), MATRIX, 2)


def rewritten(change: Callable[[dict[str, Any]], None], compression: int = zipfile.ZIP_STORED) -> bytes:
    """An honest file with its description altered."""
    from sklearn.linear_model import LogisticRegression

    archive = zipfile.ZipFile(io.BytesIO(skops_model.dump(LogisticRegression().fit(MATRIX, TRUTH))))
    description = json.loads(archive.read("schema.json"))
    change(description)
    sink = io.BytesIO()
    with zipfile.ZipFile(sink, "w", compression) as changed:
        for name in archive.namelist():
            changed.writestr(name, json.dumps(description) if name == "schema.json" else archive.read(name))
    return sink.getvalue()


@pytest.mark.parametrize("loader", ["ObjectNode", "FunctionNode", "TypeNode"])
def test_a_file_that_names_code_of_its_own_is_refused_with_it_named_and_the_code_is_not_imported(
    loader: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trace = tmp_path / "it ran"
    (tmp_path / "evil_module.py").write_text(f"open({str(trace)!r}, 'w').close()\nclass Thing: ...\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    named = {"__module__": "evil_module", "__class__": "Thing", "__loader__": loader}
    with pytest.raises(ArtifactError, match=r"never opened: evil_module\.Thing"):
        skops_model.load(rewritten(lambda description: description.update(named)))
    assert not trace.exists()
    assert "evil_module" not in sys.modules


def test_a_file_that_names_a_command_of_the_system_is_refused() -> None:
    named = {"__module__": "posix", "__class__": "system", "__loader__": "FunctionNode"}
    with pytest.raises(ArtifactError, match=r"posix\.system"):
        skops_model.load(rewritten(lambda description: description.update(named)))


class Bad:
    """A pickle of this runs a command when it is loaded."""

    def __init__(self, trace: Path) -> None:
        self.trace = trace

    def __reduce__(self) -> Any:
        return os.mkdir, (str(self.trace),)


def test_the_malicious_pickle_does_run_where_pickles_are_loaded(tmp_path: Path) -> None:
    pickle.loads(pickle.dumps(Bad(tmp_path / "it ran")))  # noqa: S301 (so that the next test proves something)
    assert (tmp_path / "it ran").exists()


@pytest.mark.parametrize("runtime", ["onnxruntime", "skops"])
@pytest.mark.parametrize("dressed", ["bare", "in a zip", "as an array in a zip"])
def test_a_malicious_pickle_under_another_name_is_refused_and_its_code_never_runs(
    runtime: Any, dressed: str, tmp_path: Path, shelf: Shelf
) -> None:
    trace = tmp_path / "it ran"
    payload = pickle.dumps(Bad(trace))
    if dressed != "bare":
        sink = io.BytesIO()
        array = io.BytesIO()
        np.save(array, np.array([Bad(trace)], dtype=object), allow_pickle=True)
        with zipfile.ZipFile(sink, "w") as archive:
            archive.writestr("schema.json", payload if dressed == "in a zip" else b"{}")
            archive.writestr("1.npy", array.getvalue())
        payload = sink.getvalue()
    bucket: Any = shelf.bucket.copy()
    registry = Registry(bucket)
    stored = registry.add_artifact("v1", "model", export.SUFFIX[runtime], payload)  # whoever did it had the rights
    bucket.delete("versions/v1/manifest.json")
    registry.publish(msgspec.structs.replace(shelf.manifest, model=stored, runtime=runtime))
    with pytest.raises(ArtifactError):
        version.load(registry, shelf.problem, "v1")
    assert not trace.exists()


def test_an_array_that_is_a_pickle_inside_an_honest_file_is_refused_and_its_code_never_runs(tmp_path: Path) -> None:
    trace = tmp_path / "it ran"
    from sklearn.linear_model import LogisticRegression

    archive = zipfile.ZipFile(io.BytesIO(skops_model.dump(LogisticRegression().fit(MATRIX, TRUTH))))
    bad, sink = io.BytesIO(), io.BytesIO()
    np.save(bad, np.array([Bad(trace)], dtype=object), allow_pickle=True)
    with zipfile.ZipFile(sink, "w") as changed:
        for name in archive.namelist():
            changed.writestr(name, archive.read(name) if name == "schema.json" else bad.getvalue())
    with pytest.raises(ArtifactError, match="allow_pickle"):
        skops_model.load(sink.getvalue())
    assert not trace.exists()


def neighbours(inputs: Any) -> Any:
    from sklearn.impute import SimpleImputer
    from sklearn.neighbors import KNeighborsClassifier
    from sklearn.pipeline import make_pipeline

    return make_pipeline(SimpleImputer(), KNeighborsClassifier(7))


@pytest.mark.parametrize(
    "target", [Probability(name="drunk"), Label(name="verdict", values=("awful", "fair", "good", "never given"))]
)
def test_a_version_of_such_an_estimator_is_served_as_it_was_fitted(target: Any) -> None:
    shelf = shelve(target, estimator=neighbours)
    assert shelf.manifest.runtime == "skops"
    assert "ONNX" in shelf.manifest.runtime_reason
    loaded = version.load(shelf.registry(), shelf.problem, "v1")
    matrix = loaded.scorer.encoder.matrix(shelf.rows)
    np.testing.assert_array_equal(loaded.scorer.model(matrix), shelf.trained.estimator.predict_proba(matrix))


WITHOUT_SKLEARN = """
import json, sys
sys.modules["sklearn"] = sys.modules["skops"] = None  # as where they are not installed
from dropfit import libraries, runtime, serving, version
libraries.installed = lambda package: "" if package in ("scikit-learn", "skops", "scipy") else "1"
from dropfit.errors import ArtifactError
class Manifest: version, libraries = "v1", {"scikit-learn": "1"}
try:
    libraries.check(Manifest, "skops")
except ArtifactError as error:
    print(error)
assert libraries.check(Manifest, "onnxruntime")
"""


def test_a_function_without_scikit_learn_refuses_such_a_version_and_says_what_to_install() -> None:
    done = subprocess.run([sys.executable, "-c", WITHOUT_SKLEARN], capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    assert "scikit-learn, skops, scipy is not installed" in done.stdout
    assert "dropfit[skops]" in done.stdout


def test_onnx_stays_the_first_choice() -> None:
    from sklearn.linear_model import LogisticRegression

    made = export.export(LogisticRegression().fit(MATRIX, TRUTH), MATRIX, 2)
    assert (made.runtime, made.reason) == ("onnxruntime", "")
    OnnxModel(made.payload)
