# SPDX-License-Identifier: Apache-2.0
"""What a problem is made of.

`Contract` is the part that travels: plain data, written into every version's manifest, from which the request
decoder, the table schema and the model's input are generated. `Problem` adds what only the training side needs: how
a file becomes rows, and the estimator. Neither imports a cloud SDK, scikit-learn, pandas or pyarrow.

A *row batch* is `Columns`: column name -> one-dimensional array, all of one length. Numbers are float64 with NaN for
missing, categories are object arrays of str with None for missing, timestamps are datetime64.
"""

from __future__ import annotations

import functools
import hashlib
import importlib
import inspect
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import msgspec
import numpy as np

from .errors import ContractError
from .kinds import (
    METRICS,
    Category,
    Column,
    Feature,
    Gate,
    Label,
    Number,
    Probability,
    Quantity,
    Target,
    Timestamp,
)
from .problemcheck import RESERVED, check_contract, check_problem
from .rules import Deny, Monotone, Policy

__all__ = [
    "METRICS",
    "RESERVED",
    "Category",
    "Column",
    "Columns",
    "Contract",
    "Deny",
    "Feature",
    "Gate",
    "Label",
    "Monotone",
    "Number",
    "Policy",
    "Probability",
    "Problem",
    "Quantity",
    "Target",
    "Timestamp",
    "describe",
    "load_problem",
    "source_sha256",
]

Columns = Mapping[str, np.ndarray[Any, Any]]
"""A row batch: column name -> array of shape (rows,)."""


class Contract(msgspec.Struct, frozen=True, kw_only=True):
    """The part of a problem that a version carries with it.

    Attributes:
        name: short name of the problem.
        title: the question the model answers, as a sentence.
        features: what a request holds, in the model's order.
        derived: the numbers that `derive` adds, in the model's order, after the features.
        target: what is predicted.
        key: the features that identify a precomputed prediction.
        backoff: beginnings of the key, the longest first. Where a key or a category was never seen, the mean
            prediction of the longest of these groups that was seen answers; `()` is the group of all keys.
        ignore_unknown: whether a request may hold fields that are no features; they are ignored then.
        policy: what may be served.
    """

    name: str
    title: str
    features: tuple[Feature, ...]
    target: Target
    key: tuple[str, ...]
    derived: tuple[Number, ...] = ()
    backoff: tuple[tuple[str, ...], ...] = ()
    ignore_unknown: bool = False
    policy: Policy = Policy()

    def __post_init__(self) -> None:
        """Refuse what contradicts itself, naming the columns."""
        check_contract(self)

    @property
    def may_be_missing(self) -> tuple[int, ...]:
        """Positions of the inputs that can be NaN: left out, never seen, or derived from such a one."""
        gaps = [isinstance(f, Category) or f.missing or bool(f.given_by) for f in self.features]
        gaps += [any(gaps)] * len(self.derived)
        return tuple(position for position, gap in enumerate(gaps) if gap)

    @property
    def inputs(self) -> tuple[Feature, ...]:
        """The model's input columns, in order."""
        return self.features + self.derived

    def feature(self, name: str) -> Feature:
        """The feature of that name."""
        return next(f for f in self.features if f.name == name)


class Problem(Contract, frozen=True, kw_only=True):
    """The adopter's file: a contract, and how to train it.

    Attributes:
        columns: what a file must hold; empty means features, target, identity and time as they are.
        prepare: the file's columns -> all of features, target, identity and time. For labels and dates; a request
            never passes through it.
        derive: features -> the derived features. Pure; training, batch and online call the same function.
        estimator: the model's input columns -> an unfitted scikit-learn estimator for a float32 matrix of shape
            (rows, inputs), categories as codes in the order of the version's vocabulary, missing and unseen as NaN.
        identity: the columns that make two rows the same event.
        time: the column that orders rows: the newest block of it is the holdout.
        window: train on the newest so many uploads; 0 means all accepted data.
        gate: when a challenger may be served.
        nulls: what a file may write for a missing value.
        seed: of everything random.
    """

    estimator: Callable[[Sequence[Feature]], Any]
    identity: tuple[str, ...]
    time: str
    columns: tuple[Column, ...] = ()
    prepare: Callable[[Columns], Columns] | None = None
    derive: Callable[[Columns], Columns] | None = None
    window: int = 0
    gate: Gate = Gate()
    nulls: tuple[str, ...] = ("", "NA", "N/A", "NaN", "nan", "null", "NULL", "None")
    seed: int = 20130101

    def __post_init__(self) -> None:
        """Refuse what contradicts itself."""
        super().__post_init__()
        check_problem(self)
        for function in (self.prepare, self.derive, self.estimator):
            source_sha256(function)  # now, and remembered: the file may be edited while this process goes on

    @property
    def contract(self) -> Contract:
        """The part that a version carries with it."""
        return Contract(**{name: getattr(self, name) for name in Contract.__struct_fields__})

    @property
    def kept(self) -> tuple[str, ...]:
        """The columns of an accepted row: features, target, identity and time, each once."""
        named = (*(f.name for f in self.features), self.target.name, *self.identity, self.time)
        return tuple(dict.fromkeys(named))

    @property
    def ingest_sha256(self) -> str:
        """Hash of all that decides what a file's rows become: accepted rows are good for this problem alone."""
        names = ("columns", "features", "target", "identity", "time", "nulls")
        facts = {name: getattr(self, name) for name in names} | {"prepare": source_sha256(self.prepare)}
        return hashlib.sha256(msgspec.json.encode(facts)).hexdigest()

    @property
    def derive_sha256(self) -> str:
        """Hash of the derive function's source, empty when there is none: training and serving must agree on it."""
        return source_sha256(self.derive)

    @property
    def code_sha256(self) -> dict[str, str]:
        """What decides, besides the data, what a training makes: part -> hash."""
        contract = hashlib.sha256(msgspec.json.encode(self.contract)).hexdigest()
        return {
            "contract": contract,
            "ingest": self.ingest_sha256,
            "derive": self.derive_sha256,
            "estimator": source_sha256(self.estimator),
        }


@functools.cache
def source_sha256(function: Callable[..., Any] | None) -> str:
    """SHA-256 of a function's source text as it was when first asked, empty for None.

    Raises:
        ContractError: when it has no source, such as a functools.partial.
    """
    try:
        return hashlib.sha256(inspect.getsource(function).encode()).hexdigest() if function else ""
    except (OSError, TypeError) as error:
        raise ContractError(f"{function!r} must be a function written in a file: {error}") from error


def describe(error: BaseException) -> str:
    """An exception of the adopter's code in one line."""
    return f"{type(error).__name__}: {error}"


def load_problem(reference: str) -> Problem:
    """The Problem that `module:attribute` names.

    Raises:
        ContractError: when there is no such module, attribute, or it is no Problem.
    """
    module_name, _, attribute = reference.partition(":")
    if not module_name or not attribute:
        raise ContractError(
            f"DROPFIT_PROBLEM={reference!r}: write module:attribute, such as {module_name or 'rents'}:problem"
        )
    try:
        problem = getattr(importlib.import_module(module_name), attribute)
    except ContractError as error:
        raise ContractError(f"DROPFIT_PROBLEM={reference!r}: {error}") from error
    except Exception as error:  # the adopter's file may raise anything
        raise ContractError(f"DROPFIT_PROBLEM={reference!r} names no problem: {describe(error)}") from error
    if not isinstance(problem, Problem):
        raise ContractError(f"DROPFIT_PROBLEM={reference!r} is a {type(problem).__name__}, not a Problem")
    return problem
