# SPDX-License-Identifier: Apache-2.0
"""A version's report can be read by people: the verdict first, numbers in tables, plots beside it."""

from __future__ import annotations

import datetime as dt
import struct
from typing import Any

import numpy as np
import pytest
from fakes import manifest, pots, tea

from dropfit import diagnosis, report
from dropfit.contract import Probability
from dropfit.encoding import take
from dropfit.manifest import Input
from dropfit.verdict import Bin, Difference, Importance, Report, Slice

HOLDOUT: dict[str, str | int] = {
    "first": "2013-02-23",
    "last": "2013-02-28",
    "method": "newest",
    "rows": 4321,
    "blocks": 6,
}


def found(**changes: Any) -> Report:
    apart = Difference(0.02, 0.01, 0.03, 0.95, 6)
    usual = {
        "version": "v2",
        "passed": False,
        "reasons": ("log_loss 0.52 on 4,321 rows: better than the constant's 0.60", "worse than the served v1"),
        "judged_at": dt.datetime(2013, 3, 1, tzinfo=dt.UTC),
        "champion": "v1",
        "represented": "final",
        "why": "4,321 rows of 6 days are new to it",
        "metric": "log_loss",
        "holdout": HOLDOUT,
        "scores": {name: {"log_loss": 0.5, "brier": 0.2} for name in ("challenger", "champion", "constant")},
        "difference": apart,
        "slices": (Slice("leaf", "sencha", 900, 0.6, 0.5, apart, True), Slice("leaf", "assam", 800, 0.5, 0.5)),
        "calibration": tuple(Bin(432, 0.1 * n, 0.1 * n) for n in range(10)),
        "confusion": ((5, 1), (2, 6)),
        "classes": ("0", "1"),
        "importance": (Importance("minutes", 0.1, 0.01), Importance("leaf", 0.05, 0.01)),
    }
    return Report(**(usual | changes))


def page(made: Report) -> str:
    return report.markdown(made, manifest("v2", inputs=(Input("a.csv", 7, "r", 300, "0" * 64),)))


def test_the_verdict_comes_first_and_every_number_follows() -> None:
    text = page(found())
    assert text.splitlines()[0] == "# v2 kept: it is not served"
    assert text.index("worse than the served v1") < text.index("## On the same rows")
    for number in ("+0.0200", "+0.0100", "+0.0300", "4,321", "2013-02-23", "**worse**", "a.csv", "sencha"):
        assert number in text
    assert page(found(passed=True)).startswith("# v2 passed")


def test_what_stands_in_the_data_is_text_and_nothing_else() -> None:
    evil = '<img src=x onerror="alert(1)"> | [x](http://evil) `rm`\n# me'
    text = page(found(slices=(Slice("leaf", evil, 900, 0.6, 0.5),)))
    assert "<img" not in text
    assert "\n# me" not in text
    assert r"\[x\](http" in text
    line = next(row for row in text.splitlines() if "onerror" in row)
    assert line.replace(r"\|", "").count("|") == 7


def pixels(payload: bytes) -> tuple[int, int]:
    assert payload.startswith(b"\x89PNG\r\n\x1a\n")
    width, height = struct.unpack(">II", payload[16:24])
    return width, height


def test_page_and_plots_are_made_and_the_page_names_each_plot() -> None:
    made = {name: payload for name, payload, _ in report.files(found(), manifest("v2"))}
    assert list(made) == ["report.md", "slices.png", "calibration.png", "importance.png"]
    for name in list(made)[1:]:
        width, height = pixels(made[name])
        assert width == 800
        assert height > 200
        assert f"]({name})" in made["report.md"].decode()


def test_a_quantity_has_residuals_instead_of_a_calibration() -> None:
    bins = tuple(Bin(40, float(n), n + 0.1, (-2.0, -1.0, 0.0, 1.0, 2.0)) for n in range(10))
    quantity = found(metric="rmse", calibration=bins, confusion=(), classes=(), slices=(), importance=())
    made = {name: payload for name, payload, _ in report.files(quantity, manifest("v2"))}
    assert list(made) == ["report.md", "residuals.png"]
    assert "## Residuals" in made["report.md"].decode()


def test_a_first_version_has_a_page_without_a_served_one() -> None:
    first = found(champion="", represented="first", why="nothing is served yet", difference=None, slices=())
    first = Report(**{n: getattr(first, n) for n in first.__struct_fields__ if n != "scores"}, scores={})
    assert "Nothing is served yet" in page(first)


@pytest.mark.parametrize("name", ["$x^2$ _a_", "日本語", "a" * 300, "\\frac{"])
def test_a_strange_name_in_the_data_breaks_no_plot(name: str) -> None:
    made = found(slices=(Slice("leaf", name, 900, 0.6, 0.5),), importance=(Importance(name, 0.1, 0.0),))
    assert all(len(payload) > 1000 for file, payload, _ in report.files(made, manifest("v2")) if file != "report.md")


def test_the_feature_that_decides_is_the_most_important_and_one_that_says_nothing_is_worth_nothing() -> None:
    rows = pots(2000)
    truth = (rows["leaf"] == "sencha").astype(int)

    def knows_the_leaf(columns: Any) -> Any:
        positive = np.where(columns["leaf"] == "sencha", 0.9, 0.1)
        return np.column_stack([1 - positive, positive])

    first, *others = diagnosis.importance(tea(), "log_loss", rows, truth, knows_the_leaf, 1)
    assert first.feature == "leaf"
    assert first.increase > 0.1
    assert [i.increase for i in others] == [0.0] * 3
    assert diagnosis.importance(tea(), "log_loss", rows, truth, knows_the_leaf, 1)[0] == first


def test_a_model_that_says_what_happens_lies_on_the_diagonal() -> None:
    rows = take(pots(1000), np.arange(1000))
    raw = np.column_stack([1 - rows["drunk"], rows["drunk"]])
    bins = diagnosis.calibration(Probability(name="drunk"), rows["drunk"].astype(int), raw)
    assert [b.predicted for b in bins] == [b.observed for b in bins]
    assert sum(b.rows for b in bins) == 1000
