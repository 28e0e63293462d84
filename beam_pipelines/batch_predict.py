# SPDX-License-Identifier: Apache-2.0
"""Batch prediction: files, tables or the key universe -> predictions, in shards that one manifest commits.

One graph for every source, sink and runner. By hand, against the local cloud:

    set -a; . .dropfit/env; .venv/bin/python -m beam_pipelines.batch_predict VERSION FOLDER INPUT...
"""

from __future__ import annotations

import datetime as dt
import sys
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import apache_beam as beam
import msgspec

from beam_pipelines import runners, sources
from beam_pipelines.folders import folder
from beam_pipelines.ledger import Batch, Ledger, Plan, parts_done, unfinished
from beam_pipelines.transforms import Predict, Read, Work, Write, commit
from dropfit import settings as config
from dropfit.encoding import sha256
from dropfit.settings import Settings


def build(pipeline: Any, settings: Settings, batch: Batch, plan: Plan, todo: Sequence[Work]) -> None:
    """The graph: splits are handed out, read, predicted, written; then all of it is committed."""
    (
        pipeline
        | "Splits" >> beam.Create(list(todo), reshuffle=False)  # or Beam shuffles them twice
        | "Hand out" >> beam.Reshuffle()
        | "Read" >> beam.ParDo(Read(settings, batch.version))
        | "Predict" >> beam.ParDo(Predict(settings, batch.version, plan.at, batch.checked))
        | "Write" >> beam.ParDo(Write(settings, batch.place, plan.fingerprint))
        | "Gather" >> beam.combiners.ToList()
        | "Commit" >> beam.Map(commit, settings, batch.place, plan.fingerprint)
    )


def prepare(settings: Settings, batch: Batch) -> tuple[Ledger, Plan, list[Work]]:
    """The plan, and what of it is left to do after an earlier run; nothing is predicted yet.

    Raises:
        NotFound: when an input is gone.
        BadFile: when one cannot be read.
    """
    fingerprint = sha256(msgspec.json.encode([batch.version, batch.checked, batch.inputs]))
    ledger = Ledger(folder(settings, batch.place), fingerprint)

    def make() -> Plan:
        at = dt.datetime.now(dt.UTC).replace(microsecond=0)
        splits = tuple(sources.plan(settings, batch.inputs))
        return Plan(version=batch.version, at=at, fingerprint=fingerprint, splits=splits)

    plan = ledger.begin(make)
    done = parts_done(ledger.proven())
    return ledger, plan, [Work(split, tuple(done.get(split.number, ()))) for split in unfinished(plan, done)]


def run(
    settings: Settings,
    batch: Batch,
    watch: Callable[[Ledger, Plan], AbstractContextManager[Any]] | None = None,
) -> tuple[Ledger, Plan]:
    """Launch it and wait until the manifest is there.

    Args:
        settings: where everything is, and which runner it is.
        batch: what is to be done.
        watch: gives a context manager that follows the notes while the pipeline runs: a progress bar.

    Raises:
        ArtifactError: when the pipeline ended without its manifest, or it is not readable.
        BadFile: when an input cannot be read at all.
        BatchError: when a transform raised what is no error of ours.
    """
    ledger, plan, todo = prepare(settings, batch)
    with watch(ledger, plan) if watch else nullcontext():
        if todo:
            labels = {"dropfit_version": batch.version, "dropfit_problem": settings.problem}
            runners.run(lambda into: build(into, settings, batch, plan, todo), settings, batch.name, labels)
        else:
            ledger.commit()
    ledger.manifest()
    return ledger, plan


def main(arguments: Sequence[str]) -> int:
    """`batch_predict VERSION FOLDER INPUT...`."""
    if len(arguments) < 3:
        print(__doc__)
        return 2
    version_id, place, *inputs = arguments
    settings = config.load()
    found = tuple(sources.expand(settings, inputs))
    ledger, _ = run(settings, Batch(version_id, found, place, f"{version_id}-{sha256(place.encode())[:8]}"))
    shards = ledger.manifest()
    print(f"{shards.rows:,} rows in {len(shards.shards)} shards, listed in {place}/manifest.json")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
