# SPDX-License-Identifier: Apache-2.0
"""The OpenAPI 3.1 document of `GET /openapi.json`, made from a version's contract alone.

Types, bounds and lengths are those of the request decoder (`instances.field_type`), written down by msgspec. JSON
Schema cannot say four things that the decoder holds to, so the document says them in words: where a whole number is
asked, 1.0 is refused; text with half a surrogate pair is refused; of a name given twice the last one counts, and
every one must be valid; a number that no 64-bit float holds, such as 1e999, is refused.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import msgspec

from .answers import Prediction
from .contract import Category, Contract, Feature, Label, Number, Probability
from .instances import field_type, optional
from .replies import ERRORS, JSON, METHODS, PROBLEM_JSON
from .settings import Settings

Document = dict[str, Any]
Example = Mapping[str, float | str | None]

ABOUT = (
    "Predictions are asked for in Vertex AI's form; errors are problem+json (RFC 9457) with Google's canonical code. "
    "Where there is GET, there is HEAD. Where a whole number is asked, 1.0 is refused. Text must be well-formed "
    "Unicode. Of a name given twice the last one counts, and every one must be valid. A number must fit a 64-bit "
    "float."
)
MODES = {
    "static": "Answers come from the table.",
    "dynamic": "Answers come from the model.",
    "hybrid": "Answers to frequent keys come from the table, to all others from the model.",
}
OPERATIONS = {
    "/predict": ("predict", "Predict for one or more instances"),
    "/": ("predictAtRoot", "The same as /predict"),
    "/model": ("model", "What is served, how good it is, and what a request holds"),
    "/health": ("health", "Whether the process answers"),
    "/ready": ("ready", "Whether predictions can be served, and why not"),
    "/metrics": ("metrics", "What this instance has counted, for Prometheus"),
    "/openapi.json": ("openapi", "This document"),
}
PREDICTION = {
    "value": "null when the policy abstains without a fallback value, or nothing could answer",
    "source": "where the value comes from; none when there is no value",
    "policy": "the policy's rules that fired, in order",
    "probabilities": "label -> probability, where the source knows them",
    "group": "for backoff: the features of the group and their values",
    "steps": "each source that was passed over, and why",
    "error": "why there is no value, when nothing could answer",
}
CODES = sorted({code for _, code in ERRORS.values()})
ONLY_FOR_PREDICTIONS = {400, 404, 415, 504}


def document(
    contract: Contract,
    *,
    settings: Settings,
    version: str,
    classes: tuple[str, ...] = (),
    example: Example | None = None,
) -> Document:
    """The document.

    Args:
        contract: the version's contract.
        settings: mode, limits and deadlines.
        version: the version's id.
        classes: labels in the order of the model's probabilities; empty unless the target is a label.
        example: an instance that can be asked for; made from the contract when there is none.
    """
    shown = example or made_example(contract)
    schemas = {
        "Instance": _instance(contract, shown),
        "Request": _request(contract, settings.max_instances, shown),
        **_answers(contract, classes),
        "Reply": _reply(contract, version, settings.max_instances),
        "Problem": _problem(),
    }
    return {
        "openapi": "3.1.0",
        "info": {"title": contract.title, "version": version, "description": f"{MODES[settings.mode]} {ABOUT}"},
        "servers": [{"url": "/"}],
        "paths": {path: {method.lower(): _operation(path, method, settings)} for path, method in METHODS.items()},
        "components": {"schemas": schemas},
    }


def made_example(contract: Contract) -> dict[str, float | str]:
    """A valid instance: the first value of a category, the middle of a number's bounds."""
    return {f.name: _word(f) if isinstance(f, Category) else _middle(f) for f in contract.features}


def _word(feature: Category) -> str:
    return feature.values[0] if feature.values else "example"[: feature.max_length]


def _middle(feature: Number) -> float:
    low, high = feature.minimum, feature.maximum
    if low is not None and high is not None:
        middle = min(max(low / 2 + high / 2, low), high)  # within bounds also where floats end
    else:
        middle = low if low is not None else high if high is not None else 0.0
    if not feature.integer:
        return middle
    return math.floor(middle) if low is None or math.floor(middle) >= low else math.ceil(middle)


def _instance(contract: Contract, example: Example) -> Document:
    return {
        "type": "object",
        "properties": {f.name: _property(f) for f in contract.features},
        "required": [f.name for f in contract.features if not optional(f)],
        "additionalProperties": contract.ignore_unknown,
        "examples": [dict(example)],
    }


def _property(feature: Feature) -> Document:
    schema = msgspec.json.schema(field_type(feature))
    return {"description": feature.description, **schema} if feature.description else schema


def _request(contract: Contract, most: int, example: Example) -> Document:
    instances = {"type": "array", "items": _ref("Instance"), "minItems": 1, "maxItems": most}
    return {
        "type": "object",
        "properties": {"instances": instances},
        "required": ["instances"],
        "additionalProperties": contract.ignore_unknown,
        "examples": [{"instances": [dict(example)]}],
    }


def _answers(contract: Contract, classes: tuple[str, ...]) -> Document:
    """Prediction and Failure: as msgspec writes them down, with what the contract says on top."""
    _, made = msgspec.json.schema_components((Prediction,), ref_template="#/components/schemas/{name}")
    schemas: Document = msgspec.json.decode(msgspec.json.encode(made))  # a tuple is no default of a schema
    for name, about in (("Prediction", "The answer to one instance."), ("Failure", "Why an instance has no value.")):
        schemas[name] |= {"description": about, "additionalProperties": False}
    fields = schemas["Prediction"]["properties"]
    for name, says in PREDICTION.items():
        fields[name]["description"] = says
    fields["value"] |= _value(contract)
    if classes:
        shares = _object({label: {"type": "number"} for label in classes}, required=list(classes))
        fields["probabilities"]["anyOf"][0] = shares
    anything = fields["group"]["anyOf"][0]["additionalProperties"]
    fields["group"]["anyOf"][0] = _object(dict.fromkeys(contract.key, anything))
    schemas["Failure"]["properties"]["status"]["enum"] = CODES
    return schemas


def _value(contract: Contract) -> Document:
    """A label, or a number within the policy's bounds; null where nothing may, or can, be said."""
    if isinstance(contract.target, Label):
        return {"anyOf": [{"enum": list(contract.target.values)}, {"type": "null"}]}
    low, high = contract.policy.minimum, contract.policy.maximum
    if isinstance(contract.target, Probability):
        low, high = max(low or 0.0, 0.0), 1.0 if high is None else min(high, 1.0)
    bounds = {"minimum": low, "maximum": high}
    number = {"type": "number"} | {name: bound for name, bound in bounds.items() if bound is not None}
    return {"anyOf": [number, {"type": "null"}]}


def _reply(contract: Contract, version: str, most: int) -> Document:
    target, policy = contract.target, contract.policy
    if isinstance(target, Label):
        value: float | str = target.values[0]
    else:
        value = _middle(Number(name="value", minimum=policy.minimum, maximum=policy.maximum))
    shown = {"predictions": [{"value": value, "source": "model", "policy": []}], "model_version": version}
    predictions = {"type": "array", "items": _ref("Prediction"), "minItems": 1, "maxItems": most}
    schema = _object({"predictions": predictions, "model_version": {"type": "string"}})
    return schema | {"required": ["predictions", "model_version"], "examples": [shown]}


def _problem() -> Document:
    """The form of every error: RFC 9457, with Google's canonical code and every field that is wrong."""
    wrong = _object({"field": {"type": "string"}, "detail": {"type": "string"}}, required=["field", "detail"])
    fields = {
        "type": {"type": "string", "format": "uri-reference"},
        "title": {"type": "string"},
        "status": {"type": "integer", "enum": list(ERRORS)},
        "detail": {"type": "string"},
        "code": {"enum": CODES, "description": "a name of google.rpc.Code"},
        "errors": {"type": "array", "items": wrong, "minItems": 1},
    }
    shown = {
        "type": "about:blank",
        "title": ERRORS[400][0],
        "status": 400,
        "detail": "1 field is wrong",
        "code": ERRORS[400][1],
        "errors": [{"field": "instances", "detail": "empty"}],
    }
    return _object(fields, required=["type", "title", "status", "detail", "code"]) | {"examples": [shown]}


def _operation(path: str, method: str, settings: Settings) -> Document:
    name, summary = OPERATIONS[path]
    operation: Document = {"operationId": name, "summary": summary}
    statuses = [status for status in ERRORS if method == "POST" or status not in ONLY_FOR_PREDICTIONS]
    if method == "POST":
        operation |= {
            "description": f"At most {settings.max_instances:,} instances and {settings.max_request_bytes:,} bytes.",
            "parameters": [_deadline(settings)],
            "requestBody": {"required": True, "content": {JSON: {"schema": _ref("Request")}}},
        }
    answers = {str(status): _failure(status) for status in statuses}
    return operation | {"responses": {"200": _success(path)} | answers}


def _deadline(settings: Settings) -> Document:
    bounds = {"minimum": 1, "maximum": settings.max_deadline_ms, "default": settings.deadline_ms}
    return {
        "name": "X-Deadline-Ms",
        "in": "header",
        "required": False,
        "description": "Milliseconds this request may take. What does not fit is answered by the next source, and "
        "each step down is named in the reply.",
        "schema": {"type": "number", **bounds},
    }


def _success(path: str) -> Document:
    if METHODS[path] == "POST":
        return {"description": "A prediction for each instance", "content": {JSON: {"schema": _ref("Reply")}}}
    if path == "/metrics":
        return {"description": "Prometheus' text form", "content": {"text/plain": {"schema": {"type": "string"}}}}
    names = {"/model": ["version", "features", "metrics"], "/openapi.json": ["openapi"]}.get(path, ["status"])
    return {"description": "OK", "content": {JSON: {"schema": {"type": "object", "required": names}}}}


def _failure(status: int) -> Document:
    return {"description": ERRORS[status][0], "content": {PROBLEM_JSON: {"schema": _ref("Problem")}}}


def _object(properties: Document, required: list[str] | None = None) -> Document:
    schema = {"type": "object", "properties": properties, "additionalProperties": False}
    return schema | ({"required": required} if required else {})


def _ref(name: str) -> Document:
    return {"$ref": f"#/components/schemas/{name}"}
