# SPDX-License-Identifier: Apache-2.0
"""What a pipeline's graph says: which steps there are, and where a runner cannot fuse them into one stage."""

from __future__ import annotations

from typing import Any, NamedTuple

PARDO, GROUP, IMPULSE = "beam:transform:pardo:v1", "beam:transform:group_by_key:v1", "beam:transform:impulse:v1"


class Step(NamedTuple):
    """A leaf of the graph.

    Attributes:
        name: the label, with those it is part of before it.
        urn: what it does.
        inputs: names of the steps it takes its main input from.
        sides: names of the steps whose output it must have whole before it begins.
        environment: id of the environment it runs in, empty for the runner's own.
    """

    name: str
    urn: str
    inputs: tuple[str, ...]
    sides: tuple[str, ...]
    environment: str


def proto(job: Any) -> Any:
    """The pipeline's proto, of a Dataflow job or as it is."""
    return getattr(job, "proto_pipeline", job)


def steps(job: Any) -> list[Step]:
    """All leaves, none before what it reads."""
    from apache_beam.portability.api import beam_runner_api_pb2

    components = proto(job).components
    # A composite with nothing in it hands its input on: no step.
    leaves = {
        key: t
        for key, t in components.transforms.items()
        if not t.subtransforms and not set(t.outputs.values()) & set(t.inputs.values())
    }
    maker = {out: key for key, t in leaves.items() for out in t.outputs.values()}
    waiting, done = dict(leaves), dict[str, Step]()
    while waiting:
        key = next(k for k, t in waiting.items() if all(maker[i] in done for i in t.inputs.values()))
        found = waiting.pop(key)
        side = set()
        if found.spec.urn == PARDO:
            side = set(beam_runner_api_pb2.ParDoPayload.FromString(found.spec.payload).side_inputs)
        sources = {tag: done[maker[i]].name for tag, i in found.inputs.items()}
        done[key] = Step(
            found.unique_name,
            found.spec.urn,
            tuple(name for tag, name in sources.items() if tag not in side),
            tuple(name for tag, name in sources.items() if tag in side),
            found.environment_id,
        )
    return list(done.values())


def stages(job: Any) -> list[list[str]]:
    """Steps that a runner can fuse: a stage begins behind a grouping, an impulse, or where a side input is needed."""
    found = steps(job)
    heads: dict[str, int] = {}
    made: list[list[str]] = []
    for step in found:
        at = heads.get(step.inputs[0]) if len(step.inputs) == 1 and not step.sides else None
        if at is None or step.urn != PARDO:
            made.append([])
            at = len(made) - 1
        heads[step.name] = at
        made[at].append(step.name)
    return made


def groupings(job: Any) -> list[str]:
    """The steps where data is exchanged between workers."""
    return [step.name for step in steps(job) if step.urn == GROUP]
