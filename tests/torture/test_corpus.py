# SPDX-License-Identifier: Apache-2.0
"""Every bad and odd file gets the verdict that it must get, and none of them moves what is served."""

from __future__ import annotations

import csv
import io
import os
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest

from beam_pipelines import retrain
from beam_pipelines.intake import Services
from dropfit import storage
from dropfit.contract import load_problem
from dropfit.ingest import Caps, ingest
from dropfit.problem import problem
from dropfit.receipts import Receipt, Receipts, UploadedObject
from dropfit.registry import Registry
from dropfit.settings import Settings
from tests.torture import corpus

# Two threads that spin for each other are slow beside other tests. Read when scikit-learn is imported.
os.environ.setdefault("OMP_NUM_THREADS", "1")
SEED = 20130201
FILES = corpus.corpus(SEED)


def test_the_corpus_holds_enough_files_of_every_kind() -> None:
    assert len(FILES) >= 60
    assert len({case.name for case in FILES}) == len(FILES)
    codes = {case.verdict.code for case in FILES}
    assert {"", "empty", "no-rows", "not-utf8", "unknown", "truncated", "too-large", "field-too-large"} <= codes
    assert {"missing-columns", "duplicate-columns", "too-many-columns", "empty-column", "constant-target"} <= codes


@pytest.mark.parametrize("case", FILES, ids=[str(number) for number in range(len(FILES))])
def test_a_file_gets_its_verdict_and_a_legible_reason(case: corpus.Case) -> None:
    found, reason = corpus.judged(case.payload)
    assert found == case.verdict, f"{case.name}: {reason}"
    assert len(reason) <= 1000
    assert reason.isprintable()


def test_no_cell_of_a_sheet_of_rejected_rows_is_a_formula() -> None:
    (formulas,) = (case for case in FILES if case.name == "formulas.csv")
    sink = io.StringIO(newline="")
    ingest(problem, io.BytesIO(formulas.payload), io.BytesIO(), sink, Caps())
    (row,) = csv.DictReader(io.StringIO(sink.getvalue().removeprefix("\ufeff"), newline=""))
    assert row["carrier"] == "'=cmd|'/C calc'!A0"


class Deployment:
    """The flights, served, in a deployment that from then on only records."""

    def __init__(self, settings: Settings, january: Path) -> None:
        buckets = storage.connect(settings)
        self._receipts = Receipts(buckets.data)
        self._landing = buckets.landing
        self._models = buckets.models
        problem = load_problem(settings.problem)
        self._services = Services(settings, problem, buckets, self._receipts, Registry(buckets.models))
        first = self.upload("flights-2013-01.csv", january.read_bytes())
        self.work()
        assert self.outcome(first).state == "promoted"
        recording = msgspec.structs.replace(settings, training="static")
        self._services = msgspec.structs.replace(self._services, settings=recording)

    def upload(self, name: str, payload: bytes) -> Receipt:
        stored = self._landing.put(name, payload)
        return self._receipts.register(UploadedObject(stored.bucket, name, stored.generation))[0]

    def work(self) -> None:
        retrain.work(self._services, "corpus")

    def outcome(self, receipt: Receipt) -> Receipt:
        return self._receipts.get(receipt.id)

    def served(self) -> object:
        """The pointer, and every object of every version with its generation: objects never change in place."""
        return self._models.fetch("current.json"), [(o.name, o.generation) for o in self._models.list()]


@pytest.mark.verify
@pytest.mark.timeout(1200)
def test_a_deployment_gives_every_file_its_verdict_and_serves_what_it_served(
    deployment: Callable[..., Settings], months: list[Path]
) -> None:
    there = Deployment(deployment(DROPFIT_MAX_UNPACKED_BYTES=str(corpus.UNPACKED)), months[0])
    figure = corpus.run(SEED, there.upload, there.work, there.outcome, there.served)
    print(figure.sentence)
    assert figure.ok, "\n".join(figure.wrong)
