# SPDX-License-Identifier: Apache-2.0
"""Resources of a plan by type: shared by the tests of what holds of all of them."""

from __future__ import annotations

from typing import Any

Resource = dict[str, Any]


def bucket(what: str) -> str:
    return f"acme-dev-dropfit-{what}"


def named(resources: list[Resource], *kinds: str) -> list[Resource]:
    picked = [resource for resource in resources if resource["type"] in kinds]
    assert picked, f"there is no {kinds}"
    return picked
