# SPDX-License-Identifier: Apache-2.0
"""The requests: instances drawn from the keys of the version's table, and some that it does not hold. Pure."""

from __future__ import annotations

import json
import random
from collections.abc import Sequence
from typing import Any

Instance = dict[str, Any]
KEY = ("carrier", "origin", "dest", "weekday", "hour")
SIZES = (1, 64)
BODIES = {1: 1000, 64: 60}
"""So many different bodies of each size are sent in turn."""
MISSES = 0.1


def kind(mix: str, size: int) -> str:
    """The name of requests of so many rows; the mix is `hits`, all in the table, or `mix`, a tenth of them not."""
    return f"{mix}-{size}"


def strangers(keys: Sequence[tuple[Any, ...]]) -> list[tuple[Any, ...]]:
    """Keys that are not in the table although their carrier, route and hour are: flights at another hour."""
    known, routes = set(keys), sorted({key[:3] for key in keys})
    made = [(*route, weekday, hour) for route in routes for weekday in range(7) for hour in range(5, 22)]
    return [key for key in made if key not in known]


def draw(keys: Sequence[tuple[Any, ...]], size: int, share: float, seed: int = 1) -> list[list[Instance]]:
    """Requests of `size` instances.

    Args:
        keys: in the table.
        size: instances in each request.
        share: of the instances (0 to 1), exactly, that the table does not hold, spread at random.
        seed: of the draw.
    """
    random_ = random.Random(seed)  # noqa: S311 (nothing secret is drawn)
    number = BODIES[size] * size
    missing = round(share * number)
    drawn = random_.choices(keys, k=number - missing)
    drawn += random_.choices(strangers(keys), k=missing) if missing else []
    random_.shuffle(drawn)
    instances = [dict(zip(KEY, key, strict=True)) for key in drawn]
    return [instances[start : start + size] for start in range(0, number, size)]


def body(form: str, instances: Sequence[Instance], matrix: Sequence[Sequence[float]]) -> bytes:
    """A request in a server's form.

    Args:
        form: `instances`, `echo` (the same), or `v2`.
        instances: what is asked.
        matrix: the same as the model's inputs; `v2` is sent these, ready-made, because its server encodes nothing.
    """
    if form != "v2":
        return json.dumps({"instances": instances}).encode()
    flat = [value for row in matrix for value in row]
    tensor = {"name": "matrix", "datatype": "FP32", "shape": [len(matrix), len(matrix[0])], "data": flat}
    return json.dumps({"inputs": [tensor], "outputs": [{"name": "predict_proba"}]}).encode()


def values(form: str, reply: bytes) -> list[float]:
    """The probabilities in a server's reply."""
    document = json.loads(reply)
    if form == "v2":
        (output,) = document["outputs"]
        return [float(value) for value in output["data"][1::2]]
    return [float(prediction["value"]) for prediction in document["predictions"]]


def sources(reply: bytes) -> list[str]:
    """Where Dropfit says that each prediction comes from."""
    return [prediction["source"] for prediction in json.loads(reply)["predictions"]]
