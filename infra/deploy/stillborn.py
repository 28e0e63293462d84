# SPDX-License-Identifier: Apache-2.0
"""Functions and jobs that were made and never became ready: so that Terraform can make them anew.

Google's provider keeps such a one in the state as tainted, and Terraform wants to replace what is tainted. But its
protection against deletion was stored with it, and the provider heeds that. To take the mark off instead would leave
it as it is for good: what is there is what is wanted, and a plan has nothing to do.
"""

from __future__ import annotations

import json
from typing import Any

KINDS = ("google_cloud_run_v2_service", "google_cloud_run_v2_job")
"""They hold no data, and of these the provider leaves what it could not wait for."""


def found(stored: dict[str, Any]) -> list[str]:
    """Addresses of those that are tainted and protected.

    Args:
        stored: the state, as `terraform state pull` has it.
    """
    return [address for address, _ in _each(stored)]


def release(stored: dict[str, Any]) -> list[str]:
    """Take the protection off them, in the state alone: addresses.

    Args:
        stored: the state; changed, with its serial.
    """
    released = []
    for address, instance in _each(stored):
        instance["attributes"]["deletion_protection"] = False
        released.append(address)
    if released:
        stored["serial"] += 1
    return released


def _each(stored: dict[str, Any]) -> list[tuple[str, dict[str, Any]]]:
    return [
        (_address(resource, instance), instance)
        for resource in stored.get("resources", ())
        if resource["type"] in KINDS and resource.get("mode") == "managed"
        for instance in resource["instances"]
        if instance.get("status") == "tainted" and (instance.get("attributes") or {}).get("deletion_protection")
    ]


def _address(resource: dict[str, Any], instance: dict[str, Any]) -> str:
    index = f"[{json.dumps(instance['index_key'])}]" if "index_key" in instance else ""
    return f"{resource['type']}.{resource['name']}{index}"
