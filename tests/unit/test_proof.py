# SPDX-License-Identifier: Apache-2.0
"""A sample of a table is predicted again, and one wrong row of it is enough."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from fakes import pots, shelve, tea, universe_of

from dropfit import proof, tables, version
from dropfit.contract import Deny, Label, Policy, Probability, Quantity
from dropfit.errors import Conflict

TARGETS = {
    "probability": (Probability(name="drunk"), Policy(digits=3, confidence=0.6)),
    "label": (
        Label(name="verdict", values=("awful", "fair", "good", "never")),
        Policy(confidence=0.6, rules=(Deny(name="not_awful", when={"leaf": ("sencha",)}, labels=("awful",)),)),
    ),
    "quantity": (Quantity(name="liking"), Policy(maximum=9.0, beyond=0.0)),
}


def table_of(kind: str) -> tuple[Any, list[dict[str, Any]]]:
    """A version's scorer, and the rows of its table as BigQuery gives them back."""
    from fakes import boosting_quantity

    target, policy = TARGETS[kind]
    changes: dict[str, Any] = {"estimator": boosting_quantity} if kind == "quantity" else {}
    shelf = shelve(target, policy=policy, **changes)
    scorer = version.load(shelf.registry(), shelf.problem, "v1").scorer
    accepted = pots(150, target=target, seed=1)
    accepted["minutes"][:5] = 55.0  # far beyond what training saw
    _, found = universe_of(shelf.problem.contract, accepted, scorer.encoder)
    features = tables.features_table(shelf.problem.contract, found)
    scored = scorer.score(found)
    made = tables.rows_table(shelf.problem.contract, features, scored, scorer.classes, "v1", shelf.manifest.created)
    return scorer, made.to_pylist()


@pytest.fixture(scope="module", params=list(TARGETS))
def filled(request: pytest.FixtureRequest) -> tuple[Any, list[dict[str, Any]]]:
    return table_of(request.param)


def test_a_table_is_what_its_model_says_abstentions_included(filled: tuple[Any, list[dict[str, Any]]]) -> None:
    scorer, rows = filled
    found = proof.compare("t", scorer, rows, len(rows))
    assert (found.rows, found.differing, found.largest) == (len(rows), 0, 0.0)
    assert any(row["prediction"] is None for row in rows), "there is an abstention to compare"
    assert any(row["prediction"] is not None for row in rows)


def other(value: Any) -> Any:
    if isinstance(value, str):
        return "never" if value != "never" else "good"
    return 0.123 if value is None else value + 1e-3


def test_one_row_that_the_model_does_not_say_is_enough(filled: tuple[Any, list[dict[str, Any]]]) -> None:
    scorer, rows = filled
    said = next(i for i, row in enumerate(rows) if row["prediction"] is not None)
    silent = next(i for i, row in enumerate(rows) if row["prediction"] is None)
    wrong: list[tuple[int, dict[str, Any]]] = [
        (said, {"prediction": other(rows[said]["prediction"])}),
        (silent, {"prediction": other(rows[said]["prediction"])}),
        (said, {"prediction": None}),
        (said, {"policy": "minimum"}),
        (silent, {"policy": ""}),
    ]
    if scorer.classes:
        shares = rows[said]["probabilities"]
        wrong += [
            (said, {"probabilities": []}),
            (said, {"probabilities": [{**shares[0], "probability": shares[0]["probability"] + 1e-3}, *shares[1:]]}),
            (said, {"probabilities": [{**shares[0], "label": "else"}, *shares[1:]]}),
        ]
    for at, change in wrong:
        spoiled = [{**row, **change} if n == at else row for n, row in enumerate(rows)]
        with pytest.raises(Conflict, match=r"predicted again 1 are not what the model says.*it is not served"):
            proof.compare("t", scorer, spoiled, len(rows))


def test_what_float32_leaves_is_no_difference() -> None:
    scorer, rows = table_of("probability")
    near = [{**row, "prediction": row["prediction"] and row["prediction"] * (1 + 1e-7)} for row in rows]
    assert 0 < proof.compare("t", scorer, near, len(rows)).largest < 1e-6


def test_rows_that_cannot_be_read_back_are_missed(filled: tuple[Any, list[dict[str, Any]]]) -> None:
    scorer, rows = filled
    with pytest.raises(Conflict, match="rows could be read back instead of"):
        proof.compare("t", scorer, rows[1:], len(rows))


def test_the_row_is_predicted_from_its_key_alone() -> None:
    rows = [{"leaf": "assam", "cup": None, "minutes": 3.0, "warmth": 60.0}]
    found = proof.features(tea().contract, rows)
    assert np.isnan(found["warmth"][0])
    assert (found["leaf"][0], found["cup"][0], found["minutes"][0]) == ("assam", None, 3.0)


def test_what_the_export_may_differ_by_is_what_a_table_may() -> None:
    from dropfit import export

    assert proof.ACCEPTED == export.ACCEPTED
