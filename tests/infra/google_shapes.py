# SPDX-License-Identifier: Apache-2.0
"""Writes google_shapes.json: methods and messages of Google's REST APIs, as the clients inside gcloud have them.

    GCLOUD=$(gcloud info --format='value(installation.sdk_root)')
    "$GCLOUD"/platform/bundledpythonunix/bin/python3 tests/infra/google_shapes.py "$GCLOUD"/lib

To let the stand-in (google_api.py) know another method, add its id to METHODS and run this. Nothing of the clients is
copied but names: paths, query parameters, fields and their types.
"""

from __future__ import annotations

import importlib
import json
import sys
from pathlib import Path
from typing import Any

METHODS = {
    "artifactregistry.v1": ["projects.locations.list", "projects.locations.repositories.packages.tags.get"],
    "bigquery.v2": ["datasets.get", "tables.get", "tables.list"],
    "cloudbilling.v1": ["projects.getBillingInfo", "billingAccounts.testIamPermissions"],
    "cloudbuild.v1": ["projects.locations.builds.get", "projects.locations.operations.get", "operations.get"],
    "cloudquotas.v1": ["projects.locations.services.quotaInfos.get"],
    "cloudresourcemanager.v3": ["projects.get", "projects.testIamPermissions"],
    "cloudscheduler.v1": ["projects.locations.list", "projects.locations.jobs.get"],
    "compute.v1": ["regions.get"],
    "eventarc.v1": ["projects.locations.list", "projects.locations.triggers.get"],
    "logging.v2": ["projects.locations.buckets.get"],
    "monitoring.v3": ["projects.timeSeries.list", "projects.alertPolicies.list"],
    "pubsub.v1": [
        "projects.topics.get",
        "projects.topics.getIamPolicy",
        "projects.subscriptions.get",
        "projects.subscriptions.patch",
        "projects.subscriptions.getIamPolicy",
        "projects.subscriptions.setIamPolicy",
    ],
    "run.v1": ["projects.locations.list"],
    "run.v2": [
        "projects.locations.builds.submit",
        "projects.locations.services.get",
        "projects.locations.services.getIamPolicy",
        "projects.locations.jobs.get",
    ],
    "serviceusage.v1": ["services.batchGet", "services.enable", "services.batchEnable", "operations.get"],
    "serviceusage.v1beta1": ["services.generateServiceIdentity"],
    "storage.v1": [
        *("buckets.get", "buckets.insert", "buckets.list", "buckets.patch"),
        *("objects.get", "objects.insert", "objects.list"),
    ],
}


def services(client: Any) -> Any:
    """Every service class of a generated client."""
    for value in vars(client).values():
        if isinstance(value, type) and hasattr(value, "_NAME"):
            yield value


def methods(api: str, version: str) -> tuple[dict[str, Any], set[tuple[str, str]]]:
    """Methods of one API by id, and the messages that they name."""
    base = f"googlecloudsdk.generated_clients.apis.{api}.{version}.{api}_{version}"
    client_module = importlib.import_module(f"{base}_client")
    messages = importlib.import_module(f"{base}_messages")
    client = next(v for v in vars(client_module).values() if isinstance(v, type) and hasattr(v, "BASE_URL"))
    wanted = {f"{api}.{method}" for method in METHODS[f"{api}.{version}"]}
    found, named = {}, set()
    for service in services(client):
        for member in vars(service).values():
            told = member.method_config() if hasattr(member, "method_config") else None
            if told is None or told.method_id not in wanted:
                continue
            body = body_of(told, messages)
            found[f"{api}.{version}.{told.method_id.partition('.')[2]}"] = {
                "method": told.http_method,
                "url": client.BASE_URL + (told.flat_path or told.relative_path),
                "query": sorted(query_of(told, messages)),
                "body": body,
                "answer": told.response_type_name,
            }
            named |= {(f"{api}.{version}", name) for name in (body, told.response_type_name) if name}
    missing = wanted - {f"{api}.{key.split('.', 2)[2]}" for key in found}
    assert not missing, missing
    return found, named


def query_of(told: Any, messages: Any) -> list[str]:
    """Query parameters under the name that the URL has; Python's differ where they hold dots or underscores."""
    from apitools.base.py import encoding

    request = getattr(messages, told.request_type_name)
    return [encoding.GetCustomJsonFieldMapping(request, python_name=name) or name for name in told.query_params]


def body_of(told: Any, messages: Any) -> str:
    """The message that the request's body is, empty when there is none."""
    if told.request_field == "<request>":
        return str(told.request_type_name)
    if not told.request_field:
        return ""
    return named_in(getattr(messages, told.request_type_name).field_by_name(told.request_field).type)


def named_in(message: Any) -> str:
    """A message's name without its package."""
    return str(message.definition_name()).partition(".")[2]


def shape(message: Any) -> dict[str, Any]:
    """Fields of a message: name as JSON has it -> type; nested messages by their name."""
    from apitools.base.py import encoding

    fields: dict[str, Any] = {}
    for field in message.all_fields():
        name = encoding.GetCustomJsonFieldMapping(message, python_name=field.name) or field.name
        kind = type(field).__name__
        told = kind.removesuffix("Field").lower()
        if kind == "MessageField":
            told = named_in(field.type)
        elif kind == "EnumField":
            told = "|".join(field.type.names())
        fields[name] = [told] if field.repeated else told
    if any(name == "additionalProperties" for name in fields):
        return {"*": "any"}
    return fields


def messages_of(api: str, version: str, names: set[str]) -> dict[str, Any]:
    """The named messages and all that they hold."""
    module = importlib.import_module(
        f"googlecloudsdk.generated_clients.apis.{api}.{version}.{api}_{version}_messages"
    )
    found: dict[str, Any] = {}
    waiting = sorted(names)
    while waiting:
        name = waiting.pop()
        if name in found:
            continue
        kind = module
        for part in name.split("."):
            kind = getattr(kind, part, None)
        if kind is None or not hasattr(kind, "all_fields"):
            found[name] = {"*": "any"}
            continue
        found[name] = shape(kind)
        for told in found[name].values():
            one = told[0] if isinstance(told, list) else told
            if one[:1].isupper() and "|" not in one and one not in found:
                waiting.append(one)
    return found


def lines(shapes: dict[str, Any]) -> str:
    """One line a method and a message: short, and legible in a diff."""
    parts = []
    for kind, entries in sorted(shapes.items()):
        inner = ",\n".join(
            f" {json.dumps(key)}: {json.dumps(entries[key], sort_keys=True)}" for key in sorted(entries)
        )
        parts.append(f"{json.dumps(kind)}: {{\n{inner}\n}}")
    return "{\n" + ",\n".join(parts) + "\n}\n"


def main(library: str) -> None:
    sys.path[:0] = [library, f"{library}/third_party"]
    shapes: dict[str, Any] = {"methods": {}, "messages": {}}
    for key in sorted(METHODS):
        api, version = key.split(".")
        found, named = methods(api, version)
        shapes["methods"] |= found
        for name, fields in messages_of(api, version, {name for _, name in named}).items():
            shapes["messages"][f"{key}.{name}"] = fields
    Path(__file__).with_name("google_shapes.json").write_text(lines(shapes))


if __name__ == "__main__":
    main(sys.argv[1])
