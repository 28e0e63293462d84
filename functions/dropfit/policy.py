# SPDX-License-Identifier: Apache-2.0
"""The safeguard on outputs: what may be served, whatever the model says.

One order for every source: the adopter's rules, the bounds, rounding (which never leaves a bound again), abstention,
fallback. What an instance may be served is decided in one place, `_decide` of Numbers or Labels; a batch finds by
numpy the rows that are not served as they are, and asks for these alone.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from .conditions import Array, Row
from .contract import Contract, Label
from .decisions import Decision, Fired, Guarded
from .guard_labels import Labels
from .guard_numbers import Numbers
from .rules import Interval

__all__ = ["Decision", "Fired", "Guard", "Guarded"]


class Guard:
    """A version's policy, made ready once.

    Args:
        contract: of the version.
        classes: labels in the order of the model's probabilities, for a label target.
        ranges: number -> smallest and largest training value (`Encoding.ranges`).

    Attributes:
        untouched: a number's answer -> the value, where it is served as it is and nothing looks at features.
        needs_features: whether a decision depends on the instance; else `few` need not be given any.
    """

    def __init__(
        self, contract: Contract, classes: tuple[str, ...] = (), ranges: Mapping[str, Interval] | None = None
    ) -> None:
        label = isinstance(contract.target, Label)
        self._judge: Numbers | Labels = (
            Labels(contract, classes, ranges or {}) if label else Numbers(contract, ranges or {})
        )
        self.needs_features = self._judge.needs_features
        self.untouched = self._judge.untouched

    def apply(self, columns: Row, raw: Array) -> Guarded:
        """A batch.

        Args:
            columns: every feature, completed, and the derived ones, shape (rows,) each; may be empty unless
                `needs_features`.
            raw: what the model answers: probabilities (rows, classes), or values (rows, 1). No NaN.

        Returns:
            values: float64 of shape (rows,), or objects for labels and wherever something abstained; probabilities:
            shape (rows, classes).
        """
        return self._judge.batch(columns, raw)

    def few(self, answers: Sequence[Sequence[float]], instances: Sequence[Row] = ()) -> Guarded:
        """The same of a request's few rows, as lists, in microseconds.

        Args:
            answers: the model's, per row its probabilities or its one value.
            instances: one mapping per row (feature -> str, float or None), pinned and derived features included;
                not looked at unless `needs_features`.

        Raises:
            ArtifactError: when the model's answer is no number.
        """
        return self._judge.few(answers, instances)

    def one(self, features: Row, answer: Any) -> Decision:
        """One answer of any source: a model's row, a group's mean.

        Args:
            features: feature -> str, float, or None where missing; pinned and derived ones where known. A feature
                that is not in it is unknown: whatever a rule might then deny is denied.
            answer: a number, or for a label target the probabilities (a sequence) in the order of the classes.

        Raises:
            ArtifactError: when the answer is no number.
        """
        return self._judge.one(features, answer)

    def fallback(self, features: Row) -> Decision:
        """What is served where nothing else can answer: the fallback value, unless a rule forbids it there.

        Args:
            features: as for `one`.

        Returns:
            The fallback value and `fallback`; no value where there is none, or with the rules that forbid it.
        """
        return self._judge.fallback(features)
