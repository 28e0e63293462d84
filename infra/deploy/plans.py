# SPDX-License-Identifier: Apache-2.0
"""A plan of Terraform's, as `terraform show -json` has it: what would become of each address."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import msgspec

Action = Literal["create", "update", "delete", "replace", "none"]
SAYS: dict[tuple[str, ...], Action] = {
    ("create",): "create",
    ("update",): "update",
    ("delete",): "delete",
    ("delete", "create"): "replace",
    ("create", "delete"): "replace",
}


class Change(msgspec.Struct, frozen=True):
    """What would become of one resource.

    Attributes:
        address: such as `google_storage_bucket.landing`.
        action: `none` also for what is only read or forgotten.
    """

    address: str
    action: Action

    @property
    def kind(self) -> str:
        """Type and name, without the index."""
        return self.address.partition("[")[0]


class Plan(msgspec.Struct, frozen=True):
    """A plan.

    Attributes:
        file: that `terraform apply` takes.
        changes: of every resource, those that stay as they are included.
        applyable: whether there is anything to do; a changed output alone counts.
    """

    file: Path
    changes: tuple[Change, ...]
    applyable: bool

    def of(self, *actions: Action) -> list[str]:
        """Addresses that the plan does one of these to."""
        return [change.address for change in self.changes if change.action in actions]

    @property
    def removed(self) -> set[str]:
        """Addresses whose present object would be gone."""
        return set(self.of("delete", "replace"))

    def touches(self, kinds: Mapping[str, str] | set[str]) -> bool:
        """Whether it does anything to a resource of these types and names."""
        return any(change.kind in kinds and change.action != "none" for change in self.changes)

    def summary(self) -> str:
        """How many of each, in a line."""
        counts = Counter(change.action for change in self.changes)
        words = {"create": "to add", "update": "to change", "replace": "to replace", "delete": "to destroy"}
        return ", ".join(f"{counts[action]} {word}" for action, word in words.items())  # type: ignore[index]


def read_plan(file: Path, shown: Mapping[str, Any]) -> Plan:
    """The plan in a file.

    Args:
        file: of the plan.
        shown: what `terraform show -json` says of it.
    """
    changes = tuple(
        Change(found["address"], SAYS.get(tuple(found["change"]["actions"]), "none"))
        for found in shown.get("resource_changes", ())
        if found.get("mode", "managed") == "managed"
    )
    moved = any(change.action != "none" for change in changes)
    return Plan(file, changes, bool(shown.get("applyable", moved)))
