# SPDX-License-Identifier: Apache-2.0
"""Arrow tables are predicted as row batches are, bit by bit."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from fakes import LEAVES, pots, tea
from hypothesis import given
from hypothesis import strategies as st

from dropfit import columnar, tables
from dropfit.columnar import Columnar
from dropfit.contract import Columns, Deny, Label, Number, Policy
from dropfit.encoding import Encoder, learn
from dropfit.errors import ArtifactError
from dropfit.runtime import Scorer

VERDICT = Label(name="verdict", values=("awful", "fine", "good"))
ROW = st.fixed_dictionaries(
    {
        "leaf": st.sampled_from([*LEAVES, "never seen"]),
        "cup": st.sampled_from(["small", "large", None]),
        "minutes": st.one_of(st.just(np.nan), st.floats(0, 60)),
        "warmth": st.one_of(st.just(np.nan), st.floats(0, 100)),
    }
)
ROWS = st.lists(ROW, max_size=30)
BOUND = Policy(minimum=0.2, maximum=0.9, digits=3, fallback=0.5, beyond=0.1)
RULED = Policy(rules=(Deny(name="no-small-good", when={"cup": ("small",)}, labels=("good",)),))


def batch(rows: list[dict[str, Any]]) -> dict[str, Any]:
    kinds: dict[str, Any] = {"leaf": object, "cup": object}
    names = [feature.name for feature in tea().features]
    return {name: np.array([row[name] for row in rows], dtype=kinds.get(name, np.float64)) for name in names}


def answer(matrix: Any) -> Any:
    """Something that depends on all of its input, shape (rows, 1)."""
    known = np.nan_to_num(matrix.astype(np.float64), nan=-7.0)
    return (known @ np.arange(1.0, matrix.shape[1] + 1))[:, None] % 1.0


def shares(matrix: Any) -> Any:
    found = answer(matrix)
    return np.hstack([found, (1 - found) / 2, (1 - found) / 2])


def scorer(policy: Policy, target: Any = None) -> Scorer:
    problem = tea(policy=policy, **({"target": target} if target else {}))
    encoder = Encoder(problem.contract, learn(problem, pots(200, target), problem.derive), problem.derive)
    return Scorer(problem.contract, encoder, shares if target else answer, VERDICT.values if target else ())


def told(scored: Any) -> list[Any]:
    """Predictions as plain values that can be compared, NaN included."""
    values = [
        None if value is None else (value if isinstance(value, str) else float(value)) for value in scored.values
    ]
    return [values, None if scored.probabilities is None else scored.probabilities.tolist(), list(scored.fired)]


@pytest.mark.parametrize(
    ("policy", "target"), [(BOUND, None), (Policy(), None), (RULED, VERDICT)], ids=["bounds", "none", "labels"]
)
@given(rows=ROWS, coded=st.booleans(), pieces=st.booleans())
def test_an_arrow_table_gets_what_its_row_batch_gets(
    policy: Policy, target: Any, rows: list[dict[str, Any]], coded: bool, pieces: bool
) -> None:
    by_rows = scorer(policy, target)
    table = tables.features_table(by_rows.contract, batch(rows))
    if coded:
        for name in ("leaf", "cup"):
            place = table.column_names.index(name)
            table = table.set_column(place, name, table.column(name).combine_chunks().dictionary_encode())
    if pieces and len(rows) > 1:
        table = pa.concat_tables([table.slice(0, 1), table.slice(1)])
    assert told(Columnar(by_rows).score(table)) == told(by_rows.score(batch(rows)))


def test_a_derived_number_may_look_at_texts_and_be_one_for_all_rows() -> None:
    def derive(features: Columns) -> Columns:
        return {"strength": features["minutes"] + (features["leaf"] == "assam"), "one": np.float64(3)}

    problem = tea(derived=(Number(name="strength"), Number(name="one")), derive=derive)
    encoder = Encoder(problem.contract, learn(problem, pots(50), derive), derive)
    by_rows = Scorer(problem.contract, encoder, answer, ())
    rows = pots(20, seed=3)
    table = tables.features_table(problem.contract, rows)
    assert Columnar(by_rows).score(table).values.tolist() == by_rows.score(rows).values.tolist()


def test_a_model_without_an_answer_is_told_with_its_first_row() -> None:
    broken = scorer(Policy())
    broken.model = lambda matrix: np.where(np.arange(len(matrix))[:, None] == 2, np.nan, 0.5)
    with pytest.raises(ArtifactError, match="1 rows, the first of them row 2"):
        Columnar(broken).score(tables.features_table(broken.contract, pots(5)))


@given(
    picked=st.lists(st.integers(0, 4), min_size=1, max_size=60),
    kinds=st.lists(st.lists(st.sampled_from([0.0, -0.0, 1.5, np.nan, 3e38]), min_size=3, max_size=3), min_size=5),
    codes=st.sampled_from([1, 4, 2**40]),
)
def test_inputs_that_come_again_are_found_bit_by_bit(picked: list[int], kinds: list[list[float]], codes: int) -> None:
    matrix = np.array(kinds, dtype=np.float32)[picked]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(columnar, "CODES", codes)
        found = columnar.distinct(matrix)
    different = {row.tobytes() for row in matrix}
    if found is None:
        assert 2 * len(different) > len(matrix)
    else:
        first, places = found
        assert len(first) == len(different) <= len(matrix) / 2
        assert matrix[first][places].tobytes() == matrix.tobytes()


def test_a_model_is_asked_once_for_each_input_where_most_come_again() -> None:
    asked = []
    counting = scorer(BOUND)
    counting.model = lambda matrix: [asked.append(len(matrix)), answer(matrix)][1]
    rows = {name: np.tile(values, 10) for name, values in pots(30).items()}
    by_table = told(Columnar(counting).score(tables.features_table(counting.contract, rows)))
    assert by_table == told(counting.score(rows))
    once, all_of_them = asked
    assert once <= 30
    assert all_of_them == 300
