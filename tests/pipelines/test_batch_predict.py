# SPDX-License-Identifier: Apache-2.0
"""Batch prediction in Beam, against the storage emulator."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow.parquet as pq
import pytest

from beam_pipelines import batch_predict, sources, transforms
from beam_pipelines.ledger import Batch, Ledger
from dropfit import version
from dropfit.errors import ArtifactError, BatchError
from dropfit.ingest import from_table

House = Any


class There:
    """A deployment with one served version, whose keys lie in the data bucket."""

    def __init__(self, house: House) -> None:
        self.house = house
        self.settings = house.settings
        self.data = house.buckets.data
        self.version = house.registry.current().pointer.version
        self.keys = pq.read_table(io.BytesIO(self.data.read(f"tables/{self.version}/keys-00000.parquet")))

    def batch(self, place: str = "batch/one", rows: int = 25, keys: Any = None) -> Batch:
        """The keys, so many an object and a split, to be predicted into a folder of the data bucket."""
        whole = self.keys if keys is None else keys
        for start in range(0, whole.num_rows, rows):
            sink = io.BytesIO()
            pq.write_table(whole.slice(start, rows), sink)
            self.data.put(f"{place}-in/{whole.num_rows}/{start:06}.parquet", sink.getvalue())
        found = sources.expand(self.settings, [self.data.uri(f"{place}-in/{whole.num_rows}/")])
        return Batch(self.version, tuple(found), self.data.uri(place), self.version, checked=True)

    def run(self, batch: Batch) -> Ledger:
        return batch_predict.run(self.settings, batch)[0]

    def rows(self, ledger: Ledger) -> pd.DataFrame:
        return pd.concat([self.parquet(shard.name) for shard in ledger.manifest().shards], ignore_index=True)

    def parquet(self, name: str) -> pd.DataFrame:
        return pd.read_parquet(io.BytesIO(self.data.read(name)))


@pytest.fixture
def there(house: Callable[..., House], penguins: list[Path]) -> There:
    made = house()
    made.upload("a.csv", penguins[0])
    made.work()
    return There(made)


def test_every_key_has_the_prediction_the_version_gives_it_in_the_order_of_the_input(there: There) -> None:
    found = there.rows(there.run(there.batch()))
    scorer = version.load(there.house.registry, there.house.services.problem, there.version).scorer
    assert list(found["prediction"]) == list(scorer.score(from_table(there.keys)).values)
    assert set(found["model_version"]) == {there.version}
    listed = there.run(there.batch()).manifest().shards
    assert [shard.rows for shard in listed] == [len(there.parquet(shard.name)) for shard in listed]


def test_a_second_run_changes_nothing(there: There) -> None:
    batch = there.batch()
    first = there.run(batch)
    before = {stored.name: stored.generation for stored in there.data.list("batch/one/shards/")}
    second = there.run(batch)
    assert first.manifest() == second.manifest()
    assert {stored.name: stored.generation for stored in there.data.list("batch/one/shards/")} == before
    assert not there.rows(second).duplicated(subset=list(there.house.services.problem.key)).any()


def test_a_run_that_broke_off_goes_on_where_it_was_and_a_damaged_shard_is_made_again(
    there: There, monkeypatch: pytest.MonkeyPatch
) -> None:
    batch, real, seen = there.batch(), transforms.Write.process, []

    def breaks(self: Any, predicted: Any) -> Any:
        seen.append(predicted.piece.split)
        if len(seen) > 3:
            raise OSError("killed (injected)")
        yield from real(self, predicted)

    with monkeypatch.context() as patch:
        patch.setattr(transforms.Write, "process", breaks)
        with pytest.raises(BatchError, match="Write raised OSError: killed"):
            there.run(batch)
    ledger, plan, todo = batch_predict.prepare(there.settings, batch)
    assert len(todo) == len(plan.splits) - 3
    broken = ledger.pieces()[0].shard
    assert broken is not None
    there.data.put(f"batch/one/{broken.name}", b"not what was written")
    assert len(batch_predict.prepare(there.settings, batch)[2]) == len(plan.splits) - 2
    found = there.run(batch)
    assert len(there.rows(found)) == there.keys.num_rows
    assert found.plan().at == plan.at, "one moment for all rows"


def test_a_bundle_that_is_tried_again_adds_no_row(there: There, monkeypatch: pytest.MonkeyPatch) -> None:
    real = transforms.Write.process

    def twice(self: Any, predicted: Any) -> Any:
        first, second = list(real(self, predicted)), list(real(self, predicted))
        assert first == second, "the note that stands is the first one's"
        yield from first

    with monkeypatch.context() as patch:
        patch.setattr(transforms.Write, "process", twice)
        found = there.run(there.batch())
    assert len(there.rows(found)) == found.manifest().rows == there.keys.num_rows
    assert len(list(there.data.list("batch/one/shards/"))) == 2 * len(found.manifest().shards), "orphans, unlisted"


def test_other_keys_in_the_same_place_are_another_batch(there: There) -> None:
    there.run(there.batch())
    fewer = there.run(there.batch(keys=there.keys.slice(0, 30)))
    assert len(there.rows(fewer)) == fewer.manifest().rows == 30


def test_a_worker_of_a_batch_whose_place_was_taken_notes_nothing_there(there: There) -> None:
    first = there.batch()
    late = there.run(first)
    pieces = late.pieces()
    fewer = there.run(there.batch(keys=there.keys.slice(0, 30)))
    late.note(pieces[-1])
    assert len(fewer.pieces()) == 2
    assert fewer.commit().rows == 30
    with pytest.raises(ArtifactError, match="another batch's by now"):
        late.commit()


def test_the_manifest_is_not_written_while_a_split_is_missing(there: There) -> None:
    batch = there.batch()
    ledger, plan, _ = batch_predict.prepare(there.settings, batch)
    with pytest.raises(ArtifactError, match=f"{len(plan.splits)} of {len(plan.splits)} splits have no prediction"):
        ledger.commit()


def test_the_module_runs_by_hand(there: There, capsys: pytest.CaptureFixture[str]) -> None:
    assert batch_predict.main([]) == 2
    assert "set -a" in capsys.readouterr().out
    batch = there.batch()
    assert batch_predict.main([there.version, batch.place, *(source.uri for source in batch.inputs)]) == 0
    assert f"{there.keys.num_rows:,} rows" in capsys.readouterr().out
