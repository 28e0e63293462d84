# SPDX-License-Identifier: Apache-2.0
"""What the hand-written servers share: where their files are, and instances -> the model's float32 matrix."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable
from typing import Any

import numpy as np

CATEGORIES = ("carrier", "origin", "dest")
INPUTS = (*CATEGORIES, "weekday", "hour", "distance", "hour_of_week")
NAN = float("nan")


def fetch(name: str) -> bytes:
    """A file of the model: from the models bucket, or from a folder where there is no storage client."""
    if folder := os.environ.get("BENCH_FOLDER"):
        with open(os.path.join(folder, name), "rb") as stream:
            return stream.read()
    from google.cloud import storage

    bucket = storage.Client(project=os.environ["GOOGLE_CLOUD_PROJECT"]).bucket(os.environ["DROPFIT_MODELS_BUCKET"])
    payload: bytes = bucket.blob(f"bench/{name}").download_as_bytes()
    return payload


class Lookup:
    """Category codes by dict, the route's distance by dict, one matrix."""

    def __init__(self, document: bytes) -> None:
        known = json.loads(document)
        self._carrier, self._origin, self._dest = (
            {value: float(code) for code, value in enumerate(known["vocabularies"][name])} for name in CATEGORIES
        )
        self._distances = {tuple(key.split("\t")): value for key, value in known["distances"].items()}

    def matrix(self, instances: Iterable[Any]) -> np.ndarray[Any, Any]:
        """Float32, shape (rows, 7); unseen categories are NaN."""
        carrier, origin, dest = self._carrier.get, self._origin.get, self._dest.get
        rows = []
        for i in instances:
            distance = i.distance
            if distance is None:
                distance = self._distances.get((i.origin, i.dest), NAN)
            rows.append(
                (
                    carrier(i.carrier, NAN),
                    origin(i.origin, NAN),
                    dest(i.dest, NAN),
                    i.weekday,
                    i.hour,
                    distance,
                    i.weekday * 24 + i.hour,
                )
            )
        return np.array(rows, dtype=np.float32)

    def distance(self, origin: str, dest: str) -> float:
        """The route's distance, NaN when nobody flew it."""
        return float(self._distances.get((origin, dest), NAN))
