# SPDX-License-Identifier: Apache-2.0
"""The same data, code and seed give the same predictions; whatever is not the same is named first."""

from __future__ import annotations

import io
from typing import Any, NamedTuple

import msgspec
import pyarrow.parquet as pq
import pytest
from fake_bucket import FakeBucket
from fakes import GROUPS, Shelf, boosting, shelve, tea

from dropfit import training
from dropfit.contract import Gate, Label, Number, Probability, Problem
from dropfit.encoding import length, sha256, take
from dropfit.errors import ArtifactError, NotFound
from dropfit.ingest import to_table
from dropfit.manifest import Input
from dropfit.receipts import accepted_name
from dropfit.registry import Registry
from dropfit.reproduce import Difference, Reproduced, reproduce


class World(NamedTuple):
    """A published version and the accepted rows that its manifest names, in two uploads."""

    shelf: Shelf
    data: FakeBucket
    registry: Registry

    def again(self, problem: Problem | None = None, most: int = 100_000) -> Reproduced:
        return reproduce(self.registry, self.data, problem or self.shelf.problem, "v1", most)  # type: ignore[arg-type]


def world(shelf: Shelf) -> World:
    data, inputs = FakeBucket("data"), []
    middle = length(shelf.rows) // 2
    for number, part in enumerate((slice(0, middle), slice(middle, None))):
        sink = io.BytesIO()
        rows = {name: values[part] for name, values in shelf.rows.items()}
        pq.write_table(to_table(shelf.problem, rows), sink)
        payload, receipt = sink.getvalue(), f"{number:064x}"
        data.put(accepted_name(receipt, sha256(payload)), payload)
        inputs.append(Input(f"{number}.csv", number, receipt, length(rows), sha256(payload)))
    bucket: Any = shelf.bucket.copy()
    bucket.delete("versions/v1/manifest.json")
    registry = Registry(bucket)
    registry.publish(msgspec.structs.replace(shelf.manifest, inputs=tuple(inputs)))
    return World(shelf, data, registry)


def forest(inputs: Any) -> Any:
    """An estimator that draws from numpy's own generator, as many do."""
    from sklearn.ensemble import RandomForestClassifier
    from sklearn.impute import SimpleImputer
    from sklearn.pipeline import make_pipeline

    return make_pipeline(SimpleImputer(), RandomForestClassifier(5))


def neighbours(inputs: Any) -> Any:
    from sklearn.impute import SimpleImputer
    from sklearn.neighbors import KNeighborsClassifier
    from sklearn.pipeline import make_pipeline

    return make_pipeline(SimpleImputer(), KNeighborsClassifier(5))


@pytest.mark.parametrize("estimator", [boosting, forest, neighbours])
def test_the_same_data_and_seed_give_the_same_predictions(estimator: Any) -> None:
    found = world(shelve(Probability(name="drunk"), estimator=estimator)).again()
    assert found.same
    assert (found.rows, found.compared, found.differing, found.largest) == (300, 300, 0, 0)
    assert found.differences == ()


def test_labels_are_reproduced_too() -> None:
    assert world(shelve(Label(name="verdict", values=("awful", "fair", "good", "never given")))).again().same


def test_the_file_itself_comes_out_the_same_byte_by_byte(shelf: Shelf) -> None:
    assert world(shelf).again().same_file


def test_a_few_rows_can_be_enough_to_compare(shelf: Shelf) -> None:
    found = world(shelf).again(most=7)
    assert (found.rows, found.compared, found.same) == (300, 7, True)


def other(inputs: Any) -> Any:
    return boosting(inputs).set_params(max_iter=6)


def test_another_estimator_is_named_and_its_difference_told(shelf: Shelf) -> None:
    found = world(shelf).again(tea(backoff=GROUPS, estimator=other))
    assert [difference.what for difference in found.differences] == ["estimator"]
    assert not found.same
    assert found.differing > 0
    assert found.largest > 0


def test_another_seed_is_named(shelf: Shelf) -> None:
    found = world(shelf).again(tea(backoff=GROUPS, seed=2))
    assert found.differences == (Difference("seed", str(shelf.problem.seed), "2"),)


def other_derive(features: Any) -> Any:
    return {"strength": features["minutes"] + features["warmth"]}


@pytest.mark.parametrize(
    ("changes", "what"),
    [({"derive": other_derive}, "derive"), ({"derived": (Number(name="strength", minimum=0),)}, "contract")],
)
def test_where_rows_or_inputs_would_be_others_nothing_is_compared(shelf: Shelf, changes: Any, what: str) -> None:
    found = world(shelf).again(tea(backoff=GROUPS, **changes))
    assert [difference.what for difference in found.differences] == [what]
    assert (found.compared, found.same) == (0, False)


def test_other_libraries_are_named(shelf: Shelf) -> None:
    there = world(shelf)
    manifest = there.registry.manifest("v1")
    bucket: Any = there.registry._bucket
    bucket.delete("versions/v1/manifest.json")
    there.registry.publish(
        msgspec.structs.replace(manifest, libraries=manifest.libraries | {"scikit-learn": "0.1", "python": "2.7"})
    )
    found = there.again()
    assert {(d.what, d.then) for d in found.differences} == {("scikit-learn", "0.1"), ("python", "2.7")}
    assert found.same


def test_rows_that_are_not_those_it_was_trained_on_are_refused(shelf: Shelf) -> None:
    there = world(shelf)
    name = next(iter(there.data.list())).name
    there.data.put(name, there.data.read(name)[:-1] + b"?")
    with pytest.raises(ArtifactError, match=r"not what was accepted of 0\.csv"):
        there.again()
    there.data.delete(name)
    with pytest.raises(ArtifactError, match=r"of 0\.csv are gone"):
        there.again()


def test_a_version_that_is_not_there_is_not_found(shelf: Shelf) -> None:
    there = world(shelf)
    with pytest.raises(NotFound):
        reproduce(there.registry, there.data, shelf.problem, "v2")  # type: ignore[arg-type]


def test_training_leaves_nothing_to_what_was_drawn_before() -> None:
    import numpy as np

    problem = tea(backoff=GROUPS, estimator=forest, gate=Gate(minimum_rows=10))
    rows = shelve(Probability(name="drunk")).rows
    matrix = np.ones((5, 5), dtype=np.float32) * np.arange(5, dtype=np.float32)
    answers = []
    for draws in (0, 3):
        np.random.rand(draws)
        answers.append(training.train(problem, take(rows, np.arange(300))).estimator.predict_proba(matrix))
    np.testing.assert_array_equal(*answers)
