# SPDX-License-Identifier: Apache-2.0
"""Request and reply of the servers that validate with pydantic: the same fields and bounds as Dropfit's contract."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

Code = Annotated[str, Field(min_length=1, max_length=8)]


class Instance(BaseModel):
    """One flight."""

    model_config = ConfigDict(extra="forbid", strict=True)

    carrier: Code
    origin: Code
    dest: Code
    weekday: Annotated[int, Field(ge=0, le=6)]
    hour: Annotated[int, Field(ge=0, le=23)]
    distance: Annotated[float, Field(ge=1, le=12_000)] | None = None


class Body(BaseModel):
    """A request."""

    model_config = ConfigDict(extra="forbid", strict=True)

    instances: Annotated[list[Instance], Field(min_length=1, max_length=1000)]


class Prediction(BaseModel):
    """One answer."""

    value: float


class Answer(BaseModel):
    """A reply."""

    predictions: list[Prediction]
