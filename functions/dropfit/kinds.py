# SPDX-License-Identifier: Apache-2.0
"""The words a problem is written in: columns, targets and gate. Import them from dropfit.contract."""

from __future__ import annotations

from typing import Literal

import msgspec

from .errors import ContractError


def ordered(what: str, minimum: float | None, maximum: float | None) -> None:
    """Refuse bounds that nothing can keep."""
    if minimum is not None and maximum is not None and minimum > maximum:
        raise ContractError(f"{what}: minimum {minimum:g} is above maximum {maximum:g}")


def tuples(who: str, **given: object) -> None:
    """Refuse a name, or a list, where a tuple is due: `("plan")` lacks the comma that makes it one."""
    for what, value in given.items():
        if not isinstance(value, tuple):
            raise ContractError(f"{who}: {what} must be a tuple; one of a single entry has a comma: {what}=(...,)")


class Number(msgspec.Struct, frozen=True, kw_only=True, tag="number", omit_defaults=True):
    """A numeric column.

    Attributes:
        name: column name in files, requests and the table.
        minimum: smallest value allowed, inclusive.
        maximum: largest value allowed, inclusive.
        integer: whole numbers only.
        missing: whether a row or a request may leave it out.
        given_by: the features that determine it. What the accepted data say is pinned in the version, and a request
            that leaves it out is completed from there (the population of a town, say).
        description: one line for the API document and the model card.
    """

    name: str
    minimum: float | None = None
    maximum: float | None = None
    integer: bool = False
    missing: bool = False
    given_by: tuple[str, ...] = ()
    description: str = ""

    def __post_init__(self) -> None:
        """Refuse bounds that nothing can keep."""
        ordered(self.name, self.minimum, self.maximum)
        tuples(self.name, given_by=self.given_by)


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

    def __post_init__(self) -> None:
        """Refuse what names no values."""
        tuples(self.name, values=self.values)


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

    def __post_init__(self) -> None:
        """Refuse what names no labels."""
        tuples(self.name, values=self.values)


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


class Gate(msgspec.Struct, frozen=True, kw_only=True):
    """When a challenger may be served: docs/adr/0011 has the measurements behind the defaults.

    Attributes:
        metric: what decides, smaller is better; the default depends on the target: log_loss, or rmse for a quantity.
        minimum_rows: fewer training rows than this, or holdout rows than a tenth of it, cannot carry a model.
        holdout_share: the newest share of the time blocks (0 to 1) that is held out to judge.
        tolerance: a challenger may lose so much more than the served version, as a share of the latter's loss.
        slices: features by whose values (categories) or quartiles (numbers) no slice of the rows may get worse.
        slice_rows: a slice with fewer holdout rows is not judged.
        slice_tolerance: a slice is worse when it is so by more than this share of the served version's loss there,
            beyond chance.
    """

    metric: Literal["", "log_loss", "brier", "rmse", "mae"] = ""
    minimum_rows: int = 100
    holdout_share: float = 0.2
    tolerance: float = 0.02
    slices: tuple[str, ...] = ()
    slice_rows: int = 100
    slice_tolerance: float = 0.02

    def __post_init__(self) -> None:
        """Refuse what cannot judge."""
        tuples("gate", slices=self.slices)
        if not 0 < self.holdout_share < 1 or self.minimum_rows < 1 or self.slice_rows < 1:
            raise ContractError("gate: holdout_share lies between 0 and 1; minimum_rows and slice_rows are 1 or more")
        if not (0 <= self.tolerance < 1 and 0 <= self.slice_tolerance < 1):
            raise ContractError("gate: tolerance and slice_tolerance are shares: 0.02 is 2%")
