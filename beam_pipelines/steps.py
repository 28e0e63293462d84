# SPDX-License-Identifier: Apache-2.0
"""The steps of a retraining, each idempotent: done twice, it leaves what it left the first time.

Heavy libraries are imported where they are used: a job that only finds another at work must end in a second.
"""

from __future__ import annotations

import datetime as dt
import logging
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from beam_pipelines.intake import Services
from beam_pipelines.table import warehouse_of
from dropfit import __version__, libraries, runs, view
from dropfit.contract import source_sha256
from dropfit.encoding import sha256
from dropfit.errors import NotFound
from dropfit.manifest import Input, Manifest, Window
from dropfit.receipts import Receipt
from dropfit.verdict import Completed, Report

if TYPE_CHECKING:
    from beam_pipelines.judging import Plan
    from dropfit.contract import Columns
    from dropfit.pointer import Current
    from dropfit.settings import Settings
    from dropfit.training import Trained

LOG = logging.getLogger(__name__)


def version_id(services: Services, inputs: Sequence[Receipt]) -> str:
    """The same data, code and libraries give the same id, so that a job that is repeated finds its own work.

    It begins with the newest upload's time (a generation is microseconds since 1970), so ids sort by age.
    """
    problem = services.problem
    facts = {
        "problem": services.settings.problem,
        "contract": problem.contract,
        "ingest": problem.ingest_sha256,
        "code": [__version__, problem.derive_sha256, source_sha256(problem.estimator), problem.seed, problem.gate],
        "inputs": [(r.id, r.accepted.sha256 if r.accepted else "") for r in inputs],
        "libraries": libraries.recorded(),
    }
    newest = max(r.object.generation for r in inputs)
    stamp = dt.datetime.fromtimestamp(newest / 1e6, dt.UTC)
    return f"{stamp:%Y%m%dT%H%M%S}-{sha256(msgspec.json.encode(facts))[:8]}"


def existing(services: Services, version: str) -> Manifest | None:
    """The version, when an earlier job made it already."""
    try:
        return services.registry.manifest(version)
    except NotFound:
        return None


def plan(services: Services, rows: Columns, since: Current) -> Plan:
    """Which rows to hold out, so that what is served now can be judged by them too.

    Raises:
        TrainingError: when the rows are of one class.
    """
    from beam_pipelines import judging

    return judging.plan(services, rows, since)


def fit(services: Services, rows: Columns, planned: Plan) -> Trained:
    """Fit on all but the holdout, measure there, fit on everything.

    Raises:
        TrainingError: when the data cannot carry a model.
    """
    from dropfit.training import train

    with runs.part("fit"):
        return train(services.problem, rows, planned.held)


def publish(
    services: Services,
    version: str,
    inputs: Sequence[Receipt],
    trained: Trained,
    duplicates: int,
    left_out: Mapping[str, str] | None = None,
) -> Manifest:
    """Export, compare with the estimator, and make the version exist.

    Raises:
        ExportError: when the model can be served by no runtime.
    """
    from dropfit import export

    problem = services.problem
    made = export.export(trained.estimator, trained.sample, trained.width, problem.may_be_missing)
    add = services.registry.add_artifact
    manifest = Manifest(
        version=version,
        created=dt.datetime.now(dt.UTC),
        contract=problem.contract,
        problem=services.settings.problem,
        derive_sha256=problem.derive_sha256,
        classes=trained.classes,
        model=add(version, "model", made.suffix, made.payload),
        encoding=add(version, "encoding", ".json", msgspec.json.encode(trained.encoding)),
        runtime=made.runtime,
        runtime_reason=made.reason,
        probe=add(version, "probe", ".json", made.probe),
        inputs=tuple(_input(r) for r in inputs),
        window=Window(problem.window, len(inputs), dict(left_out or {})),
        rows=trained.rows,
        duplicates=duplicates,
        holdout=trained.holdout,
        metrics=trained.metrics,
        constant=trained.constant,
        parity=made.parity,
        seed=problem.seed,
        libraries=libraries.recorded(),
        code=problem.code_sha256,
        revision=revision(services.settings),
        **_trial(services, version, trained),
    )
    return services.registry.publish(manifest)


def _trial(services: Services, version: str, trained: Trained) -> dict[str, Any]:
    """The model that was judged, kept so that a later version can be compared with it on data neither has seen."""
    from dropfit import export
    from dropfit.holdout import packed

    gappy = services.problem.may_be_missing
    made = export.export(trained.trial, trained.trial_sample, trained.width, gappy)
    classes = tuple(trained.classes[int(place)] for place in trained.trial.classes_) if trained.classes else ()
    add = services.registry.add_artifact
    return {
        "trial": add(version, "trial", made.suffix, made.payload),
        "trial_encoding": add(version, "trial-encoding", ".json", msgspec.json.encode(trained.trial_encoding)),
        "trial_runtime": made.runtime,
        "trial_classes": classes,
        "held": add(version, "held", ".bin", packed(trained.mask)),
    }


def judge(services: Services, manifest: Manifest, rows: Columns, planned: Plan) -> Report:
    """The gate's verdict, kept with the version."""
    from beam_pipelines import judging

    report = services.registry.judged(manifest.version, planned.champion.version)
    if report is None:
        with runs.part("score"):
            report = services.registry.judge(judging.judge(services, manifest, rows, planned.champion))
    return report


def tell(services: Services, version: str) -> None:
    """What a training leaves for people: the verdict as a page with plots, and the view of the prediction log.

    After the promotion and before the outcome: no version waits for it, no run fails of it, and who waits for the
    outcome finds it.
    """
    registry = services.registry
    try:
        from dropfit import report as pages

        for name, payload, kind in pages.files(registry.report(version), registry.manifest(version)):
            registry.attach(version, name, payload, kind)
    except Exception:
        LOG.warning("the report of %s has its numbers, and no page or no plots", version, exc_info=True)
    if services.settings.log_table:
        view.show_log(services.settings.log_table, warehouse_of(services))


def waits(services: Services, since: Current, report: Report, done: Completed) -> str:
    """Why a version that has passed is not promoted at once, empty when it is."""
    decide = "`dropfit rollback VERSION` serves an older one, `dropfit approve` this one"
    if since.pointer is None and services.registry.was_lost():
        return f"the pointer is gone, so nothing was compared with what was served: {decide}"
    if report.represented == "unreadable":
        return f"{report.champion} is served and cannot be read, so nothing was compared with it: {decide}"
    if since.pointer is not None and since.pointer.pinned:
        return f"{since.pointer.version} is pinned by {since.pointer.by}: `dropfit unpin`, then `dropfit approve`"
    if done.shift is not None and done.shift.breaks:
        return f"its table has a {done.shift.told}: `dropfit show`, then `dropfit approve` or `dropfit reject`"
    if services.settings.publish == "hold":
        return "publish=hold: `dropfit show` and `dropfit approve` or `dropfit reject`"
    return ""


def repair_view(services: Services) -> None:
    """The view shows what the pointer says; it is derived, never the truth."""
    view.repair(services.registry, warehouse_of(services))


def revision(settings: Settings) -> str:
    """The git revision of this code; in the image, which has no git, the image's tag; else empty.

    The tag is the content's hash: `python -m infra.deploy.bundle --find TAG` says which commit has it.
    """
    try:
        command = ["git", "-C", str(Path(__file__).parent), "rev-parse", "HEAD"]
        return subprocess.run(command, capture_output=True, text=True, check=True, timeout=10).stdout.strip()
    except (OSError, subprocess.SubprocessError):
        return settings.worker_image.rpartition("/")[2]


def _input(receipt: Receipt) -> Input:
    accepted = receipt.accepted
    assert accepted is not None  # noqa: S101 (a window holds accepted uploads alone)
    uploaded = receipt.object
    return Input(uploaded.name, uploaded.generation, receipt.id, accepted.rows, accepted.sha256, accepted.crc32c)
