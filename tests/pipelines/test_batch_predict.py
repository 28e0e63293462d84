# SPDX-License-Identifier: Apache-2.0
"""Batch prediction on Beam's DirectRunner, against the storage emulator."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest

from beam_pipelines import batch_predict
from dropfit import version
from dropfit.ingest import from_table

House = Any


@pytest.fixture
def there(house: Callable[..., House], penguins: list[Path]) -> House:
    """A deployment with one served version, whose keys lie in the data bucket."""
    made = house()
    made.upload("a.csv", penguins[0])
    made.work()
    return made


def keys_of(there: House, served: str) -> tuple[str, Any]:
    name = f"tables/{served}/keys.parquet"
    return there.buckets.data.uri(name), pq.read_table(io.BytesIO(there.buckets.data.read(name)))


def shards(there: House, found: batch_predict.Shards) -> pd.DataFrame:
    parts = [pd.read_parquet(io.BytesIO(there.buckets.data.read(shard.name))) for shard in found.shards]
    return pd.concat(parts, ignore_index=True)


def test_every_key_has_the_prediction_the_version_gives_it(there: House) -> None:
    served = there.registry.current().pointer.version
    uri, keys = keys_of(there, served)
    rows = shards(there, batch_predict.run(uri, there.settings, served))
    scorer = version.load(there.registry, there.services.problem, served).scorer
    assert list(rows["prediction"]) == list(scorer.score(from_table(keys)).values)
    assert set(rows["model_version"]) == {served}


def test_a_second_run_replaces_the_list_and_repeats_no_row(there: House) -> None:
    served = there.registry.current().pointer.version
    uri, keys = keys_of(there, served)
    first = batch_predict.run(uri, there.settings, served)
    second = batch_predict.run(uri, there.settings, served)
    assert first.rows == second.rows == keys.num_rows
    assert not {s.name for s in first.shards} & {s.name for s in second.shards}
    listed = msgspec.json.decode(there.buckets.data.read(f"tables/{served}/manifest.json"), type=batch_predict.Shards)
    assert listed == second
    assert not shards(there, listed).duplicated(subset=list(there.services.problem.key)).any()


def test_many_row_groups_become_as_many_shards_and_lose_no_row(there: House, tmp_path: Path) -> None:
    served = there.registry.current().pointer.version
    _, keys = keys_of(there, served)
    pq.write_table(keys, tmp_path / "keys.parquet", row_group_size=25)
    found = batch_predict.run(str(tmp_path / "keys.parquet"), there.settings, served)
    assert found.rows == keys.num_rows == len(shards(there, found))
    assert len(found.shards) == np.ceil(keys.num_rows / 25)


def test_the_module_runs_by_hand(there: House, capsys: pytest.CaptureFixture[str]) -> None:
    served = there.registry.current().pointer.version
    uri, keys = keys_of(there, served)
    assert batch_predict.main([]) == 2
    assert "set -a" in capsys.readouterr().out
    assert batch_predict.main([served, uri]) == 0
    assert f"{keys.num_rows:,} rows" in capsys.readouterr().out
