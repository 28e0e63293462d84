# SPDX-License-Identifier: Apache-2.0
"""The head of a table, chosen from its shards: the most frequent keys that fit, with the table's own numbers."""

from __future__ import annotations

import collections
import datetime as dt
import io
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from fake_bucket import FakeBucket
from fakes import manifest, pots, settings, tea, universe_of
from hypothesis import given
from hypothesis import strategies as st

from beam_pipelines import head
from beam_pipelines.intake import Services
from dropfit import backoff, tables
from dropfit.contract import Label
from dropfit.encoding import Encoder, learn, sha256
from dropfit.errors import ArtifactError
from dropfit.keys import joined
from dropfit.manifest import Artifact, Manifest, Shards
from dropfit.receipts import Receipts
from dropfit.records import Row
from dropfit.registry import Registry
from dropfit.runtime import Scored
from dropfit.snapshot import Snapshot
from dropfit.storage import Buckets

AT = dt.datetime(2013, 2, 1, tzinfo=dt.UTC)
CLASSES = ("awful", "fair", "good")
VERDICT = Label(name="verdict", values=CLASSES)
LEVELS = (("leaf", "cup"), ("leaf",), ())


class Bench:
    """A table of `tea` in shards, some of its rows without a prediction.

    Args:
        seed: of everything random.
        cut: rows in a shard.
        room: bytes of the snapshot.
        target: what is predicted.
    """

    def __init__(self, seed: int, cut: int = 50, room: int = 64 * 1024, target: Any = None) -> None:
        chance = np.random.default_rng(seed)
        self.problem = tea(backoff=LEVELS, **({"target": target} if target else {}))
        self.data, self.models = FakeBucket("data"), FakeBucket("models")
        buckets = Buckets(FakeBucket("landing"), self.data, self.models)  # type: ignore[arg-type]
        self.registry = Registry(self.models)  # type: ignore[arg-type]
        self.services = Services(
            settings(snapshot_bytes=room), self.problem, buckets, Receipts(buckets.data), self.registry
        )
        self.manifest: Manifest = manifest("v1", self.problem, classes=CLASSES if target else ())
        accepted = pots(200, seed=seed)
        encoder = Encoder(self.problem.contract, learn(self.problem, accepted), self.problem.derive)
        self.universe, features = universe_of(self.problem.contract, accepted, encoder)
        keys = self.universe.axes.texts(self.universe.numbers)
        self.counts = dict(zip(keys, self.universe.counts.tolist(), strict=True))
        count = len(self.counts)
        null = chance.random(count) < 0.2
        shares = chance.dirichlet(np.ones(3), count) if target else None
        values = np.array(CLASSES, dtype=object)[shares.argmax(axis=1)] if target else chance.random(count)
        if target:
            shares[chance.random(count) < 0.1] = 0.0  # the policy denies every label; its fallback may answer
        values = np.where(null, None if target else np.nan, values)
        fired = [("abstain", "minimum") if gone else () for gone in null]
        arrow = tables.features_table(self.problem.contract, features)
        scored = Scored([None if v != v else v for v in values.tolist()], shares, fired)
        self.table = tables.rows_table(self.problem.contract, arrow, scored, CLASSES, "v1", AT)
        parts = [self.part(self.table.slice(begin, cut)) for begin in range(0, count, cut)]
        chance.shuffle(parts)
        self.shards = Shards(version="v1", rows=count, shards=tuple(parts))
        shown = shares.tolist() if target else [()] * count
        self.rows = {
            key: Row(value, rules, tuple(share) if any(share) else ())
            for key, value, rules, share in zip(self.counts, scored.values, fired, shown, strict=True)
        }

    def part(self, table: Any) -> Artifact:
        sink = io.BytesIO()
        pq.write_table(table, sink, compression="zstd")
        payload = sink.getvalue()
        stored = self.data.put(f"tables/v1/shards/{sha256(payload)[:8]}.parquet", payload)
        return Artifact(stored.name, len(payload), sha256(payload))

    def write(self) -> tuple[Artifact, Snapshot]:
        artifact, _ = head.write(self.services, self.manifest, self.shards, self.universe)
        with tempfile.TemporaryDirectory() as folder:
            return artifact, Snapshot(self.registry.fetch_artifact(artifact, Path(folder)), unlink=True)


@pytest.mark.parametrize("target", [None, VERDICT], ids=["number", "label"])
@given(seed=st.integers(0, 10_000), cut=st.integers(20, 300))
def test_every_key_is_in_the_snapshot_as_it_is_in_the_table(target: Any, seed: int, cut: int) -> None:
    bench = Bench(seed, cut, target=target)
    _, snapshot = bench.write()
    assert dict(snapshot.rows()) == bench.rows
    keys = {name: np.array(bench.table.column(name).to_pylist(), dtype=object) for name in bench.problem.key}
    assert set(joined(keys, bench.problem.key)) == set(bench.rows)


@given(seed=st.integers(0, 10_000), room=st.integers(4096, 5000))
def test_of_keys_that_do_not_all_fit_the_most_frequent_are_taken(seed: int, room: int) -> None:
    bench = Bench(seed, room=room, target=VERDICT)
    artifact, snapshot = bench.write()
    held = dict(snapshot.rows())
    assert artifact.size <= room
    assert all(bench.rows[key] == row for key, row in held.items())
    left_out = [count for key, count in bench.counts.items() if key not in held]
    assert held
    assert left_out
    assert min(bench.counts[key] for key in held) >= max(left_out)


@pytest.mark.parametrize("target", [None, VERDICT], ids=["number", "label"])
def test_the_groups_are_the_means_of_what_the_table_holds(target: Any) -> None:
    bench = Bench(3, target=target)
    _, snapshot = bench.write()
    groups: dict[str, list[tuple[int, Row]]] = collections.defaultdict(list)
    for level in LEVELS:
        for line, (key, row) in zip(bench.table.to_pylist(), bench.rows.items(), strict=True):
            if row.value is not None and (row.probabilities or not target):
                groups[backoff.group_key([line[name] for name in level])].append((bench.counts[key], row))
    assert {key for key, _ in snapshot.groups()} == set(groups)
    for group, members in groups.items():
        found, total = snapshot.group(group), sum(count for count, _ in members)
        assert found is not None
        if target:
            means = [sum(n * row.probabilities[c] for n, row in members) / total for c in range(3)]
            assert found.probabilities == pytest.approx(means)
        else:
            assert found.value == pytest.approx(sum(n * row.value for n, row in members) / total)  # type: ignore[misc]


@given(seed=st.integers(0, 10_000))
def test_shards_of_the_same_rows_give_the_same_bytes(seed: int) -> None:
    one, other = Bench(seed, 7), Bench(seed, 200)
    assert one.write()[0] == other.write()[0]


def test_probabilities_that_do_not_fit_into_memory_together_give_the_same_bytes(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    at_once = Bench(4, target=VERDICT).write()[0]
    monkeypatch.setattr(head, "AT_A_TIME", 1)  # a class at a time
    assert Bench(4, target=VERDICT).write()[0] == at_once


def test_a_text_that_is_coded_in_one_shard_and_plain_in_another_is_the_same() -> None:
    bench, coded = Bench(5, target=VERDICT), Bench(5, target=VERDICT)
    for name in ("leaf", "cup", "prediction", "policy"):
        place = coded.table.column_names.index(name)
        column = coded.table.column(name)
        if not pa.types.is_dictionary(column.type):
            coded.table = coded.table.set_column(place, name, column.dictionary_encode())
    half = coded.table.num_rows // 2
    parts = (coded.part(coded.table.slice(half)), bench.part(bench.table.slice(0, half)))
    coded.data.put(parts[1].name, bench.data.read(parts[1].name))
    coded.shards = Shards(version="v1", rows=bench.shards.rows, shards=parts)
    assert coded.write()[0] == bench.write()[0]


@pytest.mark.parametrize("change", ["a shard lost", "a shard twice"])
def test_shards_that_hold_other_rows_than_were_predicted_make_no_snapshot(change: str) -> None:
    bench = Bench(1)
    shards = bench.shards.shards
    bench.shards = Shards(
        version="v1", rows=bench.shards.rows, shards=shards[1:] if change == "a shard lost" else (*shards, shards[0])
    )
    with pytest.raises(ArtifactError, match=r"keys that were to be predicted: fill the table anew"):
        bench.write()
    assert list(bench.models.list()) == []


def test_a_shard_that_was_damaged_makes_no_snapshot() -> None:
    bench = Bench(1)
    name = bench.shards.shards[0].name
    bench.data.rot(name, bench.data.read(name)[:-1] + b"x")
    with pytest.raises(ArtifactError, match="not what was written"):
        bench.write()
    assert list(bench.models.list()) == []
