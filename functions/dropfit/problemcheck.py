# SPDX-License-Identifier: Apache-2.0
"""What is refused of a problem when problem.py is loaded, with the columns named; its policy has rulecheck."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from .errors import ContractError
from .kinds import METRICS, Category, Feature, Label, Number, Timestamp, tuples
from .rulecheck import check

if TYPE_CHECKING:
    from .contract import Contract, Problem

NAME = re.compile(r"[A-Za-z][A-Za-z0-9_]{0,62}\Z")
RESERVED = frozenset({"prediction", "probabilities", "policy", "model_version", "predicted_at"})


def check_contract(contract: Contract) -> None:
    """Refuse what contradicts itself, naming the columns.

    Args:
        contract: of a problem, or read back from a version's manifest.

    Raises:
        ContractError: with what is wrong.
    """
    who = contract.name
    tuples(who, **{n: getattr(contract, n) for n in ("features", "derived", "key", "backoff")})
    dates = [f.name for f in contract.features if isinstance(f, Timestamp)]
    if dates:
        raise ContractError(
            f"{who}: a date is no feature: {', '.join(dates)}; prepare can make a number of it, such as days since"
        )
    names = [*(f.name for f in contract.inputs), contract.target.name]
    bad = [n for n in names if not NAME.match(n)]
    if bad:
        raise ContractError(
            f"{who}: not usable as names of features or target: {', '.join(bad)}; letters, digits and _, a letter "
            "first, 63 at most. Where a file names its columns otherwise, prepare translates"
        )
    taken = [n for n in names if n.lower() in RESERVED]
    if taken:
        raise ContractError(f"{who}: the table has columns of its own that are named so: {', '.join(taken)}")
    # BigQuery does not tell Leaf from leaf.
    if len({n.lower() for n in names}) != len(names):
        raise ContractError(f"{who}: a column is named twice: {', '.join(names)}")
    _check_key(contract)
    check(contract.policy, contract.inputs, contract.target)


def _check_key(contract: Contract) -> None:
    who, key = contract.name, contract.key
    unknown = set(key) - {f.name for f in contract.features}
    if unknown or not key:
        raise ContractError(f"{who}: the key must name features; {sorted(unknown)} are none")
    loose = [f.name for f in contract.features if f.name not in key and not _given(f, key)]
    if loose:
        raise ContractError(
            f"{who}: {', '.join(loose)} must be in the key, or be given_by columns of the key: else a row "
            "of the table would say something else than a request"
        )
    sizes = [len(group) for group in contract.backoff]
    if sizes != sorted(set(sizes), reverse=True) or any(g != key[: len(g)] for g in contract.backoff):
        raise ContractError(
            f"{who}: backoff must be beginnings of the key ({', '.join(key)}), each a tuple, the longest first"
        )


def _given(feature: Feature, key: tuple[str, ...]) -> bool:
    by = feature.given_by if isinstance(feature, Number) else ()
    return bool(by) and set(by) <= set(key)


def check_problem(problem: Problem) -> None:
    """Refuse what contradicts itself on the training side.

    Args:
        problem: whose contract was checked.

    Raises:
        ContractError: with what is wrong.
    """
    who = problem.name
    tuples(who, **{n: getattr(problem, n) for n in ("columns", "identity", "nulls")})
    if not problem.columns:
        raise ContractError(f"{who}: say which columns a file holds")
    measured = METRICS[type(problem.target)]
    if problem.gate.metric and problem.gate.metric not in measured:
        raise ContractError(f"{who}: the gate can decide by {', '.join(measured)}, not {problem.gate.metric}")
    strange = set(problem.gate.slices) - {f.name for f in problem.features}
    if strange:
        raise ContractError(f"{who}: the gate's slices must be features; {', '.join(sorted(strange))} are none")
    if bool(problem.derived) != (problem.derive is not None):
        raise ContractError(f"{who}: derived features and derive belong together")
    if not callable(problem.estimator):
        raise ContractError(
            f"{who}: estimator must be a function that returns the estimator, not the estimator itself"
        )
    if problem.window < 0:
        raise ContractError(f"{who}: window is a number of uploads, or 0 for all")
    if problem.prepare is None:
        _check_columns(problem)


def _check_columns(problem: Problem) -> None:
    """Without prepare the file's columns are the features, target, identity and time."""
    held = {c.name: c for c in problem.columns}
    missing = [n for n in problem.kept if n not in held]
    if missing:
        raise ContractError(f"{problem.name}: no column or prepare gives {', '.join(missing)}")
    wanted: list[tuple[str, type | tuple[type, ...]]] = [(f.name, type(f)) for f in problem.features]
    wanted.append((problem.target.name, Category if isinstance(problem.target, Label) else Number))
    wanted.append((problem.time, (Number, Timestamp)))
    other = [name for name, kind in wanted if not isinstance(held[name], kind)]
    if other:
        raise ContractError(f"{problem.name}: columns are of another kind than what they feed: {', '.join(other)}")
