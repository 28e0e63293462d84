# SPDX-License-Identifier: Apache-2.0
"""Request body -> instances, generated from the contract.

One pass decodes and validates; only when that fails does a slow second pass find out everything that is wrong.
"""

from __future__ import annotations

import json
import math
import re
from typing import Annotated, Any, Literal

import msgspec

from .contract import Category, Contract, Feature, Number
from .errors import BadRequest

MAX_ERRORS = 100
LISTED = 1024**2
"""Of a larger body only the first fault is told: a second look at 8 MB of `[],[],` holds everybody up for 3 s."""
LARGEST = 2**53
"""Whole numbers beyond it are not exact as float64."""
FLOAT32 = 3.4028234663852886e38
"""Numbers beyond it are infinite to the model."""


def optional(feature: Feature) -> bool:
    """Whether a request may leave the feature out."""
    return feature.missing or bool(getattr(feature, "given_by", ()))


def field_type(feature: Feature) -> Any:
    """The type that msgspec decodes and validates the feature with."""
    kind: Any
    if isinstance(feature, Category):
        longest = msgspec.Meta(min_length=1, max_length=feature.max_length)
        kind = Literal[feature.values] if feature.values else Annotated[str, longest]
    else:
        kind = whole_number(feature) if feature.integer else number(feature)
    return kind | None if optional(feature) else kind


def number(feature: Number) -> Any:
    """A float within its bounds, and never one that is infinite to the model."""
    smallest = -FLOAT32 if feature.minimum is None else max(feature.minimum, -FLOAT32)
    largest = FLOAT32 if feature.maximum is None else min(feature.maximum, FLOAT32)
    return Annotated[float, msgspec.Meta(ge=smallest, le=largest)]


def whole_number(feature: Number) -> Any:
    """An int within its bounds, and never one that a float64 cannot hold."""
    smallest = -LARGEST if feature.minimum is None else math.ceil(feature.minimum)
    largest = LARGEST if feature.maximum is None else math.floor(feature.maximum)
    return Annotated[int, msgspec.Meta(ge=max(smallest, -LARGEST), le=min(largest, LARGEST))]


def _unquoted(message: str) -> str:
    """A decoder's message without the value that it may quote, a name of a field cut: nothing else comes back."""
    told = re.sub(r"(?s)(Invalid enum value) .*?(?= - at `|\Z)", r"\1", message)
    return re.sub(r"(?s)(unknown field `.{,64}).*?`(?= - at `|\Z)", r"\1`", told)


def _first_wrong(first: str, more: str = "") -> BadRequest:
    """What the fast look stumbled over, alone."""
    what, _, where = first.partition(" - at `$.")
    if not where:
        return BadRequest(f"the body is not JSON, or of another shape: {first}")
    return BadRequest(f"1 field is wrong{more}", {where.rstrip("`"): what})


def _no_json(literal: str) -> None:
    raise ValueError(f"{literal} is no JSON")


class InstanceDecoder:
    """Decodes `{"instances": [{...}, ...]}` for one contract.

    Args:
        contract: what an instance is.
        most: instances allowed in one request.
    """

    def __init__(self, contract: Contract, most: int) -> None:
        self._features = contract.features
        self._types = {f.name: field_type(f) for f in contract.features}
        self._most = most
        # Required fields first: a struct, like a function, cannot have them after optional ones.
        ordered = sorted(contract.features, key=optional)
        fields: list[Any] = [
            (f.name, self._types[f.name], None) if optional(f) else (f.name, self._types[f.name]) for f in ordered
        ]
        self._strict = not contract.ignore_unknown
        self.kind: type[Any] = msgspec.defstruct("Instance", fields, forbid_unknown_fields=self._strict, gc=False)
        body = msgspec.defstruct("Body", [("instances", list[self.kind])], forbid_unknown_fields=self._strict)  # type: ignore[name-defined]
        self._decoder: msgspec.json.Decoder[Any] = msgspec.json.Decoder(body)

    def decode(self, body: bytes) -> list[Any]:
        """The request's instances: objects of `kind`, an attribute per feature, None where it was left out.

        Raises:
            BadRequest: listing every field that is wrong; 413 when there are too many instances.
        """
        try:
            instances: list[Any] = self._decoder.decode(body).instances
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            first = _unquoted(str(error))
            if len(body) > LISTED:
                raise _first_wrong(first, f", and of a body beyond {LISTED:,} bytes no more is told") from None
            raise self._everything_wrong(body, first) from None
        if not 0 < len(instances) <= self._most:
            self._countable(instances)
        return instances

    def _countable(self, instances: list[Any]) -> None:
        if not instances:
            raise BadRequest("instances is empty: there is nothing to predict", {"instances": "empty"})
        if len(instances) > self._most:
            raise BadRequest(f"{len(instances)} instances; at most {self._most} in one request", status=413)

    def _everything_wrong(self, body: bytes, first: str) -> BadRequest:
        """All that is wrong, by a second and slower look.

        Args:
            body: the request.
            first: what the fast look stumbled over.
        """
        try:
            # The standard library also reads what msgspec refuses at once, such as 1e999, so that it can be named.
            document = json.loads(body, parse_constant=_no_json)
        except (ValueError, RecursionError):
            return BadRequest(f"the body is not JSON, or nested too deep: {first}")
        if not isinstance(document, dict) or not isinstance(document.get("instances"), list):
            shape = 'the body must be {"instances": [{...}, ...]}'
            return BadRequest(shape, {"instances": "a list of objects is required"})
        instances = document["instances"]
        if len(instances) > self._most:
            return BadRequest(f"{len(instances)} instances; at most {self._most} in one request", status=413)
        wrong = {name[:64]: "unknown" for name in document if name != "instances" and self._strict}
        for position, instance in enumerate(instances):
            wrong.update(self._wrong_fields(f"instances[{position}]", instance))
            if len(wrong) > MAX_ERRORS:
                break
        if not wrong:
            # The two looks differ where a name is given twice (the last one counts here), and on surrogates.
            return _first_wrong(first)
        more = f" (the first {MAX_ERRORS} are listed)" if len(wrong) > MAX_ERRORS else ""
        count = "1 field is" if len(wrong) == 1 else f"{len(wrong)} fields are"
        return BadRequest(f"{count} wrong{more}", dict(list(wrong.items())[:MAX_ERRORS]))

    def _wrong_fields(self, where: str, instance: Any) -> dict[str, str]:
        if not isinstance(instance, dict):
            return {where: "an object is required"}
        wrong = {f"{where}.{n[:64]}": "unknown" for n in instance if n not in self._types and self._strict}
        for feature in self._features:
            if feature.name not in instance:
                if not optional(feature):
                    wrong[f"{where}.{feature.name}"] = "missing"
                continue
            value = instance[feature.name]
            try:
                if isinstance(value, float) and not math.isfinite(value):
                    raise msgspec.ValidationError("Expected a finite number")
                if isinstance(feature, Category) and feature.values and value not in (None, *feature.values):
                    raise msgspec.ValidationError(f"Expected one of {', '.join(feature.values)}")
                msgspec.convert(value, self._types[feature.name])
            except msgspec.ValidationError as error:
                wrong[f"{where}.{feature.name}"] = str(error)
        return wrong
