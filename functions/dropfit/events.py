# SPDX-License-Identifier: Apache-2.0
"""Storage events as Eventarc sends them, told from what only looks like one.

The form: cloud.google.com/eventarc/docs/cloudevents, type google.cloud.storage.object.v1.finalized.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from .errors import BadRequest
from .receipts import UploadedObject

FINALIZED = "google.cloud.storage.object.v1.finalized"


def source_of(bucket: str) -> str:
    """The CloudEvent source of a bucket's events."""
    return f"//storage.googleapis.com/projects/_/buckets/{bucket}"


def uploaded_object(attributes: Mapping[str, Any], data: Any, landing: str) -> UploadedObject:
    """The object generation that an event announces.

    Args:
        attributes: the CloudEvent's attributes.
        data: its payload, the object's resource.
        landing: the only bucket whose events are ours.

    Raises:
        BadRequest: when type, source, bucket or payload are not those of a finalized object in our bucket.
    """
    if attributes.get("type") != FINALIZED:
        raise BadRequest("not an event of a finalized object", {"type": "unexpected"}, 403)
    if attributes.get("source") != source_of(landing):
        raise BadRequest("not an event of the landing bucket", {"source": "unexpected"}, 403)
    if not isinstance(data, Mapping) or data.get("bucket") != landing:
        raise BadRequest("the object is not in the landing bucket", {"data.bucket": "unexpected"}, 403)
    name, generation = data.get("name"), str(data.get("generation", ""))
    if (
        not isinstance(name, str)
        or not name
        or not generation.isascii()
        or not generation.isdigit()
        or len(generation) > 19
    ):
        raise BadRequest("the payload names no object generation", {"data": "unexpected"}, 403)
    return UploadedObject(landing, name, int(generation))
