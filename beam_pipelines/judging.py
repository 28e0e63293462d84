# SPDX-License-Identifier: Apache-2.0
"""The gate's contest out of storage: the challenger's trial, the served version, and rows that neither was fitted on.

Everything is read from stored artifacts, also right after they were written: a job that was killed before its verdict
is resumed by one that comes to the same.
"""

from __future__ import annotations

import functools
import logging
from collections.abc import Callable
from typing import NamedTuple

import msgspec
import numpy as np

from beam_pipelines.intake import Services
from dropfit import comparison, diagnosis, gate, holdout, reproduce, training, version
from dropfit.contract import Columns, Label, Problem
from dropfit.encoding import length, take
from dropfit.errors import ArtifactError, NotFound
from dropfit.gate import Contest, Rival
from dropfit.holdout import Array, Holdout, Seen
from dropfit.manifest import Manifest
from dropfit.pointer import Current
from dropfit.runtime import Scorer
from dropfit.verdict import Report

LOG = logging.getLogger(__name__)


class Champion(NamedTuple):
    """The served version, as far as it can be compared.

    Attributes:
        version: its id, empty when nothing is served.
        manifest: what is known of it.
        seen: which of the present rows it knows.
        other: why it answers another question, or cannot answer, empty when it can be compared.
    """

    version: str = ""
    manifest: Manifest | None = None
    seen: Seen | None = None
    other: str = ""


class Plan(NamedTuple):
    """What a training is judged by: the served version, and the rows to hold out."""

    champion: Champion
    held: Holdout


def plan(services: Services, rows: Columns, since: Current) -> Plan:
    """Hold out what the served version has not learned from.

    Raises:
        TrainingError: when the rows are of one class.
    """
    champion = _champion(services, rows, since)
    return Plan(champion, holdout.plan(services.problem, rows, champion.seen))


def _champion(services: Services, rows: Columns, since: Current) -> Champion:
    problem = services.problem
    if since.pointer is None:
        return Champion()
    served = since.pointer.version
    try:
        manifest = services.registry.manifest(served)
        classes = training.classes_of(problem, rows) if isinstance(problem.target, Label) else ()
        other = comparison.incomparable(problem.contract, manifest.contract, classes, manifest.classes)
        if manifest.contract.derived and manifest.derive_sha256 != problem.derive_sha256:
            other = other or "it was trained with another derive"
        theirs = {} if other else reproduce.accepted(services.buckets.data, manifest)
        missing = [name for name in problem.identity if name not in theirs]
        if missing and not other:
            other = f"its rows have no {', '.join(missing)}, which now say which event a row is"
        if other:
            return Champion(served, manifest, None, other)
        theirs = holdout.without_duplicates(problem, theirs)
        held = _held(services, manifest, length(theirs))
        return Champion(served, manifest, holdout.seen(problem, rows, theirs, held))
    except (ArtifactError, NotFound) as broken:
        LOG.error("the served version %s cannot be compared: %s", served, broken)
        return Champion(served, None, None, f"it cannot be read: {broken}")


def _held(services: Services, manifest: Manifest, rows: int) -> Array | None:
    """Which of a version's rows its trial was not fitted on, None when that cannot be known any more."""
    if manifest.held is None or manifest.trial is None or rows != manifest.rows:
        return None
    return holdout.unpacked(services.registry.read_artifact(manifest.held), rows)


def judge(services: Services, manifest: Manifest, rows: Columns, champion: Champion) -> Report:
    """The gate's verdict on a published version, with all its numbers.

    Args:
        services: problem, registry.
        manifest: the challenger's.
        rows: what it was trained on, as `intake.accepted_rows` gives them.
        champion: the served version as the round found it.

    Raises:
        ArtifactError: when the challenger's own files are not what its manifest says.
    """
    problem = services.problem
    held, scorer = _held(services, manifest, length(rows)), version.load_judged(services.registry, problem, manifest)
    if held is None or scorer is None:
        raise ArtifactError(f"version {manifest.version} keeps no trial of these rows to judge it by")
    classes = training.classes_of(problem, rows)
    ours = functools.partial(_raw, scorer, classes)
    rival, scored = _rival(services, rows, held, champion, classes)
    columns = take(rows, scored)
    truth = training.truth(problem, columns, classes)
    report = gate.judge(
        problem,
        Contest(
            version=manifest.version,
            holdout=holdout.span(problem, rows, scored),
            columns=columns,
            truth=truth,
            blocks=holdout.blocks(problem, rows)[scored],
            classes=manifest.classes,
            challenger=ours(columns),
            constant=training.baseline(problem, take(rows, ~held), classes, length(columns)),
            rival=rival,
        ),
    )
    return _with_importance(problem, report, columns, truth, ours)


def _with_importance(
    problem: Problem, report: Report, columns: Columns, truth: Array, raw: Callable[[Columns], Array]
) -> Report:
    try:
        found = diagnosis.importance(problem, report.metric, columns, truth, raw, problem.seed)
    except Exception:  # derive may refuse a shuffled row; no verdict hangs on it
        LOG.warning("the features' importance of %s could not be measured", report.version, exc_info=True)
        return report
    return msgspec.structs.replace(report, importance=found)


def _rival(
    services: Services, rows: Columns, held: Array, champion: Champion, classes: tuple[str, ...]
) -> tuple[Rival, Array]:
    """The served version's answers on the rows it can be judged by, and which rows these are."""
    problem, manifest, known = services.problem, champion.manifest, champion.seen
    if not champion.version:
        return Rival(), held
    if manifest is None:
        return Rival(champion.version, "unreadable", champion.other), held
    if known is None:
        return Rival(champion.version, "other", champion.other), held
    where = holdout.blocks(problem, rows)
    represented, scored = holdout.opponent(problem, where, held, known)
    why = holdout.why(problem, rows, represented, known)
    if represented == "none":
        return Rival(champion.version, "none", why), held
    scorer: Scorer | None
    try:
        if represented == "final":
            scorer = version.load(services.registry, problem, champion.version).scorer
        else:
            scorer = version.load_judged(services.registry, problem, manifest)
        raw = None if scorer is None else _raw(scorer, classes, take(rows, scored))
    except ArtifactError as broken:
        LOG.error("the served version %s cannot be compared: %s", champion.version, broken)
        return Rival(champion.version, "unreadable", f"it cannot be read: {broken}"), held
    return Rival(champion.version, represented, why, raw), scored


def _raw(scorer: Scorer, classes: tuple[str, ...], columns: Columns) -> Array:
    """A stored model's raw output, its columns at the places of `classes`."""
    raw: Array = scorer.model(scorer.encoder.matrix(columns))
    if not scorer.classes:
        return raw
    out = np.zeros((len(raw), len(classes)))
    out[:, [classes.index(name) for name in scorer.classes]] = raw
    return out
