# SPDX-License-Identifier: Apache-2.0
"""May this version be served? Pure: two models' answers on the same rows in, a verdict with its reasons out."""

from __future__ import annotations

import datetime as dt
from typing import Any, Literal

import msgspec

from . import diagnosis, metrics
from .comparison import compare, groups, losses, slices
from .contract import Columns, Label, Problem, Quantity
from .verdict import Difference, Report, Slice


class Rival(msgspec.Struct, frozen=True):
    """What the challenger is compared with besides the constant.

    Attributes:
        version: the champion's id, empty when nothing is served.
        represented: see Report.
        why: the reason of that, in words.
        raw: its raw output on the rows, when it can be compared.
    """

    version: str = ""
    represented: Literal["first", "final", "trial", "none", "other", "unreadable"] = "first"
    why: str = "nothing is served yet, so the constant alone decides"
    raw: Any = None


class Contest(msgspec.Struct, frozen=True):
    """Rows that no contestant was fitted on, and what each says of them.

    Attributes:
        version: the challenger's id.
        holdout: first and last block, method, rows and blocks.
        columns: the rows' features, shape (rows,) each.
        truth: their target, shape (rows,): 0/1, positions in `classes`, or values.
        blocks: their time blocks, integers, shape (rows,).
        classes: labels in the order of the probabilities; empty unless the target is a label.
        challenger: raw output, shape (rows, classes), or (rows, 1) of a quantity.
        constant: the same of the constant that knows the challenger's training rows' target.
        rival: the champion.
    """

    version: str
    holdout: dict[str, str | int]
    columns: Columns
    truth: Any
    blocks: Any
    classes: tuple[str, ...]
    challenger: Any
    constant: Any
    rival: Rival = Rival()


def judge(problem: Problem, contest: Contest) -> Report:
    """The rules: better than the constant, not worse than the champion by more than the tolerance, no slice worse.

    Returns:
        The report, without the importance of the features, which needs the model itself.
    """
    gate, rival, truth = problem.gate, contest.rival, contest.truth
    metric = metrics.deciding(gate, problem.target)
    contestants = {"challenger": contest.challenger, "champion": rival.raw, "constant": contest.constant}
    scores = {name: metrics.measure(problem.target, truth, r) for name, r in contestants.items() if r is not None}
    ours = losses(metric, truth, contest.challenger)
    theirs = None if rival.raw is None else losses(metric, truth, rival.raw)
    apart = None if theirs is None else compare(metric, ours, theirs, contest.blocks, problem.seed)
    chosen = groups(problem, gate.slices, contest.columns, gate.slice_rows)
    cut = slices(metric, chosen, ours, theirs, contest.blocks, problem.seed, gate.slice_tolerance)
    verdicts = [
        _against_constant(metric, scores, contest.holdout),
        _against_champion(metric, scores, rival, apart, gate.tolerance),
        _slice_by_slice(metric, cut, rival, gate.slice_tolerance, _too_small(problem, contest)),
    ]
    return Report(
        version=contest.version,
        passed=all(passed for passed, _ in verdicts),
        reasons=tuple(words for _, words in verdicts if words),
        judged_at=dt.datetime.now(dt.UTC),
        champion=rival.version,
        represented=rival.represented,
        why=rival.why,
        metric=metric,
        tolerance=gate.tolerance,
        holdout=contest.holdout,
        scores=scores,
        difference=apart,
        slices=cut,
        calibration=diagnosis.calibration(problem.target, truth, contest.challenger),
        confusion=diagnosis.confusion(problem.target, truth, contest.challenger),
        classes=_classes(problem, contest),
    )


def _classes(problem: Problem, contest: Contest) -> tuple[str, ...]:
    if isinstance(problem.target, Quantity):
        return ()
    return contest.classes if isinstance(problem.target, Label) else ("0", "1")


def _against_constant(
    metric: str, scores: dict[str, dict[str, float]], holdout: dict[str, str | int]
) -> tuple[bool, str]:
    model, constant = scores["challenger"][metric], scores["constant"][metric]
    passed = model < constant
    rows, first, last = (holdout[k] for k in ("rows", "first", "last"))
    verdict = "better than" if passed else "not better than"
    return passed, (
        f"{metric} {model:.4f} on {rows:,} rows of {first} to {last}: {verdict} the constant's {constant:.4f}"
    )


def _against_champion(
    metric: str, scores: dict[str, dict[str, float]], rival: Rival, apart: Difference | None, tolerance: float
) -> tuple[bool, str]:
    if rival.represented == "first":
        return True, ""
    if rival.represented in ("other", "unreadable"):
        return True, f"not compared with {rival.version}, because {rival.why}: the constant alone decides"
    if rival.represented == "none" or apart is None:
        return False, f"not compared with {rival.version}, which stays: {rival.why}"
    theirs = scores["champion"][metric]
    allowed = tolerance * theirs
    passed = apart.value <= allowed
    model = "its trial" if rival.represented == "trial" else "it"
    verdict = "better than" if apart.value < 0 else "equal within tolerance to" if passed else "worse than"
    return passed, (
        f"{verdict} the served {rival.version}: {model} has {theirs:.4f} there, the difference is {apart.value:+.4f} "
        f"({apart.level:.0%} interval {apart.low:+.4f} to {apart.high:+.4f}, {apart.blocks} blocks), allowed is "
        f"{allowed:+.4f}"
    )


def _too_small(problem: Problem, contest: Contest) -> str:
    """What the slices do not judge, in words."""
    all_of_them = groups(problem, problem.gate.slices, contest.columns, 1)
    small = [f"{name} {word}" for name, word, mask in all_of_them if mask.sum() < problem.gate.slice_rows]
    shown = ", ".join(small[:3]) + (f" and {len(small) - 3} more" if len(small) > 3 else "")
    return f"; too few rows to judge {shown} (under {problem.gate.slice_rows})" if small else ""


def _slice_by_slice(
    metric: str, cut: tuple[Slice, ...], rival: Rival, tolerance: float, too_small: str
) -> tuple[bool, str]:
    judged = [s for s in cut if s.difference is not None]
    worse = [s for s in judged if s.worse]
    if not judged:
        return True, ""
    if not worse:
        return True, f"none of {len(judged)} slices is worse by more than {tolerance:.1%}, beyond chance{too_small}"
    named = "; ".join(_worse(metric, s) for s in worse)
    return False, f"worse than {rival.version} where {named}"


def _worse(metric: str, cut: Slice) -> str:
    apart = cut.difference
    if apart is None:
        return f"{cut.feature} is {cut.value}"
    return (
        f"{cut.feature} is {cut.value} ({metric} {cut.challenger:.4f} on {cut.rows:,} rows, difference "
        f"{apart.value:+.4f}, {apart.level:.2%} interval {apart.low:+.4f} to {apart.high:+.4f})"
    )
