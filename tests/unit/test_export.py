# SPDX-License-Identifier: Apache-2.0
"""A model is exported only if its ONNX form says what the estimator says."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from fakes import boosting_quantity, pots, shelve, tea

from dropfit import export
from dropfit.contract import Label, Quantity
from dropfit.encoding import Encoder, learn
from dropfit.errors import ArtifactError, ExportError
from dropfit.runtime import OnnxModel

CHANCE = np.random.default_rng(0)
MATRIX = CHANCE.integers(0, 12, (400, 3)).astype(np.float32)
TRUTH = ((MATRIX[:, 0] * 7) % 5 > 2).astype(int)


def exported(estimator: Any, classes: int = 2) -> tuple[Any, bytes]:
    fitted = estimator.fit(MATRIX, TRUTH)
    return fitted, export.to_onnx(fitted, MATRIX.shape[1])


def test_boosting_with_categorical_features_exports_wrongly_and_is_noticed() -> None:
    from sklearn.ensemble import HistGradientBoostingClassifier

    model, payload = exported(
        HistGradientBoostingClassifier(categorical_features=[0], max_iter=10, min_samples_leaf=5)
    )
    with pytest.raises(ExportError, match=r"HistGradientBoostingClassifier differs"):
        export.check(model, payload, MATRIX, 2)


def test_the_same_boosting_on_plain_codes_is_faithful_also_where_values_are_missing() -> None:
    from sklearn.ensemble import HistGradientBoostingClassifier

    model, payload = exported(HistGradientBoostingClassifier(max_iter=10, min_samples_leaf=5))
    parity = export.check(model, payload, MATRIX, 2, (0, 1, 2))
    assert parity.differing <= export.ACCEPTED
    assert parity.rows == 400 + 3 * 200


def test_an_estimator_that_takes_no_missing_values_is_fine_where_none_can_be_missing() -> None:
    from sklearn.linear_model import LogisticRegression

    model, payload = exported(LogisticRegression())
    assert export.check(model, payload, MATRIX, 2).rows == 400


def test_an_estimator_that_takes_no_missing_values_is_refused_where_some_can_be_missing() -> None:
    from sklearn.linear_model import LogisticRegression

    model, payload = exported(LogisticRegression())
    with pytest.raises(ExportError, match="imputer"):
        export.check(model, payload, MATRIX, 2, (1,))


def faithful() -> dict[str, Any]:
    """What docs/adapt.md says can be served, where inputs can be missing."""
    from sklearn.compose import make_column_transformer
    from sklearn.ensemble import ExtraTreesClassifier, GradientBoostingClassifier, RandomForestClassifier
    from sklearn.impute import SimpleImputer
    from sklearn.linear_model import LogisticRegression
    from sklearn.neural_network import MLPClassifier
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import OneHotEncoder, StandardScaler
    from sklearn.tree import DecisionTreeClassifier

    codes = make_pipeline(SimpleImputer(strategy="constant", fill_value=-1), OneHotEncoder(handle_unknown="ignore"))
    behind_imputer = {
        "forest": RandomForestClassifier(30, random_state=0),
        "extra trees": ExtraTreesClassifier(30, random_state=0),
        "boosting": GradientBoostingClassifier(n_estimators=20, random_state=0),
        "tree": DecisionTreeClassifier(max_depth=6),
        "logistic": make_pipeline(StandardScaler(), LogisticRegression()),
        "network": make_pipeline(StandardScaler(), MLPClassifier((8,), max_iter=50, random_state=0)),
    }
    return {name: make_pipeline(SimpleImputer(), model) for name, model in behind_imputer.items()} | {
        "one-hot": make_pipeline(
            make_column_transformer((codes, [2]), (make_pipeline(SimpleImputer(), StandardScaler()), [0, 1])),
            LogisticRegression(),
        )
    }


@pytest.mark.filterwarnings("ignore")
def test_what_the_documents_call_faithful_is() -> None:
    for name, estimator in faithful().items():
        model, payload = exported(estimator)
        assert export.check(model, payload, MATRIX, 2, (0, 1, 2)).differing <= export.ACCEPTED, name


def test_an_estimator_without_a_converter_is_refused_by_name() -> None:
    from sklearn.base import BaseEstimator, ClassifierMixin

    class Homemade(ClassifierMixin, BaseEstimator):  # type: ignore[misc]
        def fit(self, matrix: Any, truth: Any) -> Homemade:
            self.classes_ = np.unique(truth)
            return self

    with pytest.raises(ExportError, match="Homemade has no ONNX form"):
        exported(Homemade())


def test_the_export_of_one_model_is_not_taken_for_another() -> None:
    from sklearn.linear_model import LogisticRegression

    _, payload = exported(LogisticRegression())
    other = LogisticRegression().fit(MATRIX, 1 - TRUTH)
    with pytest.raises(ExportError, match="differs"):
        export.check(other, payload, MATRIX, 2)


def test_an_export_that_answers_nan_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    from sklearn.linear_model import LogisticRegression

    model, payload = exported(LogisticRegression())
    monkeypatch.setattr(export, "OnnxModel", lambda _: lambda matrix: np.full((len(matrix), 2), np.nan))
    with pytest.raises(ExportError):
        export.check(model, payload, MATRIX, 2)


def test_a_class_that_the_fit_never_saw_keeps_its_place() -> None:
    from sklearn.linear_model import LogisticRegression

    model = LogisticRegression().fit(MATRIX, TRUTH * 2)  # classes 0 and 2 of three
    payload = export.to_onnx(model, 3)
    assert export.check(model, payload, MATRIX, 3).differing == 0
    assert export.aligned(model, np.array([[0.25, 0.75]]), 3).tolist() == [[0.25, 0, 0.75]]


@pytest.mark.parametrize(
    ("target", "changes"),
    [
        (Label(name="verdict", values=("awful", "fair", "good", "never given")), {}),
        (Quantity(name="joy"), {"estimator": boosting_quantity}),
    ],
    ids=["label", "quantity"],
)
def test_every_kind_of_target_is_exported_faithfully_and_served_from_its_export(target: Any, changes: Any) -> None:
    shelf = shelve(target, **changes)
    assert shelf.manifest.parity.differing <= export.ACCEPTED
    assert shelf.manifest.parity.rows > shelf.manifest.holdout["rows"]


def test_one_row_is_scored_as_it_is_in_its_batch() -> None:
    problem, rows = tea(), pots(200)
    encoder = Encoder(problem.contract, learn(problem, rows), problem.derive)
    matrix = encoder.matrix(rows)
    model = OnnxModel(export.to_onnx(problem.estimator(problem.inputs).fit(matrix, rows["drunk"].astype(int)), 5))
    whole = model(matrix)
    assert whole.shape == (200, 2)
    for row in range(0, 200, 20):
        np.testing.assert_array_equal(model(matrix[row : row + 1])[0], whole[row])


@pytest.mark.parametrize("payload", [b"", b"no model", b"\x80\x04\x95"])
def test_what_is_no_model_is_refused(payload: bytes) -> None:
    with pytest.raises(ArtifactError, match="cannot load"):
        OnnxModel(payload)
