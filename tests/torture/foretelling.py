# SPDX-License-Identifier: Apache-2.0
"""What each of several versions will answer, told beforehand by its own scorer, outside any server."""

from __future__ import annotations

import random
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from door import Deployment

from dropfit import version
from dropfit.contract import Category, Contract, Number, load_problem
from dropfit.keys import SEPARATOR, normal
from dropfit.snapshot import Snapshot

Instance = dict[str, Any]


@dataclass
class Answers:
    """What each version answers to the instances that are asked.

    Attributes:
        instances: the first `hits` are in both tables' heads, the others in neither.
        hits: how many.
        told: version -> per instance, the value and its probability where there are several.
    """

    instances: list[Instance]
    hits: int
    told: dict[str, list[tuple[Any, float]]]


def foretold(deployment: Deployment, versions: Sequence[str], seed: int, count: int = 200) -> Answers:
    """Instances on which the versions differ, and their answers by the versions' own scorers.

    Args:
        deployment: where they are.
        versions: both.
        seed: of the choice.
        count: of each kind.
    """
    registry, problem = deployment.registry, load_problem(deployment.settings.problem)
    loaded = [version.load(registry, problem, one) for one in versions]
    hits, misses = _drawn(deployment, versions, loaded[0].manifest.contract, random.Random(seed), count)  # noqa: S311
    instances = [*hits, *misses]
    features = problem.contract.features
    columns = {
        f.name: np.array([i.get(f.name) for i in instances], dtype=object if isinstance(f, Category) else np.float64)
        for f in features
    }
    told = {}
    for one, at in zip(versions, loaded, strict=True):
        scored = at.scorer.score(at.scorer.encoder.complete(columns))
        best = scored.values if scored.probabilities is None else scored.probabilities.max(axis=1)
        told[one] = list(zip(scored.values.tolist(), np.asarray(best, dtype=float).tolist(), strict=True))
    differ = [abs(a[1] - b[1]) > 1e-3 for a, b in zip(*told.values(), strict=True)]
    kept = [place for place, is_kept in enumerate(differ) if is_kept]
    answers = Answers(
        [instances[place] for place in kept],
        sum(place < len(hits) for place in kept),
        {one: [found[place] for place in kept] for one, found in told.items()},
    )
    assert answers.hits > 10, "too few keys of both tables on which the versions differ"
    assert len(answers.instances) - answers.hits > 10, "too few misses on which the versions differ"
    return answers


def _drawn(
    deployment: Deployment, versions: Sequence[str], contract: Contract, dice: random.Random, count: int
) -> tuple[list[Instance], list[Instance]]:
    """Instances that both heads hold, and such that neither does: one number of a known key is another one."""
    heads = []
    with tempfile.TemporaryDirectory() as folder:
        for one in versions:
            artifact = deployment.registry.completed(one).snapshot
            assert artifact is not None
            heads.append(Snapshot(deployment.registry.fetch_artifact(artifact, Path(folder)), unlink=True))
    held = [{key for key, _ in head.rows()} for head in heads]
    either = held[0] | held[1]
    known = [key.split(SEPARATOR) for key in sorted(held[0] & held[1]) if "\\" not in key]
    hits = dice.sample(known, min(count, len(known)))
    numbers = [place for place, name in enumerate(contract.key) if isinstance(_feature(contract, name), Number)]
    misses: list[list[str]] = []
    for parts in (dice.choice(known) for _ in range(50 * count)):
        place = dice.choice(numbers)
        feature = _feature(contract, contract.key[place])
        assert isinstance(feature, Number)
        low, high = feature.minimum or 0, feature.maximum or 100
        other = [*parts[:place], normal(dice.randint(int(low), int(high))), *parts[place + 1 :]]
        if SEPARATOR.join(other) not in either and len(misses) < count:
            misses.append(other)
    for head in heads:
        head.close()
    return [_instance(contract, parts) for parts in hits], [_instance(contract, parts) for parts in misses]


def _feature(contract: Contract, name: str) -> Any:
    return next(feature for feature in contract.features if feature.name == name)


def _instance(contract: Contract, parts: Sequence[str]) -> Instance:
    features = [_feature(contract, name) for name in contract.key]
    return {
        f.name: part if isinstance(f, Category) else int(part) if f.integer else float(part)
        for f, part in zip(features, parts, strict=True)
    }
