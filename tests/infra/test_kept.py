# SPDX-License-Identifier: Apache-2.0
"""What is kept, and for how long: objects, what was overwritten or deleted, images."""

from __future__ import annotations

from typing import Any, NamedTuple

import pytest

pytestmark = pytest.mark.infra
DAY = 86_400


class Kept(NamedTuple):
    """How a bucket keeps what is in it.

    Attributes:
        soft: days in which a deleted object can be brought back.
        versions: whether what is overwritten stays.
        rules: what is deleted: the condition's fields that are set.
        goes: whether destroying the bucket destroys what is in it.
    """

    soft: int
    versions: bool
    rules: list[dict[str, Any]]
    goes: bool


BUCKETS = {
    "landing": Kept(30, False, [], False),
    "data": Kept(7, False, [{"age": 14, "matches_prefix": ["beam/", "batch/"]}], False),
    "models": Kept(7, True, [{"days_since_noncurrent_time": 90, "with_state": "ARCHIVED"}], False),
    "source": Kept(7, True, [{"days_since_noncurrent_time": 30, "with_state": "ARCHIVED"}], True),
}
FIELDS = ("age", "matches_prefix", "days_since_noncurrent_time", "with_state", "num_newer_versions", "created_before")


@pytest.mark.parametrize("what", BUCKETS)
def test_a_bucket_keeps_what_is_in_it_for_so_long(what: str, resources: list[dict[str, Any]]) -> None:
    (made,) = [r["values"] for r in resources if r["address"] == f"google_storage_bucket.{what}"]
    rules = []
    for rule in made["lifecycle_rule"]:
        assert [action["type"] for action in rule["action"]] == ["Delete"]
        (condition,) = rule["condition"]
        rules.append({field: condition[field] for field in FIELDS if condition.get(field)})
    found = Kept(
        made["soft_delete_policy"][0]["retention_duration_seconds"] // DAY,
        any(each["enabled"] for each in made["versioning"]),
        rules,
        made["force_destroy"],
    )
    assert found == BUCKETS[what]


def test_ten_images_of_each_stay_and_older_ones_go(resources: list[dict[str, Any]]) -> None:
    (registry,) = [r["values"] for r in resources if r["type"] == "google_artifact_registry_repository"]
    policies = {policy["action"]: policy for policy in registry["cleanup_policies"]}
    assert len(policies) == len(registry["cleanup_policies"]) == 2
    assert policies["KEEP"]["most_recent_versions"][0]["keep_count"] == 10
    (old,) = policies["DELETE"]["condition"]
    assert (old["tag_state"], old["older_than"]) == ("ANY", f"{30 * DAY}s")
    assert not registry.get("cleanup_policy_dry_run")


def test_a_dataset_goes_with_its_tables_only_when_somebody_says_so(resources: list[dict[str, Any]]) -> None:
    (dataset,) = [r["values"] for r in resources if r["type"] == "google_bigquery_dataset"]
    assert dataset["delete_contents_on_destroy"] is False
    assert not dataset.get("default_table_expiration_ms")
