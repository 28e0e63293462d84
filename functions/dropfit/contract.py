# SPDX-License-Identifier: Apache-2.0
"""What a problem is made of.

`Contract` is the part that travels: plain data, written into every version's manifest, from which the request
decoder, the table schema and the model's input are generated. `Problem` adds what only the training side needs: how
a file becomes rows, and the estimator. Neither imports a cloud SDK, scikit-learn, pandas or pyarrow.

A *row batch* is `Columns`: column name -> one-dimensional array, all of one length. Numbers are float64 with NaN for
missing, categories are object arrays of str with None for missing, timestamps are datetime64.
"""

from __future__ import annotations

import hashlib
import importlib
import inspect
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal

import msgspec
import numpy as np

from .errors import ContractError

Columns = Mapping[str, np.ndarray[Any, Any]]
"""A row batch: column name -> array of shape (rows,)."""

NAME = re.compile(r"[A-Za-z][A-Za-z0-9_]{0,62}\Z")
RESERVED = frozenset({"prediction", "probabilities", "policy", "model_version", "predicted_at"})


class Number(msgspec.Struct, frozen=True, kw_only=True, tag="number", omit_defaults=True):
    """A numeric column.

    Attributes:
        name: column name in files, requests and the table.
        minimum: smallest value allowed, inclusive.
        maximum: largest value allowed, inclusive.
        integer: whole numbers only.
        missing: whether a row or a request may leave it out.
        given_by: the features that determine it. What the accepted data say is pinned in the version, and a request
            that leaves it out is completed from there (a route's distance, say).
        description: one line for the API document and the model card.
    """

    name: str
    minimum: float | None = None
    maximum: float | None = None
    integer: bool = False
    missing: bool = False
    given_by: tuple[str, ...] = ()
    description: str = ""


class Category(msgspec.Struct, frozen=True, kw_only=True, tag="category", omit_defaults=True):
    """A column of names.

    Attributes:
        name: column name in files, requests and the table.
        values: the closed set of allowed values; empty means any.
        max_length: longest value allowed, in characters.
        missing: whether a row or a request may leave it out.
        description: one line for the API document and the model card.
    """

    name: str
    values: tuple[str, ...] = ()
    max_length: int = 128
    missing: bool = False
    description: str = ""


class Timestamp(msgspec.Struct, frozen=True, kw_only=True, tag="timestamp", omit_defaults=True):
    """A date or time of a file, ISO 8601; not a feature: derive numbers from it in `prepare`."""

    name: str
    missing: bool = False
    description: str = ""


Feature = Number | Category
Column = Number | Category | Timestamp


class Probability(msgspec.Struct, frozen=True, kw_only=True, tag="probability"):
    """The target is 0 or 1, and the prediction is the probability of 1."""

    name: str


class Label(msgspec.Struct, frozen=True, kw_only=True, tag="label"):
    """The target is one of some names, and the prediction is the most probable name."""

    name: str
    values: tuple[str, ...]


class Quantity(msgspec.Struct, frozen=True, kw_only=True, tag="quantity"):
    """The target is a number, and so is the prediction."""

    name: str


Target = Probability | Label | Quantity
METRICS: dict[type, tuple[str, ...]] = {
    Probability: ("log_loss", "brier"),
    Label: ("log_loss",),
    Quantity: ("rmse", "mae"),
}
"""What a gate can decide by, the usual metric first; smaller is better."""


class Policy(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What may be served, whatever the model says (numbers and probabilities only).

    Attributes:
        minimum: smaller predictions are raised to it, and the reply says `minimum`.
        maximum: larger predictions are lowered to it, and the reply says `maximum`.
        digits: predictions are rounded to so many decimals.
    """

    minimum: float | None = None
    maximum: float | None = None
    digits: int | None = None

    def __post_init__(self) -> None:
        """Refuse bounds that nothing can keep."""
        if self.minimum is not None and self.maximum is not None and self.minimum > self.maximum:
            raise ContractError(f"policy: minimum {self.minimum:g} is above maximum {self.maximum:g}")


class Gate(msgspec.Struct, frozen=True, kw_only=True):
    """When a challenger may be served.

    Attributes:
        metric: what decides, smaller is better; the default depends on the target: log_loss, or rmse for a quantity.
        minimum_rows: fewer training or holdout rows than this cannot carry a model.
        holdout_share: the newest share of the time blocks (0 to 1) that is held out to judge.
    """

    metric: Literal["", "log_loss", "brier", "rmse", "mae"] = ""
    minimum_rows: int = 100
    holdout_share: float = 0.2


class Contract(msgspec.Struct, frozen=True, kw_only=True):
    """The part of a problem that a version carries with it.

    Attributes:
        name: short name of the problem.
        title: the question the model answers, as a sentence.
        features: what a request holds, in the model's order.
        derived: the numbers that `derive` adds, in the model's order, after the features.
        target: what is predicted.
        key: the features that identify a precomputed prediction.
        policy: what may be served.
    """

    name: str
    title: str
    features: tuple[Feature, ...]
    target: Target
    key: tuple[str, ...]
    derived: tuple[Number, ...] = ()
    policy: Policy = Policy()

    def __post_init__(self) -> None:
        """Refuse what contradicts itself, naming the columns."""
        names = [f.name for f in self.inputs]
        bad = [n for n in [*names, self.target.name] if not NAME.match(n) or n in RESERVED]
        if bad:
            raise ContractError(f"{self.name}: not usable as column names: {', '.join(bad)}")
        if len({*names, self.target.name}) != len(names) + 1:
            raise ContractError(f"{self.name}: a column is named twice: {', '.join([*names, self.target.name])}")
        requested = {f.name for f in self.features}
        pinned = {name for f in self.features if isinstance(f, Number) for name in f.given_by}
        unknown = (set(self.key) | pinned) - requested
        if unknown or not self.key:
            raise ContractError(f"{self.name}: key and given_by must name features; {sorted(unknown)} are none")

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
        if not self.columns:
            raise ContractError(f"{self.name}: say which columns a file holds")
        measured = METRICS[type(self.target)]
        if self.gate.metric and self.gate.metric not in measured:
            raise ContractError(f"{self.name}: the gate can decide by {', '.join(measured)}, not {self.gate.metric}")
        if bool(self.derived) != (self.derive is not None):
            raise ContractError(f"{self.name}: derived features and derive belong together")
        if self.prepare is None:
            held = {c.name for c in self.columns}
            missing = [n for n in self.kept if n not in held]
            if missing:
                raise ContractError(f"{self.name}: no column or prepare gives {', '.join(missing)}")

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


def source_sha256(function: Callable[..., Any] | None) -> str:
    """SHA-256 of a function's source text, empty for None."""
    return hashlib.sha256(inspect.getsource(function).encode()).hexdigest() if function else ""


def load_problem(reference: str) -> Problem:
    """The Problem that `module:attribute` names.

    Raises:
        ContractError: when there is no such module, attribute, or it is no Problem.
    """
    module_name, _, attribute = reference.partition(":")
    try:
        problem = getattr(importlib.import_module(module_name), attribute)
    except (ImportError, AttributeError, ValueError) as error:
        raise ContractError(f"DROPFIT_PROBLEM={reference!r} names no problem: {error}") from error
    if not isinstance(problem, Problem):
        raise ContractError(f"DROPFIT_PROBLEM={reference!r} is a {type(problem).__name__}, not a Problem")
    return problem
