# SPDX-License-Identifier: Apache-2.0
"""What a reply says of each instance: the value, where it comes from, and what was done to it on the way."""

from __future__ import annotations

from typing import Literal

import msgspec

Source = Literal["table", "model", "backoff", "fallback", "none"]
"""Where a value comes from: the table's head, the model, the mean of a coarser group, the policy's fallback value."""
SOURCES: tuple[Source, ...] = ("table", "model", "backoff", "fallback", "none")


class Failure(msgspec.Struct, frozen=True, gc=False):
    """Why an instance has no value, in Google's terms.

    Attributes:
        code: the HTTP status, such as 404.
        status: the name of google.rpc.Code, such as NOT_FOUND.
        message: one sentence.
    """

    code: int
    status: str
    message: str


class Prediction(msgspec.Struct, omit_defaults=True, gc=False):
    """The answer to one instance.

    Attributes:
        value: a number or a label; None when the policy abstains without a fallback value, or nothing could answer.
        source: where it comes from, or would have come from had the policy not abstained; `none` when nothing could
            answer.
        policy: the policy's rules that fired, in order.
        probabilities: label -> probability, for a label target, where the source knows them.
        group: for `backoff`: the features of the group and their values.
        steps: each source that was passed over, and why: `model: deadline`.
        error: why there is no value, when nothing could answer.
    """

    value: float | str | None
    source: Source
    policy: tuple[str, ...]
    probabilities: dict[str, float] | None = None
    group: dict[str, str | float | None] | None = None
    steps: tuple[str, ...] = ()
    error: Failure | None = None
