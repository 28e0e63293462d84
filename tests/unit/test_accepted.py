# SPDX-License-Identifier: Apache-2.0
"""Accepted rows counted in a stream, as a training of now would use them."""

from __future__ import annotations

import collections
from typing import Any

import numpy as np
import pytest
from fake_bucket import FakeBucket
from fakes import csv_of, pots, settings, tea

from beam_pipelines import intake
from beam_pipelines.intake import Services
from dropfit import accepted
from dropfit.contract import Number, Problem
from dropfit.errors import ArtifactError, NotFound
from dropfit.keys import joined
from dropfit.receipts import Receipt, Receipts, UploadedObject
from dropfit.registry import Registry
from dropfit.storage import Buckets
from dropfit.universe import Universe


class Desk:
    """Uploads that are taken in, and counted."""

    def __init__(self, problem: Problem | None = None) -> None:
        self.problem = problem or tea()
        self.buckets = Buckets(*(FakeBucket(n) for n in ("landing", "data", "models")))  # type: ignore[arg-type]
        receipts, registry = Receipts(self.buckets.data), Registry(self.buckets.models)
        self.services = Services(settings(), self.problem, self.buckets, receipts, registry)

    def take_in(self, name: str, rows: Any) -> Receipt:
        stored = self.buckets.landing.put(name, csv_of(self.problem, rows))
        uploaded = UploadedObject("landing", name, stored.generation)
        return intake.ingest(self.services, self.services.receipts.register(uploaded)[0])

    def counted(self, problem: Problem | None = None) -> Universe:
        return accepted.counted(problem or self.problem, self.buckets.data)

    def trained_on(self) -> dict[str, int]:
        """How often each key comes in the rows that a training would use."""
        rows, _ = intake.accepted_rows(self.services, intake.window(self.services).inputs)
        return collections.Counter(joined(rows, self.problem.key))


def counts(found: Universe) -> dict[str, int]:
    return dict(zip(found.axes.texts(found.numbers), found.counts.tolist(), strict=True))


@pytest.mark.parametrize("changes", [{}, {"identity": ()}, {"window": 2}], ids=["usual", "no identity", "window"])
def test_the_keys_are_counted_as_a_training_of_now_would_count_them(changes: Any) -> None:
    desk, rows = Desk(tea(**changes)), pots(120)
    twice = {name: np.concatenate([values[:40], values[:40]]) for name, values in rows.items()}
    twice["minutes"][:40] = 59.0  # the rows further down are those that count
    desk.take_in("one.csv", twice)
    desk.take_in("two.csv", {name: values[20:90] for name, values in pots(120, seed=1).items()})
    desk.take_in("three.csv", {**pots(50, seed=2), "pot": np.arange(50) + 80.0})
    assert counts(desk.counted()) == desk.trained_on()


def test_an_upload_that_was_overwritten_counts_with_its_newest_generation() -> None:
    desk = Desk()
    desk.take_in("one.csv", pots(40))
    desk.take_in("one.csv", {**pots(30, seed=1), "pot": np.arange(30) + 1000.0})
    assert counts(desk.counted()) == desk.trained_on()
    assert desk.counted().total == 30


def test_what_another_problem_has_read_is_left_out_and_that_is_said() -> None:
    desk = Desk()
    desk.take_in("one.csv", pots(40))
    changed = tea(columns=(*desk.problem.columns, Number(name="mass")))
    with pytest.raises(
        NotFound, match=r"no accepted rows to count; 1 uploads were taken in under another problem.py"
    ):
        desk.counted(changed)
    desk.services = Services(settings(), changed, desk.buckets, desk.services.receipts, desk.services.registry)
    desk.problem = changed
    desk.take_in("two.csv", {**pots(30), "mass": np.ones(30), "pot": np.arange(30) + 1000.0})
    found = desk.counted()
    assert found.total == 30
    assert found.notes == ("1 uploads were taken in under another problem.py; the next training reads them again",)


def test_without_an_upload_there_is_nothing_to_count_and_it_says_what_to_do() -> None:
    with pytest.raises(NotFound, match="no accepted rows to count; `dropfit upload FILE` first"):
        Desk().counted()


def test_a_file_that_is_not_what_was_accepted_is_not_counted() -> None:
    desk = Desk()
    receipt = desk.take_in("one.csv", pots(40))
    desk.buckets.data.rot(receipt.accepted_name, b"something else")  # type: ignore[attr-defined]
    with pytest.raises(ArtifactError, match=r"is not what was accepted of one.csv"):
        desk.counted()
