# SPDX-License-Identifier: Apache-2.0
"""The job's gate: a worse version is kept, an equal one is served, by rows that neither has learned from."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pandas as pd
import pytest

from beam_pipelines import intake, judging, steps
from dropfit import orders, plots
from dropfit.contract import Feature, Gate

House = Any
Make = Callable[..., House]
GATE = Gate(minimum_rows=100, tolerance=0.1, slices=("island",), slice_rows=30, slice_tolerance=0.3)
WRONG = 0.15
"""So many penguins are mistaken for others, so that no model is perfect and losses are steady."""


def season(penguins: list[Path], first: int, days: int, each: int = 30) -> bytes:
    """Real penguins, drawn again: so many each day, from the first day of 2010 on."""
    chance = np.random.default_rng(first)
    real = pd.concat([pd.read_csv(file) for file in penguins], ignore_index=True).dropna()
    rows = real.iloc[chance.integers(0, len(real), days * each)].reset_index(drop=True)
    mistaken = chance.random(len(rows)) < WRONG
    rows.loc[mistaken, "Species"] = chance.choice(real["Species"].unique(), mistaken.sum())
    date = pd.Timestamp("2010-01-01") + pd.to_timedelta(first + np.repeat(np.arange(days), each), unit="D")
    rows["Date Egg"] = date.strftime("%Y-%m-%d")
    rows["Sample Number"] = first * each + np.arange(len(rows))
    return rows.to_csv(index=False).encode()


def worse(inputs: Sequence[Feature]) -> Any:
    """A model so timid that it hardly says more than the constant."""
    from sklearn.impute import SimpleImputer
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    return make_pipeline(SimpleImputer(), StandardScaler(), LogisticRegression(C=0.0005))


def other_derive(features: Any) -> Any:
    """Another shape of the bill."""
    return {"culmen_ratio": features["culmen_depth_mm"] / features["culmen_length_mm"]}


@pytest.fixture
def served(house: Make, penguins: list[Path]) -> House:
    """A house whose first version was trained on twenty days."""
    there = house()
    there.change(gate=GATE)
    there.upload("first.csv", season(penguins, 0, 20))
    there.work()
    assert there.registry.current().pointer is not None
    return there


def verdict(there: House, receipt: Any) -> tuple[str, Any]:
    outcome = there.outcome(receipt)
    return outcome.state, there.registry.report(outcome.version)


def test_an_equally_good_version_is_served_judged_by_days_new_to_the_one_before(
    served: House, penguins: list[Path]
) -> None:
    first = served.registry.current().pointer.version
    receipt = served.upload("second.csv", season(penguins, 20, 20))
    served.work()
    state, report = verdict(served, receipt)
    assert state == "promoted"
    assert (report.champion, report.represented) == (first, "final")
    assert report.holdout == {
        "first": "2010-02-06",
        "last": "2010-02-09",
        "method": "newest",
        "rows": 120,
        "blocks": 4,
    }
    assert set(report.scores) == {"challenger", "champion", "constant"}
    assert report.difference.low <= report.difference.value <= report.difference.high
    assert {s.feature for s in report.slices} == {"island"}
    names = {s.name.rsplit("/", 1)[1] for s in served.buckets.models.list(f"versions/{report.version}/")}
    assert {"report.json", "report.md", "slices.png", "calibration.png", "importance.png"} <= names
    page = served.buckets.models.read(f"versions/{report.version}/report.md").decode()
    assert page.startswith(f"# {report.version} passed")


def test_a_worse_estimator_is_kept_with_its_report_and_the_served_version_stays(
    served: House, penguins: list[Path]
) -> None:
    before = served.registry.current()
    served.change(estimator=worse)
    receipt = served.upload("second.csv", season(penguins, 20, 20))
    served.work()
    state, report = verdict(served, receipt)
    assert (state, report.passed, served.registry.current()) == ("kept", False, before)
    assert "better than the constant" in report.reasons[0]
    assert f"worse than the served {before.pointer.version}" in served.outcome(receipt).reason
    assert served.buckets.models.stat(f"versions/{report.version}/report.md") is not None


def test_one_new_day_is_judged_by_both_trials(served: House, penguins: list[Path]) -> None:
    receipt = served.upload("day.csv", season(penguins, 20, 1))
    served.work()
    state, report = verdict(served, receipt)
    assert (state, report.represented) == ("promoted", "trial")
    assert (report.holdout["first"], report.holdout["last"]) == ("2010-01-18", "2010-01-21")
    assert "only 30 rows of 1 day are new" in report.why


def test_another_estimator_on_the_same_uploads_is_judged_by_both_trials_and_a_worse_one_is_kept(
    served: House,
) -> None:
    before = served.registry.current()
    served.change(estimator=worse)
    orders.ask(served.buckets.data, ())
    served.work()
    assert served.registry.current() == before
    ((_, report),) = [(m, r) for m, r in served.registry.versions() if m.version != before.pointer.version]
    assert (report.passed, report.represented) == (False, "trial")
    assert report.holdout["first"] == "2010-01-17"


def test_a_served_version_of_another_derive_is_not_compared_and_it_is_said_why(served: House) -> None:
    inputs, *_ = intake.window(served.services)
    rows, *_ = intake.accepted_rows(served.services, inputs)
    since = served.registry.current()
    assert steps.plan(served.services, rows, since).champion.other == ""
    served.change(derive=other_derive)
    assert "another derive" in steps.plan(served.services, rows, since).champion.other


def test_beside_a_served_version_whose_files_are_damaged_a_good_one_waits_for_a_person(
    served: House, penguins: list[Path]
) -> None:
    manifest = served.registry.manifest(served.registry.current().pointer.version)
    served.buckets.models.put(manifest.model.name, b"x" * manifest.model.size)
    receipt = served.upload("second.csv", season(penguins, 20, 20))
    served.work()
    state, report = verdict(served, receipt)
    assert (state, report.represented) == ("held", "unreadable")
    assert "cannot be read" in " ".join(report.reasons)
    assert "the constant alone decides" in " ".join(report.reasons)


def test_a_job_killed_before_its_verdict_is_resumed_from_what_is_stored_and_comes_to_the_same(
    served: House, penguins: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = []

    def killed(services: Any, manifest: Any, rows: Any, planned: Any) -> Any:
        seen.append(judging.judge(services, manifest, rows, planned.champion))
        raise SystemExit(137)

    receipt = served.upload("second.csv", season(penguins, 20, 20))
    with monkeypatch.context() as patch:
        patch.setattr(steps, "judge", killed)
        with pytest.raises(SystemExit):
            served.work()
    monkeypatch.setattr(steps, "fit", lambda *given: pytest.fail("it was fitted already"))
    served.work()
    state, report = verdict(served, receipt)
    assert state == "promoted"
    assert msgspec.structs.replace(report, judged_at=seen[0].judged_at) == seen[0]


def test_a_plot_that_cannot_be_drawn_stops_no_version(
    house: Make, penguins: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    there = house()
    monkeypatch.setattr(plots, "calibration", lambda report: 1 / 0)
    receipt = there.upload("a.csv", penguins[0])
    there.work()
    state, report = verdict(there, receipt)
    assert state == "promoted"
    assert there.buckets.models.stat(f"versions/{report.version}/report.md") is not None
