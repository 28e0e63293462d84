# SPDX-License-Identifier: Apache-2.0
"""A fitted estimator without ONNX: stored by skops, opened only if every type in it is on a fixed list.

scikit-learn and skops are imported when such a version is opened, and never before: a function that serves ONNX needs
neither. The list is written by hand; what a file asks for is never added to it.
"""

from __future__ import annotations

import io
import re
import zipfile
from typing import Any

import numpy as np

from .errors import ArtifactError, ExportError

TRUSTED = (
    "functools.partial",
    "numpy.dtype",
    "sklearn.calibration._CalibratedClassifier",
    "sklearn.calibration._SigmoidCalibration",
    "sklearn.ensemble._hist_gradient_boosting.predictor.TreePredictor",
    "sklearn.feature_selection._univariate_selection.f_classif",
    "sklearn.feature_selection._univariate_selection.f_regression",
    "sklearn.impute._iterative.IterativeImputer",
    "sklearn.impute._iterative._ImputerTriplet",
    "sklearn.metrics._dist_metrics.EuclideanDistance64",
    "sklearn.metrics._dist_metrics.ManhattanDistance64",
    "sklearn.metrics._dist_metrics.MinkowskiDistance64",
    "sklearn.neighbors._ball_tree.BallTree",
    "sklearn.neighbors._kd_tree.KDTree",
    "sklearn.neural_network._stochastic_optimizers.AdamOptimizer",
    "sklearn.neural_network._stochastic_optimizers.SGDOptimizer",
    "sklearn.tree._tree.Tree",
    "sklearn.utils._bunch.Bunch",
    "sklearn.utils.validation.check_array",
)
"""Types that may be opened, besides those that skops trusts by itself: scikit-learn's public estimators and losses,
numpy's arrays, and the ufuncs of numpy and scipy. Trees hold indices that nobody checks once they are loaded: that
they are those that were fitted is what the hash is for."""
MAX_ENTRIES = 200_000
MAX_SCHEMA = 64 * 1024**2
NAME = re.compile(r"schema\.json|[0-9]+\.np[yz]")


def dump(estimator: Any) -> bytes:
    """A fitted estimator as a file that can be opened again.

    Raises:
        ExportError: when skops cannot store it, or holds a type that is not on the list.
    """
    from skops.io import dumps, get_untrusted_types

    try:
        payload = bytes(dumps(estimator))
        strange = set(get_untrusted_types(data=payload)) - set(TRUSTED)
    except Exception as error:  # skops and what it calls raise whatever they like
        raise ExportError(f"skops cannot store {type(estimator).__name__}: {error}") from error
    if strange:
        raise ExportError(
            f"{type(estimator).__name__} holds what is never opened again: {', '.join(sorted(strange))}"
        )
    return payload


def load(payload: bytes) -> Any:
    """The estimator in a file.

    Args:
        payload: its hash checked by the caller.

    Raises:
        ArtifactError: when it is none, would unpack to more than itself, or holds a type that is not on the list;
            none of its code has run then.
    """
    check_directory(payload)
    from skops.io import get_untrusted_types, loads

    try:
        strange = set(get_untrusted_types(data=payload)) - set(TRUSTED)
        if not strange:
            return loads(payload, trusted=list(TRUSTED))
    except Exception as error:  # a crafted file can make it raise anything
        raise ArtifactError(f"skops cannot open the model: {type(error).__name__}: {error}") from error
    raise ArtifactError(f"the model holds types that are never opened: {', '.join(sorted(strange))[:500]}")


def check_directory(payload: bytes) -> None:
    """Look at a zip file's directory before anything in it is unpacked.

    Dropfit stores without compression, so no honest file unpacks to more than itself; a bomb of any make does.

    Raises:
        ArtifactError: when it is no such file.
    """
    try:
        with zipfile.ZipFile(io.BytesIO(payload)) as archive:
            entries = archive.infolist()
    except Exception as error:  # zipfile raises more than its own error on crafted directories
        raise ArtifactError(f"the model is no skops file: {error}") from error
    declared = sum(entry.file_size for entry in entries)
    packed = [entry.filename for entry in entries if entry.compress_type != zipfile.ZIP_STORED]
    strange = [entry.filename for entry in entries if not NAME.fullmatch(entry.filename)]
    schema = sum(entry.file_size for entry in entries if entry.filename == "schema.json")
    if len(entries) > MAX_ENTRIES or len({entry.filename for entry in entries}) != len(entries):
        raise ArtifactError(f"the model holds {len(entries):,} files, at most {MAX_ENTRIES:,} and each once: refused")
    if packed or declared > len(payload) or schema > MAX_SCHEMA:
        raise ArtifactError(
            f"the model of {len(payload):,} bytes declares {declared:,} unpacked, {len(packed)} files packed: refused"
        )
    if strange:
        raise ArtifactError(f"the model holds files of strange names, such as {strange[0][:80]!r}: refused")


class SkopsModel:
    """An estimator that answers as its ONNX form would.

    Args:
        payload: the file, its hash checked by the caller.
        threads: of OpenMP and BLAS; more than one slow a single row down tenfold.

    Raises:
        ArtifactError: when it must not be opened.
    """

    def __init__(self, payload: bytes, threads: int = 1) -> None:
        self._estimator = load(payload)
        from sklearn.base import is_classifier
        from threadpoolctl import ThreadpoolController

        self._classifies = is_classifier(self._estimator)
        self._threads = threads
        self._pools = ThreadpoolController()

    def __call__(self, matrix: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
        """Probabilities (rows, classes) of a classifier, values (rows, 1) of a regressor.

        Args:
            matrix: float32, shape (rows, inputs).
        """
        with self._pools.limit(limits=self._threads):
            call = self._estimator.predict_proba if self._classifies else self._estimator.predict
            return np.asarray(call(matrix), dtype=np.float64).reshape(len(matrix), -1)
