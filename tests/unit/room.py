# SPDX-License-Identifier: Apache-2.0
"""A deployment's versions in memory, for tests of what a person decides about them."""

from __future__ import annotations

import datetime as dt
from typing import Any

from fake_bucket import FakeBucket
from fakes import completed, manifest

from dropfit.errors import Unavailable
from dropfit.manifest import Artifact, Input, table_name
from dropfit.operations import Desk
from dropfit.receipts import Receipt, Receipts, UploadedObject
from dropfit.registry import Registry
from dropfit.verdict import Report


class Tables:
    """As much of a warehouse as a decision needs."""

    def __init__(self) -> None:
        self.there: set[str] = set()
        self.view = ""
        self.down = False

    def exists(self, table: str) -> bool:
        self._answer()
        return table in self.there

    def shown(self) -> str:
        self._answer()
        return self.view

    def point_view(self, table: str) -> None:
        self._answer()
        self.view = table

    def _answer(self) -> None:
        if self.down:
            raise Unavailable("BigQuery: 503")


class Room:
    """Three versions that were served one after the other, v3 now; v4 waits."""

    def __init__(self) -> None:
        self.models, self.data, self.tables = FakeBucket("models"), FakeBucket("data"), Tables()
        self.registry = Registry(self.models)  # type: ignore[arg-type]
        self.receipts = Receipts(self.data)  # type: ignore[arg-type]
        self.uploads: dict[str, Receipt] = {}
        for number in (1, 2, 3):
            self.make(f"v{number}")
            self.promote(f"v{number}")
        self.make("v4", champion="v3", state="held")

    def make(self, version: str, passed: bool = True, champion: str = "", state: str = "promoted") -> None:
        receipt, _ = self.receipts.register(UploadedObject("landing", f"{version}.csv", len(self.uploads) + 1))
        self.uploads[version] = self.receipts.advance(receipt, state=state, version=version)
        used = (Input(f"{version}.csv", receipt.object.generation, receipt.id, 10, ""),)
        model, encoding, probe = (
            self.registry.add_artifact(version, stem, ".bin", f"{stem} of {version}".encode())
            for stem in ("model", "encoding", "probe")
        )
        self.registry.publish(manifest(version, model=model, encoding=encoding, probe=probe, inputs=used))
        now = dt.datetime.now(dt.UTC)
        self.registry.judge(Report(version=version, passed=passed, reasons=("so",), judged_at=now, champion=champion))
        if passed:
            self.registry.complete(completed(version, table_name(version), 10, self.head(version), 5, 1))
            self.tables.there.add(table_name(version))

    def head(self, version: str) -> Artifact:
        """The version's snapshot."""
        return self.registry.add_artifact(version, "snapshot", ".head", f"head of {version}".encode())

    def promote(self, version: str) -> None:
        current, seal = self.registry.current(), self.registry.seal(version)
        self.registry.promote(version, table_name(version), current, "job", seal, self.head(version))
        self.tables.view = table_name(version)

    @property
    def desk(self) -> Desk:
        return Desk(self.registry, Receipts(self.data), self.tables, "ann")  # type: ignore[arg-type]

    @property
    def pointer(self) -> Any:
        return self.registry.current().pointer

    def state(self, version: str) -> str:
        return Receipts(self.data).get(self.uploads[version].id).state  # type: ignore[arg-type]
