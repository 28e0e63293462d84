# SPDX-License-Identifier: Apache-2.0
"""A storage notification, as Pub/Sub carries it -> the CloudEvent that Eventarc delivers.

Shapes: https://cloud.google.com/eventarc/docs/cloudevents and
https://github.com/googleapis/google-cloudevents (StorageObjectData); binary mode and the percent-encoding of
header values: section 3.1 of the CloudEvents HTTP protocol binding 1.0.2.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import datetime
from typing import Any
from urllib.parse import quote

FINALIZED = "google.cloud.storage.object.v1.finalized"
# Printable ASCII but space, double quote and percent.
_PLAIN = "".join(chr(code) for code in range(0x21, 0x7F) if chr(code) not in '"%')


def headers_and_body(
    message_id: str, attributes: Mapping[str, str], data: bytes, now: datetime
) -> tuple[dict[str, str], bytes]:
    """The HTTP headers and body of the event.

    Raises:
        ValueError: when the message is no notification of a new object.
    """
    if attributes.get("eventType") != "OBJECT_FINALIZE":
        raise ValueError(f"eventType {attributes.get('eventType')!r}")
    try:
        resource = _object_data(json.loads(data))
    except (KeyError, TypeError) as error:
        raise ValueError(f"no object resource: {error!r}") from error
    event = {
        "id": message_id,
        "specversion": "1.0",
        "type": FINALIZED,
        "source": f"//storage.googleapis.com/projects/_/buckets/{resource['bucket']}",
        "subject": f"objects/{resource['name']}",
        "time": attributes.get("eventTime") or now.isoformat(),
        "bucket": resource["bucket"],
    }
    headers = {f"ce-{name}": quote(value, safe=_PLAIN) for name, value in event.items()}
    return headers | {"content-type": "application/json"}, json.dumps(resource).encode()


def _object_data(resource: dict[str, Any]) -> dict[str, Any]:
    """The object resource with what the emulator leaves out; 64-bit numbers are strings, as in protobuf's JSON."""
    bucket, name, generation = resource["bucket"], resource["name"], str(resource["generation"])
    path = f"b/{bucket}/o/{quote(name, safe='')}"
    api = "https://www.googleapis.com"
    return resource | {
        "kind": "storage#object",
        "id": f"{bucket}/{name}/{generation}",
        "generation": generation,
        "metageneration": str(resource.get("metageneration", "1")),
        "size": str(resource.get("size", "0")),
        "etag": resource.get("etag") or generation,
        "selfLink": resource.get("selfLink") or f"{api}/storage/v1/{path}",
        "mediaLink": resource.get("mediaLink")
        or f"{api}/download/storage/v1/{path}?generation={generation}&alt=media",
    }
