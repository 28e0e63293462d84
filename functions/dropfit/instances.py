# SPDX-License-Identifier: Apache-2.0
"""Request body -> row batch, generated from the contract.

One pass decodes and validates; only when that fails does a slow second pass find out everything that is wrong.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

import msgspec
import numpy as np

from .contract import Category, Columns, Contract, Feature
from .errors import BadRequest

MAX_ERRORS = 100


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
        kind = int if feature.integer else float
        if feature.minimum is not None:
            kind = Annotated[kind, msgspec.Meta(ge=kind_of(kind, feature.minimum))]
        if feature.maximum is not None:
            kind = Annotated[kind, msgspec.Meta(le=kind_of(kind, feature.maximum))]
    return kind | None if optional(feature) else kind


def kind_of(kind: Any, bound: float) -> float:
    """A bound as the number type of its field, as msgspec wants it."""
    return int(bound) if kind is int or getattr(kind, "__origin__", None) is int else float(bound)


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
        instance = msgspec.defstruct("Instance", fields, forbid_unknown_fields=True)
        body = msgspec.defstruct("Body", [("instances", list[instance])], forbid_unknown_fields=True)  # type: ignore[valid-type]
        self._decoder: msgspec.json.Decoder[Any] = msgspec.json.Decoder(body)

    def decode(self, body: bytes) -> Columns:
        """The request's instances as a row batch.

        Raises:
            BadRequest: listing every field that is wrong; 413 when there are too many instances.
        """
        try:
            instances: list[Any] = self._decoder.decode(body).instances
        except (msgspec.ValidationError, RecursionError):
            raise self._everything_wrong(body) from None
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise BadRequest(f"the body is not JSON: {error}") from None
        self._countable(instances)
        return {f.name: self._column(f, [getattr(i, f.name) for i in instances]) for f in self._features}

    def _countable(self, instances: list[Any]) -> None:
        if not instances:
            raise BadRequest("instances is empty: there is nothing to predict", {"instances": "empty"})
        if len(instances) > self._most:
            raise BadRequest(f"{len(instances)} instances; at most {self._most} in one request", status=413)

    @staticmethod
    def _column(feature: Feature, values: list[Any]) -> np.ndarray[Any, Any]:
        return np.array(values, dtype=object if isinstance(feature, Category) else np.float64)

    def _everything_wrong(self, body: bytes) -> BadRequest:
        try:
            document = msgspec.json.decode(body)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            return BadRequest(f"the body is not JSON, or nested too deep: {error}")
        shape = 'the body must be {"instances": [{...}, ...]}'
        if not isinstance(document, dict) or not isinstance(document.get("instances"), list):
            return BadRequest(shape, {"instances": "a list of objects is required"})
        instances = document["instances"]
        if len(instances) > self._most:
            return BadRequest(f"{len(instances)} instances; at most {self._most} in one request", status=413)
        wrong = {name[:64]: "unknown" for name in document if name != "instances"}
        for position, instance in enumerate(instances):
            wrong.update(self._wrong_fields(f"instances[{position}]", instance))
            if len(wrong) > MAX_ERRORS:
                break
        more = f" (the first {MAX_ERRORS} are listed)" if len(wrong) > MAX_ERRORS else ""
        return BadRequest(f"{len(wrong)} fields are wrong{more}", dict(list(wrong.items())[:MAX_ERRORS]))

    def _wrong_fields(self, where: str, instance: Any) -> dict[str, str]:
        if not isinstance(instance, dict):
            return {where: "an object is required"}
        wrong = {f"{where}.{name[:64]}": "unknown" for name in instance if name not in self._types}
        for feature in self._features:
            if feature.name not in instance:
                if not optional(feature):
                    wrong[f"{where}.{feature.name}"] = "missing"
                continue
            try:
                msgspec.convert(instance[feature.name], self._types[feature.name])
            except msgspec.ValidationError as error:
                wrong[f"{where}.{feature.name}"] = str(error)
        return wrong
