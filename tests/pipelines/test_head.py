# SPDX-License-Identifier: Apache-2.0
"""The snapshot that a real job leaves: the same numbers as the table in BigQuery, the most frequent keys first."""

from __future__ import annotations

import collections
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
import pandas as pd
import pytest

from beam_pipelines import head, intake, table
from dropfit import backoff, counting
from dropfit.keys import normal
from dropfit.manifest import Shards
from dropfit.operations import Desk
from dropfit.receipts import Receipts
from dropfit.records import Row
from dropfit.runs import latest
from dropfit.snapshot import Snapshot
from dropfit.warehouse import Warehouse

House = Any
Make = Callable[..., House]


class Left(NamedTuple):
    """What a job left of the served version.

    Attributes:
        there: the deployment.
        version: served.
        snapshot: opened as serving opens it.
        table: BigQuery's rows by key.
        counts: key -> accepted rows.
    """

    there: House
    version: str
    snapshot: Snapshot
    table: dict[str, dict[str, Any]]
    counts: dict[str, int]


def text(row: dict[str, Any], names: Any) -> str:
    return "\t".join(normal(row[name]) for name in names)


def left(there: House, folder: Path) -> Left:
    pointer, key = there.registry.current().pointer, there.services.problem.key
    warehouse = Warehouse(there.settings)
    rows = [dict(r.items()) for r in warehouse.query(f"SELECT * FROM `{warehouse.name(pointer.table)}`", {})]
    accepted, _ = intake.accepted_rows(there.services, there.receipts.all())
    columns = [accepted[name].tolist() for name in key]
    counts = collections.Counter("\t".join(map(normal, values)) for values in zip(*columns, strict=True))
    opened = Snapshot(there.registry.fetch_artifact(pointer.snapshot, folder), unlink=True)
    return Left(there, pointer.version, opened, {text(r, key): r for r in rows}, counts)


def as_row(row: dict[str, Any]) -> Row:
    """What the snapshot must say of a row of the table."""
    fired = tuple(row["policy"].split(",")) if row["policy"] else ()
    return Row(row["prediction"], fired, tuple(share["probability"] for share in row["probabilities"]))


@pytest.fixture
def made(house: Make, penguins: list[Path], tmp_path: Path) -> Left:
    there = house()
    there.upload("a.csv", penguins[0])
    there.work()
    return left(there, tmp_path)


def test_every_row_of_the_table_is_in_the_snapshot_with_the_same_numbers(made: Left) -> None:
    assert len(made.snapshot) == len(made.table) == len(made.counts) > 100
    for key, row in made.table.items():
        assert made.snapshot.get(key) == as_row(row)


def test_every_group_is_the_weighted_mean_of_the_tables_rows(made: Left) -> None:
    problem = made.there.services.problem
    classes = made.there.registry.manifest(made.version).classes
    for level in problem.backoff:
        groups = collections.defaultdict(list)
        for key, row in made.table.items():
            groups[backoff.group_key([row[name] for name in level])].append((made.counts[key], as_row(row)))
        assert len(groups) > 1 or level == ()
        for group, members in groups.items():
            found = made.snapshot.group(group)
            total = sum(count for count, _ in members)
            means = [sum(n * row.probabilities[c] for n, row in members) / total for c in range(len(classes))]
            assert found is not None
            assert found.probabilities == pytest.approx(means, abs=1e-12)
            assert found.value == classes[found.probabilities.index(max(found.probabilities))]
    assert made.snapshot.group("1\tAtlantis") is None


def test_the_pointer_the_mark_and_the_run_say_the_same_of_it(made: Left) -> None:
    completed = made.there.registry.completed(made.version)
    assert completed.snapshot == made.there.registry.current().pointer.snapshot
    assert (completed.keys, completed.rows) == (len(made.snapshot), len(made.table))
    (run,) = latest(made.there.buckets.data, 5)
    (told,) = [step.detail for step in run.steps if step.name == "table"]
    assert told["universe"]["keys"] == told["universe"]["seen"] == completed.rows
    assert told["universe"]["counted"] == sum(made.counts.values())
    assert told["snapshot"] == {
        "keys": completed.keys,
        "left_out": 0,
        "groups": completed.groups,
        "bytes": completed.snapshot.size,
    }


def test_the_same_shards_give_the_same_file_whatever_their_order(made: Left) -> None:
    services, data = made.there.services, made.there.buckets.data
    manifest = made.there.registry.manifest(made.version)
    shards = msgspec.json.decode(data.read(f"tables/{made.version}/manifest.json"), type=Shards)
    backwards = msgspec.structs.replace(shards, shards=shards.shards[::-1])
    accepted, _ = intake.accepted_rows(services, made.there.receipts.all())
    again, _ = head.write(services, manifest, backwards, counting.of_rows(services.problem, accepted))
    assert again == made.there.registry.completed(made.version).snapshot


def test_a_bounded_snapshot_holds_the_most_frequent_keys(house: Make, penguins: list[Path], tmp_path: Path) -> None:
    there = house(DROPFIT_SNAPSHOT_BYTES="4096")
    rows = pd.read_csv(penguins[0])
    twins = rows[rows.index % 5 == 0]
    more = [twins.assign(**{"Sample Number": twins["Sample Number"] + 1000 * turn}) for turn in (1, 2)]
    there.upload("a.csv", pd.concat([rows, *more]).to_csv(index=False).encode())
    there.work()
    found = left(there, tmp_path)
    completed = there.registry.completed(found.version)
    assert completed.snapshot.size <= 4096
    assert 0 < completed.keys == len(found.snapshot) < completed.rows
    held = [found.counts[key] for key, _ in found.snapshot.rows()]
    out = [count for key, count in found.counts.items() if found.snapshot.get(key) is None]
    assert min(held) >= max(out)
    assert max(held) > min(out), "the keys are not all alike"


def test_a_job_that_was_killed_before_its_mark_is_resumed_to_the_same_snapshot(
    house: Make, penguins: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    there = house()
    receipt = there.upload("a.csv", penguins[0])
    with monkeypatch.context() as patch:
        patch.setattr(type(there.registry), "complete", lambda *given: (_ for _ in ()).throw(SystemExit("killed")))
        with pytest.raises(SystemExit):
            there.work()
    (before,) = [s.name for s in there.buckets.models.list("versions/") if "/snapshot-" in s.name]
    there.work()
    assert there.outcome(receipt).state == "promoted"
    (after,) = [s.name for s in there.buckets.models.list("versions/") if "/snapshot-" in s.name]
    assert before == after == there.registry.current().pointer.snapshot.name
    assert len(left(there, tmp_path).snapshot) > 100


def test_a_snapshot_that_was_damaged_before_the_promotion_is_made_again(
    house: Make, penguins: list[Path], tmp_path: Path
) -> None:
    there = house(DROPFIT_PUBLISH="hold")
    receipt = there.upload("a.csv", penguins[0])
    there.work()
    version = there.outcome(receipt).version
    completed = there.registry.completed(version)
    there.buckets.models.put(completed.snapshot.name, b"something else")
    manifest = there.registry.manifest(version)
    rows, _ = intake.accepted_rows(there.services, there.receipts.all())
    again = table.fill(there.services, manifest, rows, there.registry.current())
    assert again.snapshot == completed.snapshot
    there.registry.prove_artifact(again.snapshot)


@pytest.mark.verify
def test_a_version_from_before_there_were_snapshots_is_rolled_back_to(
    house: Make, penguins: list[Path], tmp_path: Path
) -> None:
    there = house()
    for season, version in zip((0, 1), ("first", "second"), strict=True):
        there.upload(f"{version}.csv", penguins[season])
        there.work()
    pointer = there.registry.current().pointer
    old = there.registry.completed(pointer.previous)
    there.registry.complete(msgspec.structs.replace(old, snapshot=None, keys=0, groups=0))
    trail = tuple(msgspec.structs.replace(s, snapshot=None) for s in pointer.trail)
    there.buckets.models.put("current.json", msgspec.json.encode(msgspec.structs.replace(pointer, trail=trail)))
    desk = Desk(there.registry, Receipts(there.buckets.data), Warehouse(there.settings), "ann")
    moved = desk.rollback()
    assert (moved.pointer.version, moved.pointer.snapshot) == (old.version, None)
    assert desk.rollback(pointer.version).pointer.snapshot == pointer.snapshot
