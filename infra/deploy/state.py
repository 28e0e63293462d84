# SPDX-License-Identifier: Apache-2.0
"""The bucket that Terraform's state lies in: made before Terraform runs, since Terraform cannot keep it in itself."""

from __future__ import annotations

from typing import Any

from dropfit.errors import NotFound, Refused
from dropfit.rest import Api

from .environment import Environment
from .stages import Tell
from .terraform import PREFIX

URL = "https://storage.googleapis.com/storage/v1"
STATES = 50
"""Older states that are kept; each deployment writes a few."""
WEEK = 7 * 86_400


def find(environment: Environment, api: Api) -> dict[str, Any] | None:
    """The bucket as storage describes it, None when there is none.

    Raises:
        Refused: when somebody else has a bucket of that name.
    """
    name = environment.bucket("state")
    try:
        found = api.get(f"{URL}/b/{name}")
    except NotFound:
        return None
    except Refused as refusal:
        raise Refused(f"gs://{name} is there, and not for you to read: {refusal}. {OTHER}") from refusal
    listed = api.get(f"{URL}/b", {"project": environment.project, "prefix": name})
    if name not in {str(bucket["name"]) for bucket in listed.get("items", ())}:
        raise Refused(f"gs://{name} belongs to another project than {environment.project}. {OTHER}")
    return found


OTHER = (
    "Names of buckets are unique in the world: set another `name` in the tfvars, and nothing of theirs is touched."
)


def ensure(environment: Environment, api: Api, tell: Tell) -> None:
    """Make the bucket when it is not there, and say where one that is there protects less than ours would.

    Raises:
        Refused: when it is somebody else's, or may not be made.
        Unavailable: when storage does not answer.
    """
    name = environment.bucket("state")
    found = find(environment, api)
    if found is None:
        try:
            api.send("POST", f"{URL}/b", params={"project": environment.project}, json=_wanted(environment))
        except Refused:
            if find(environment, api) is None:  # else an answer got lost, or a colleague was faster
                raise
        tell(f"gs://{name} made")
        return
    tell(f"gs://{name} is there")
    weak = weaknesses(environment, found)
    if weak:
        tell(f"it protects the state less than it should: {', '.join(weak)}. To mend it: `{_mend(name)}`")


def holds_state(environment: Environment, api: Api) -> bool:
    """Whether anything was ever deployed from here.

    Raises:
        Refused: when the bucket is somebody else's.
    """
    if find(environment, api) is None:
        return False
    try:
        api.get(f"{URL}/b/{environment.bucket('state')}/o/{PREFIX}%2Fdefault.tfstate")
    except NotFound:
        return False
    return True


def weaknesses(environment: Environment, found: dict[str, Any]) -> list[str]:
    """In which ways a bucket is less than what we would have made."""
    access = found.get("iamConfiguration", {})
    ways = {
        "no versioning": not found.get("versioning", {}).get("enabled"),
        "access by object lists": not access.get("uniformBucketLevelAccess", {}).get("enabled"),
        "public access is not prevented": access.get("publicAccessPrevention") != "enforced",
        "no soft delete": int(found.get("softDeletePolicy", {}).get("retentionDurationSeconds", 0)) < WEEK,
        f"it lies in {found.get('location', '?')}": str(found.get("location", "")).lower() != environment.region,
    }
    return [way for way, is_so in ways.items() if is_so]


def _mend(name: str) -> str:
    options = "--versioning --uniform-bucket-level-access --public-access-prevention --soft-delete-duration=7d"
    return f"gcloud storage buckets update gs://{name} {options}"


def _wanted(environment: Environment) -> dict[str, Any]:
    old = {"action": {"type": "Delete"}, "condition": {"isLive": False, "numNewerVersions": STATES}}
    return {
        "name": environment.bucket("state"),
        "location": environment.region,
        "storageClass": "STANDARD",
        "iamConfiguration": {
            "uniformBucketLevelAccess": {"enabled": True},
            "publicAccessPrevention": "enforced",
        },
        "versioning": {"enabled": True},
        "softDeletePolicy": {"retentionDurationSeconds": WEEK},
        "lifecycle": {"rule": [old]},
        "labels": {"app": "dropfit", "environment": environment.key, "deployment": environment.name},
    }
