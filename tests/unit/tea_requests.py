# SPDX-License-Identifier: Apache-2.0
"""A contract with its decoder, and requests to it: shared by the tests of the instances."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from fakes import CUP, LEAF, MINUTES, WARMTH, batch_of

from dropfit.contract import Contract, Number, Quantity
from dropfit.errors import BadRequest
from dropfit.instances import InstanceDecoder

SPOONS = Number(name="spoons", integer=True, minimum=0, maximum=9)
CONTRACT = Contract(
    name="tea",
    title="t",
    features=(MINUTES, LEAF, CUP, WARMTH, SPOONS),
    target=Quantity(name="joy"),
    key=("leaf", "minutes", "cup", "spoons"),
)
DECODER = InstanceDecoder(CONTRACT, 10)
GOOD = {"leaf": "assam", "spoons": 2}


def refused(body: bytes, decoder: InstanceDecoder = DECODER) -> BadRequest:
    with pytest.raises(BadRequest) as caught:
        decoder.decode(body)
    return caught.value


def batch(body: bytes) -> Any:
    return batch_of(CONTRACT, DECODER.decode(body))


def asking(*instances: Any, **more: Any) -> bytes:
    return msgspec.json.encode({"instances": instances, **more})
