# SPDX-License-Identifier: Apache-2.0
"""gc removes what nothing refers to, and never what is served, waits, may be rolled back to, or is young."""

from __future__ import annotations

import datetime as dt
from typing import Any

import msgspec
import pytest
from fake_bucket import FakeBucket
from fakes import completed, manifest, settings

from dropfit import attempts, documents
from dropfit.collect import Collector, Orphan
from dropfit.errors import ArtifactError
from dropfit.manifest import Artifact, Input, Shards, table_name
from dropfit.pointer import CURRENT
from dropfit.receipts import Accepted, Receipts, UploadedObject, accepted_name
from dropfit.registry import Registry
from dropfit.storage import Buckets
from dropfit.verdict import Report

WEEK = 7 * 86_400.0
OLD = WEEK + 60


class Tables:
    """The dataset's tables."""

    def __init__(self) -> None:
        self.made: dict[str, dt.datetime] = {}

    def tables(self) -> dict[str, dt.datetime]:
        return dict(self.made)

    def drop(self, table: str) -> None:
        self.made.pop(table, None)


class Attic:
    """A deployment with a history: v1 to v9 were served, each an hour after the other, all of it old."""

    def __init__(self) -> None:
        self.landing, self.data, self.models = FakeBucket("landing"), FakeBucket("data"), FakeBucket("models")
        self.buckets = Buckets(self.landing, self.data, self.models)  # type: ignore[arg-type]
        self.registry = Registry(self.models)  # type: ignore[arg-type]
        self.receipts = Receipts(self.data)  # type: ignore[arg-type]
        self.tables = Tables()
        self.digests: dict[str, str] = {}
        for number in range(1, 10):
            self.make(f"v{number}")
            head = self.registry.completed(f"v{number}").snapshot
            self.registry.promote(f"v{number}", table_name(f"v{number}"), self.registry.current(), snapshot=head)
        self.age()

    def make(self, version: str, state: Any = "promoted", passed: bool = True, finished: bool = True) -> None:
        model = self.registry.add_artifact(version, "model", ".onnx", b"weights of " + version.encode())
        if not finished:
            return
        encoding = self.registry.add_artifact(version, "encoding", ".json", b"{}")
        receipt, _ = self.receipts.register(UploadedObject("landing", f"{version}.csv", len(self.digests) + 1))
        self.digests[version] = digest = f"{len(self.digests):064x}"[::-1]
        accepted = Accepted(rows=3, rejected=0, sha256=digest, size=4)
        self.receipts.advance(receipt, state=state, version=version, accepted=accepted)
        self.data.put(accepted_name(receipt.id, digest), b"rows")
        used = (Input(f"{version}.csv", 1, receipt.id, 3, digest),)
        self.registry.publish(manifest(version, model=model, encoding=encoding, inputs=used))
        self.registry.judge(
            Report(version=version, passed=passed, reasons=("so",), judged_at=dt.datetime.now(dt.UTC))
        )
        self.models.put(f"versions/{version}/report.md", b"# so")
        if passed:
            shard = self.shard(version)
            listed = Shards(version=version, rows=3, shards=(Artifact(shard, 1, ""),))
            self.data.put(f"tables/{version}/manifest.json", documents.encode(listed))
            self.tables.made[table_name(version)] = dt.datetime.now(dt.UTC)
            head = self.registry.add_artifact(version, "snapshot", ".head", b"head of " + version.encode())
            self.registry.complete(completed(version, table_name(version), 3, head, 3, 1))

    def shard(self, version: str) -> str:
        name = f"tables/{version}/shards/{len(list(self.data.list())):04x}.parquet"
        self.data.put(name, b"shard")
        return name

    def age(self, seconds: float = OLD) -> None:
        for bucket in (self.data, self.models):
            for stored in list(bucket.list()):
                bucket.age(stored.name, seconds)
        self.tables.made = {name: made - dt.timedelta(seconds=seconds) for name, made in self.tables.made.items()}

    def collector(self, keep: int = 3) -> Collector:
        kept = settings(keep_versions=keep, gc_grace_seconds=WEEK)
        return Collector(kept, self.buckets, self.tables)  # type: ignore[arg-type]

    def collect(self, keep: int = 3) -> list[Orphan]:
        collector = self.collector(keep)
        return [orphan for orphan in collector.find() if collector.remove(orphan)]

    def whole(self, version: str) -> bool:
        """Whether the version could be served at once."""
        made = self.registry.manifest(version)
        try:
            completed = self.registry.completed(version)
            files = [self.registry.read_artifact(a) for a in (made.model, made.encoding, completed.snapshot)]
        except Exception:
            return False
        return bool(files) and completed.table in self.tables.made


@pytest.fixture
def attic() -> Attic:
    return Attic()


def test_the_served_version_and_the_last_few_stay_whole_and_the_older_ones_go(attic: Attic) -> None:
    attic.collect(keep=3)
    assert [v for v in attic.registry.ids() if attic.whole(v)] == ["v6", "v7", "v8", "v9"]
    assert {table_name(v) for v in ("v6", "v7", "v8", "v9")} == set(attic.tables.made)


def test_manifests_and_reports_of_removed_versions_stay(attic: Attic) -> None:
    attic.collect()
    assert len(attic.registry.ids()) == 9
    assert attic.registry.report("v1").reasons == ("so",)
    assert attic.models.read("versions/v1/report.md") == b"# so"


def test_done_twice_it_finds_nothing_the_second_time(attic: Attic) -> None:
    assert attic.collect()
    assert attic.collect() == []


def test_what_is_younger_than_the_grace_period_stays(attic: Attic) -> None:
    attic.make("v0")
    attic.make("unfinished", finished=False)
    attic.shard("v9")
    found = attic.collect()
    assert not [o for o in found if o.name in ("v0", "unfinished", table_name("v0")) or "v9" in o.name]
    assert attic.whole("v0")


def test_a_version_that_waits_for_a_person_or_is_in_training_stays(attic: Attic) -> None:
    attic.make("held", state="held")
    attic.make("training", state="accepted")
    attempts.begin(attic.data, "training", 0)  # type: ignore[arg-type]
    attic.age()
    attic.collect()
    assert attic.whole("held")
    assert attic.whole("training")


def test_the_newest_versions_that_could_still_be_approved_stay(attic: Attic) -> None:
    for number in range(5):
        attic.make(f"w{number}", state="kept")  # passed, and the pointer was moved meanwhile
    attic.age()
    attic.collect(keep=3)
    assert [f"w{n}" for n in range(5) if attic.whole(f"w{n}")] == ["w2", "w3", "w4"]


def test_a_version_that_was_kept_or_never_finished_goes_and_its_report_stays(attic: Attic) -> None:
    attic.make("kept", state="kept", passed=False)
    attic.make("unfinished", finished=False)
    attic.age()
    attic.collect()
    left = {s.name for s in attic.models.list("versions/")}
    assert not [name for name in left if name.startswith("versions/unfinished/")]
    assert {n for n in left if n.startswith("versions/kept/")} == {
        f"versions/kept/{file}" for file in ("manifest.json", "report.json", "report.md")
    }


def refreshed(attic: Attic, version: str) -> str:
    """The version's table was filled anew; returns the new one."""
    table = table_name(version, "r1")
    attic.tables.made[table] = dt.datetime.now(dt.UTC)
    head = attic.registry.add_artifact(version, "snapshot", ".head", b"newer head of " + version.encode())
    attic.registry.refill(table, attic.registry.current(), head)
    attic.registry.complete(completed(version, table, 4, head, 4, 1))
    return table


def test_of_a_version_that_was_refreshed_the_newer_table_stays_and_the_one_before_goes(attic: Attic) -> None:
    table = refreshed(attic, "v9")
    for name in ("v10", "v11"):  # and stays while it may be rolled back to
        attic.make(name)
        head = attic.registry.completed(name).snapshot
        attic.registry.promote(name, table_name(name), attic.registry.current(), snapshot=head)
    attic.age()
    attic.collect(keep=3)
    assert table in attic.tables.made
    assert table_name("v9") not in attic.tables.made
    assert {v for v in attic.registry.ids() if attic.whole(v)} == {"v8", "v9", "v10", "v11"}


def test_a_table_that_the_pointer_names_stays_although_its_job_died_before_it_said_so(attic: Attic) -> None:
    before = attic.registry.completed("v9")
    table = refreshed(attic, "v9")
    attic.registry.complete(before)
    attic.age()
    attic.collect()
    assert {table, table_name("v9")} <= set(attic.tables.made)


def test_a_table_without_a_version_goes_and_foreign_tables_are_not_listed(attic: Attic) -> None:
    attic.tables.made["predictions__lost"] = dt.datetime(2013, 1, 1, tzinfo=dt.UTC)
    assert "predictions__lost" in [o.table for o in attic.collect()]
    assert "predictions__lost" not in attic.tables.made


def test_of_a_served_versions_shards_those_that_no_list_names_go(attic: Attic) -> None:
    stale = attic.shard("v9")
    attic.age()
    attic.collect()
    left = {s.name for s in attic.data.list("tables/v9/")}
    assert stale not in left
    assert len([name for name in left if "/shards/" in name]) == 1


def test_snapshots_of_a_needed_version_that_nothing_names_go_and_those_that_something_names_stay(
    attic: Attic,
) -> None:
    stale = attic.registry.add_artifact("v9", "snapshot", ".head", b"made and never named")
    served = attic.registry.completed("v8").snapshot
    newer = attic.registry.add_artifact("v8", "snapshot", ".head", b"made since v8 was served")
    attic.registry.complete(completed("v8", table_name("v8"), 3, newer))
    attic.age()
    young = attic.registry.add_artifact("v9", "snapshot", ".head", b"made just now")
    removed = [(o.kind, o.name) for o in attic.collect() if "v9" in o.name or "v8" in o.name]
    assert removed == [("snapshot", stale.name)]
    assert served is not None
    left = {s.name for s in attic.models.list("versions/")}
    assert {served.name, newer.name, young.name} <= left
    assert attic.whole("v8")
    assert attic.whole("v9")


def test_accepted_rows_that_a_receipt_or_any_manifest_names_stay_and_others_go(attic: Attic) -> None:
    attic.data.put("accepted/dead-0123456789abcdef.parquet", b"rows")
    attic.data.put("accepted/dead-0123456789abcdef.profile.json", b"{}")
    receipt = attic.receipts.all()[0]
    again = msgspec.structs.replace(receipt.accepted, sha256="f" * 64)
    attic.receipts.advance(receipt, accepted=again)  # read again since: the manifest alone names the old rows
    attic.data.put(accepted_name(receipt.id, "f" * 64), b"rows")
    attic.age()
    before = {s.name for s in attic.data.list("accepted/")}
    attic.collect()
    assert before - {s.name for s in attic.data.list("accepted/")} == {
        "accepted/dead-0123456789abcdef.parquet",
        "accepted/dead-0123456789abcdef.profile.json",
    }


def test_with_a_broken_pointer_or_manifest_nothing_is_removed(attic: Attic) -> None:
    before = {s.name for s in attic.models.list()}
    attic.models.put(CURRENT, b"{")
    with pytest.raises(ArtifactError):
        attic.collect()
    assert {s.name for s in attic.models.list()} == before


def test_a_version_that_came_into_use_since_it_was_found_stays_whole(attic: Attic) -> None:
    collector = attic.collector()
    orphans = collector.find()
    assert "v1" in [o.name for o in orphans]
    attic.registry.move(
        next(s for s in attic.registry.current().pointer.trail if s.version == "v1"),  # type: ignore[union-attr]
        attic.registry.current(),
        "ann",
    )
    removed = [o for o in orphans if collector.remove(o)]
    assert not [o for o in removed if o.name in ("v1", table_name("v1"))]
    assert attic.whole("v1")
    assert attic.registry.completed("v1").keys == 3


def test_uploads_are_never_touched(attic: Attic) -> None:
    attic.landing.put("v1.csv", b"rows")
    attic.landing.age("v1.csv", OLD * 10)
    attic.collect()
    assert attic.landing.read("v1.csv") == b"rows"


def test_work_of_a_batch_that_broke_off_goes_when_nobody_has_gone_on_with_it() -> None:
    attic = Attic()
    attic.data.put("batch/old/plan.json", b"{}")
    attic.age()
    attic.data.put("batch/young/plan.json", b"{}")
    found = [orphan for orphan in attic.collector().find() if orphan.kind == "batch"]
    assert [orphan.name for orphan in found] == ["old"]
