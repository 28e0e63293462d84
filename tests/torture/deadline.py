# SPDX-License-Identifier: Apache-2.0
"""A model of 20 ms a row beside quick requests, through the real door: it delays nobody who does not need it.

.venv/bin/python tests/torture deadline

Twice: with a model in onnxruntime, which lets other threads run, and with a derive function in pure Python, which
holds the interpreter. The second is what a model through skops does in its Python parts.
"""

from __future__ import annotations

import math
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path

import msgspec
import numpy as np
import onnx
from door import Deployment, Door, Reply, asked, deploy, opened
from fakes import GROUPS, Shelf, shelve
from heavy import ROW_SECONDS, slow
from onnx import TensorProto, helper, numpy_helper
from worlds import Figure, quiet_cloud

from dropfit.contract import Probability
from dropfit.runtime import OnnxModel

WIDTH = 192
HIT = {"leaf": "assam", "cup": "small", "minutes": 3}
MISS = {"leaf": "assam", "cup": "small", "minutes": 3.25}
MANY = 64
VERSION = "v2"


def weighed(payload: bytes, layers: int) -> bytes:
    """A model that answers as the given one does, after so many matrix products of 192 x 192 for each row."""
    model = onnx.load_from_string(payload)
    graph, given = model.graph, model.graph.input[0].name
    width = model.graph.input[0].type.tensor_type.shape.dim[1].dim_value
    dice, kept = np.random.default_rng(0), graph.output[-1].name
    constants = {
        "h_in": dice.normal(0, 1, (width, WIDTH)),
        "h_spread": dice.normal(0, 1, (1, WIDTH, 1)),
        "h_by": dice.normal(0, 0.1, (WIDTH, WIDTH)),
        "h_tiny": np.array(1e-30),
    }
    for name, value in constants.items():
        graph.initializer.append(numpy_helper.from_array(value.astype(np.float32), name))
    graph.initializer.append(numpy_helper.from_array(np.array([1], np.int64), "h_axis"))
    for node in graph.node:
        node.output[:] = ["h_answer" if name == kept else name for name in node.output]
        node.input[:] = ["h_answer" if name == kept else name for name in node.input]
    made = [
        helper.make_node("IsNaN", [given], ["h_gap"]),  # a gap must not become the answer
        helper.make_node("Cast", ["h_gap"], ["h_0"], to=TensorProto.FLOAT),
        helper.make_node("MatMul", ["h_0", "h_in"], ["h_1"]),
        helper.make_node("Unsqueeze", ["h_1", "h_axis"], ["h_2"]),
        helper.make_node("Mul", ["h_2", "h_spread"], ["h_3_0"]),
    ]
    for layer in range(layers):
        made.append(helper.make_node("MatMul", [f"h_3_{layer}", "h_by"], [f"h_4_{layer}"]))
        made.append(helper.make_node("Tanh", [f"h_4_{layer}"], [f"h_3_{layer + 1}"]))
    made += [
        helper.make_node("ReduceMax", [f"h_3_{layers}"], ["h_5"], axes=[1, 2], keepdims=0),
        helper.make_node("Unsqueeze", ["h_5", "h_axis"], ["h_6"]),
        helper.make_node("Mul", ["h_6", "h_tiny"], ["h_7"]),
        helper.make_node("Add", ["h_answer", "h_7"], [kept]),
    ]
    graph.node.extend(made)
    opsets = [o for o in model.opset_import if o.domain not in ("", "ai.onnx")]
    del model.opset_import[:]
    model.opset_import.extend([*opsets, helper.make_opsetid("", 17)])
    return bytes(model.SerializeToString())


def calibrated(payload: bytes, seconds: float) -> tuple[bytes, float]:
    """The model made so heavy that a row takes about so long on this machine; and how long it takes."""
    layers = 8
    for _ in range(3):
        made = weighed(payload, layers)
        model, spent = OnnxModel(made), []
        row = np.zeros((1, _width(payload)), np.float32)
        for _ in range(6):
            begun = time.perf_counter()
            model(row)
            spent.append(time.perf_counter() - begun)
        took = min(spent)
        if 0.75 < took / seconds < 1.5:
            break
        layers = max(1, math.ceil(layers * seconds / took))
    return made, took


def _width(payload: bytes) -> int:
    width: int = onnx.load_from_string(payload).graph.input[0].type.tensor_type.shape.dim[1].dim_value
    return width


def publish(deployment: Deployment, shelf: Shelf, model: bytes | None = None) -> None:
    """Serve a shelf's version from a deployment, with another model if one is given."""
    registry, source, made = deployment.registry, shelf.registry(), shelf.manifest
    payload = source.read_artifact(made.model) if model is None else model
    kept = msgspec.structs.replace(
        made,
        version=VERSION,
        model=registry.add_artifact(VERSION, "model", ".onnx", payload),
        encoding=registry.add_artifact(VERSION, "encoding", ".json", source.read_artifact(made.encoding)),
        trial=None,
        trial_encoding=None,
        probe=None,
    )
    registry.publish(kept)
    head = registry.add_artifact(VERSION, "snapshot", Path(shelf.head.name).suffix, source.read_artifact(shelf.head))
    registry.promote(VERSION, "predictions__v2", registry.current(), snapshot=head)


class Quick:
    """A client of table hits and /health, that measures its waits until the block ends."""

    def __init__(self, door: Door) -> None:
        self._door = door
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._ask)
        self.seconds: list[float] = []
        self.wrong: list[str] = []

    def __enter__(self) -> Quick:
        self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._stop.set()
        self._thread.join()

    def _ask(self) -> None:
        line, body = self._door.line(), msgspec.json.encode({"instances": [HIT]})
        while not self._stop.wait(0.003):
            hit, health = asked(line, "POST", "/predict", body), asked(line, "GET", "/health", None)
            self.seconds += [hit.seconds, health.seconds]
            if hit.status != 200 or hit.json()["predictions"][0]["source"] != "table" or health.status != 200:
                self.wrong.append(f"a quick request got {hit.status} {hit.body[:200]!r}, /health {health.status}")

    def p(self, quantile: float) -> float:
        """Milliseconds."""
        return 1000 * float(np.quantile(self.seconds, quantile))


def predict(door: Door, rows: int, milliseconds: float) -> Reply:
    """So many rows that the table does not hold, to be answered in so long."""
    body = {"instances": [{**MISS, "minutes": 3.25 + row / 1024} for row in range(rows)]}
    return door.ask(body=body, headers={"X-Deadline-Ms": f"{milliseconds:g}"})


def contend(door: Door, row: float, seconds: float) -> tuple[dict[str, float], list[str]]:
    """Quick requests alone, then beside a client that keeps the model busy; the numbers, and what was wrong.

    Args:
        door: the server.
        row: seconds that the model takes for one.
        seconds: of each half.
    """
    failures = []
    with Quick(door) as alone:
        time.sleep(seconds)
    slow_ones: list[Reply] = []
    with Quick(door) as beside:
        until = time.monotonic() + seconds
        while time.monotonic() < until or len(slow_ones) < 3:
            slow_ones.append(predict(door, 1, 30_000))
    failures += alone.wrong + beside.wrong
    wrong = [r.body[:200] for r in slow_ones if r.status != 200 or r.json()["predictions"][0]["source"] != "model"]
    if wrong:
        failures.append(f"a slow request with time enough was not answered by the model: {wrong[0]!r}")
    many = predict(door, MANY, 100)
    steps = {tuple(p.get("steps", ())) for p in many.json()["predictions"]} if many.status == 200 else {(str(many),)}
    if steps != {("model: deadline", "table: miss")}:
        failures.append(f"{MANY} rows at 100 ms did not step down: {steps}")
    slow_p50 = float(np.median([reply.seconds for reply in slow_ones]))  # a row, as the machine is busy now
    if many.seconds > MANY * max(row, slow_p50) / 2:
        failures.append(f"{MANY} rows at 100 ms were answered after {many.seconds:.2f} s")
    numbers = {"row_ms": 1000 * row, "slow": len(slow_ones), "many_ms": 1000 * many.seconds}
    numbers["slow_p50_ms"] = 1000 * slow_p50
    for name, quick in (("alone", alone), ("beside", beside)):
        numbers |= {f"{name}": len(quick.seconds), f"{name}_p50_ms": quick.p(0.5), f"{name}_p99_ms": quick.p(0.99)}
    return numbers, failures


def heavy(deployment: Deployment) -> float:
    """Publish tea with a model of 20 ms a row; the seconds that a row really takes."""
    shelf = shelve(Probability(name="drunk"), backoff=GROUPS)
    payload, row = calibrated(shelf.registry().read_artifact(shelf.manifest.model), ROW_SECONDS)
    publish(deployment, shelf, payload)
    return row


def stubborn(deployment: Deployment) -> float:
    """Publish tea with a derive function that holds the interpreter; the seconds that a row takes."""
    publish(deployment, shelve(Probability(name="drunk"), backoff=GROUPS, derive=slow))
    return ROW_SECONDS


def run(count: int, seed: int, tick: Callable[..., None] = lambda: None) -> Figure:
    """Both kinds of slowness, so many seconds alone and beside."""
    told, numbers, failures = [], dict[str, float](), list[str]()
    with quiet_cloud() as cloud, tempfile.TemporaryDirectory(prefix="dropfit-torture-") as place:
        for name, what in (("problem", "a model"), ("stubborn", "pure Python")):
            deployment = deploy(cloud.env, DROPFIT_PROBLEM=f"heavy:{name}")
            row = heavy(deployment) if name == "problem" else stubborn(deployment)
            with opened(deployment, Path(place) / name) as door:
                found, more = contend(door, row, count)
            tick()
            failures += more
            numbers |= {f"{name}_{key}": value for key, value in found.items()}
            told.append(
                f"{what} of {found['row_ms']:.0f} ms a row: quick requests p50 {found['alone_p50_ms']:.1f} alone and "
                f"{found['beside_p50_ms']:.1f} ms beside it, p99 {found['alone_p99_ms']:.1f} and "
                f"{found['beside_p99_ms']:.1f} ms; {MANY} rows at 100 ms stepped down in {found['many_ms']:.0f} ms"
            )
    return Figure("deadline", "; ".join(told), not failures, seed, numbers, tuple(failures))
