# SPDX-License-Identifier: Apache-2.0
"""Every right that a plan gives, whatever the resource that gives it: who may do what, and on what."""

from __future__ import annotations

import re
from collections import defaultdict
from typing import Any, NamedTuple

WHERE = ("bucket", "dataset_id", "repository", "topic", "subscription", "service_account_id", "name", "project")
"""What an IAM resource names the resource by, the most telling first."""


class Grant(NamedTuple):
    """One member's role on one resource.

    Attributes:
        kind: of resource, such as `storage_bucket`.
        where: its name.
        role: without `roles/`.
        member: as IAM writes it.
        condition: the expression, empty when there is none.
        address: of the resource that says so.
    """

    kind: str
    where: str
    role: str
    member: str
    condition: str
    address: str

    @property
    def told(self) -> str:
        """`kind where role`, with `if ...` behind it when a condition restricts it."""
        return f"{self.kind} {self.where}: {self.role}{' if ...' if self.condition else ''}"


def grants(resources: list[dict[str, Any]]) -> list[Grant]:
    """What the plan's IAM resources grant, each of which has to name its member."""
    found = []
    for resource in resources:
        if "_iam_" not in resource["type"]:
            continue
        address, values = resource["address"], resource["values"]
        assert resource["type"].endswith("_iam_member"), f"{address} overwrites what others have granted"
        assert values.get("member"), f"{address}: the plan does not know its member; write it with local.member"
        where = next(str(values[name]) for name in WHERE if values.get(name))
        kind = resource["type"].removeprefix("google_").removesuffix("_iam_member")
        condition = "".join(asked["expression"] for asked in values.get("condition") or ())
        role = values["role"].removeprefix("roles/")
        found.append(Grant(kind, where.rsplit("/", 1)[-1], role, values["member"], condition, address))
    return found


def by_member(found: list[Grant]) -> dict[str, set[str]]:
    """Member -> what it may do."""
    table = defaultdict(set)
    for grant in found:
        table[grant.member].add(grant.told)
    return dict(table)


def allowed_prefixes(condition: str, bucket: str) -> set[str]:
    """The names that a condition leaves of a bucket's objects, as IAM would evaluate it; all of it has to be that."""
    name = re.compile(rf'resource\.name\.startsWith\("projects/_/buckets/{re.escape(bucket)}/objects/([^"]*)"\)')
    parts = condition.split(" || ")
    found = [name.fullmatch(part) for part in parts]
    assert all(found), f"{condition} is more than prefixes of {bucket}"
    return {match[1] for match in found if match}
