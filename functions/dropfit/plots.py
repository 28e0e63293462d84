# SPDX-License-Identifier: Apache-2.0
"""The plots of a version's report, as PNG, 800 pixels wide. Pure: numbers in, bytes out.

matplotlib's object interface without pyplot: no global state, no display. Colours are Okabe and Ito's, which people
with any colour vision can tell apart; shapes tell the same. Names from data are drawn as they are, never as formulas.
"""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, Any

from .verdict import Report, Slice

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

BLUE, ORANGE, RED, GREY = "#0072B2", "#E69F00", "#D55E00", "#767676"
WIDTH, DPI = 8.0, 100
MOST = 40
"""Slices in the plot: the ones that moved most."""
NAMES = {
    "log_loss": "log loss",
    "brier": "Brier score",
    "rmse": "root mean square error",
    "mae": "mean absolute error",
}


def slices(report: Report) -> bytes:
    """Both models' loss in every slice, joined by a line; a slice that is worse is red."""
    chosen = sorted(report.slices, key=lambda s: -abs(s.difference.value) if s.difference else 0.0)[:MOST]
    shown = [s for s in report.slices if s in chosen]
    figure, axes = _canvas(1.7 + 0.27 * len(shown))
    for place, cut in enumerate(shown):
        _slice(axes, place, cut)
    labels = [f"{s.feature} {_short(s.value)}  ({s.rows:,} rows)" for s in shown]
    if any(cut.worse for cut in shown):
        axes.plot([], [], "D", color=RED, markersize=6, label="this version, worse than the gate allows")
    axes.set_yticks(range(len(shown)), labels, parse_math=False)
    axes.set_ylim(len(shown) - 0.4, -0.6)
    axes.grid(axis="x", color="#E5E5E5")
    metric = NAMES.get(report.metric, report.metric)
    axes.set_xlabel(f"{metric} on the holdout (left is better)")
    _title(axes, f"{metric[0].upper() + metric[1:]} by slice", _when(report))
    _legend(axes)
    return _png(figure)


def _slice(axes: Axes, place: int, cut: Slice) -> None:
    colour = RED if cut.worse else BLUE
    if cut.champion is not None:
        axes.plot([cut.champion, cut.challenger], [place, place], color=RED if cut.worse else "#BBBBBB", linewidth=2)
        label = "served version" if place == 0 else None
        axes.plot(cut.champion, place, "o", markersize=9, color="white", markeredgecolor=ORANGE, mew=2, label=label)
    axes.plot(cut.challenger, place, "D", color=colour, markersize=6, label="this version" if place == 0 else None)


def calibration(report: Report) -> bytes:
    """What was predicted against what happened, with the 95% interval that chance leaves a share of so many rows."""
    figure, axes = _canvas(5.6)
    x, y = [b.predicted for b in report.calibration], [b.observed for b in report.calibration]
    chance = [1.96 * (max(b.observed * (1 - b.observed), 1e-9) / b.rows) ** 0.5 for b in report.calibration]
    low = max(0.0, min(*x, *(v - c for v, c in zip(y, chance, strict=True))) - 0.02)
    high = min(1.0, max(*x, *(v + c for v, c in zip(y, chance, strict=True))) + 0.02)
    axes.plot([low, high], [low, high], "--", color=GREY, label="perfectly calibrated")
    axes.errorbar(x, y, chance, fmt="D", color=BLUE, capsize=3, label="this version, a tenth of the rows each")
    axes.set_xlim(low, high)
    axes.set_ylim(low, high)
    labelled = len(report.classes) > 2 or report.classes not in ((), ("0", "1"))
    axes.set_xlabel("probability of the most probable class" if labelled else "predicted probability")
    axes.set_ylabel("share of rows where it was right" if labelled else "observed share of rows")
    axes.grid(color="#E5E5E5")
    _title(axes, "Calibration: what was predicted, and what happened", _when(report))
    _legend(axes)
    return _png(figure)


def residuals(report: Report) -> bytes:
    """Where the errors of a quantity lie: middle half, nine tenths and median, by the prediction."""
    figure, axes = _canvas(5.0)
    for place, found in enumerate(report.calibration):
        p5, p25, p50, p75, p95 = found.residuals
        first = place == 0
        axes.plot([place] * 2, [p5, p95], color=BLUE, linewidth=1.5, label="90% of the rows" if first else None)
        axes.plot(
            [place] * 2, [p25, p75], color=BLUE, linewidth=9, solid_capstyle="butt", label="half" if first else None
        )
        axes.plot(place, p50, "o", zorder=3, color="white", markeredgecolor=BLUE, label="median" if first else None)
    axes.axhline(0, linestyle="--", color=GREY, zorder=0)
    axes.set_xticks(range(len(report.calibration)), [_brief(b.predicted) for b in report.calibration])
    axes.set_xlabel("mean prediction of a tenth of the rows, in the target's unit")
    axes.set_ylabel("residual: predicted minus observed")
    axes.grid(axis="y", color="#E5E5E5")
    _title(axes, "Residuals by prediction", _when(report))
    _legend(axes)
    return _png(figure)


def importance(report: Report) -> bytes:
    """By how much the loss grows without each feature."""
    figure, axes = _canvas(1.6 + 0.36 * len(report.importance))
    names = [_short(i.feature) for i in report.importance]
    grown, spread = [i.increase for i in report.importance], [i.deviation for i in report.importance]
    axes.barh(range(len(names)), grown, xerr=spread, color=BLUE, ecolor=GREY, capsize=3, height=0.6)
    axes.axvline(0, color=GREY, linewidth=1)
    axes.set_yticks(range(len(names)), names, parse_math=False)
    axes.invert_yaxis()
    metric = NAMES.get(report.metric, report.metric)
    axes.set_xlabel(f"increase of the {metric} when the feature is shuffled (whisker: std. deviation)", fontsize=9)
    axes.grid(axis="x", color="#E5E5E5")
    _title(axes, "Importance of the features, by permutation", _when(report))
    return _png(figure)


def _brief(value: float) -> str:
    """A number that fits under a tick."""
    return f"{value:,.0f}" if 1000 <= abs(value) < 1e6 else f"{value:.3g}"


def _canvas(height: float) -> tuple[Figure, Axes]:
    from matplotlib.figure import Figure
    from matplotlib.layout_engine import ConstrainedLayoutEngine

    engine = ConstrainedLayoutEngine(w_pad=0.12, h_pad=0.12)
    figure = Figure(figsize=(WIDTH, height), dpi=DPI, layout=engine)
    axes = figure.add_subplot()
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)
    return figure, axes


def _title(axes: Axes, title: str, below: str) -> None:
    axes.set_title(title, loc="left", fontsize=13, fontweight="bold", pad=26)
    axes.annotate(below, (0, 1), (0, 10), "axes fraction", "offset points", fontsize=9, color=GREY, parse_math=False)


def _legend(axes: Axes) -> None:
    handles: Any = axes.get_legend_handles_labels()[0]
    if handles:
        axes.legend(loc="best", fontsize=9, framealpha=0.9)


def _when(report: Report) -> str:
    held = report.holdout
    return f"{report.version}, {held['rows']:,} holdout rows, {held['first']} to {held['last']}"


def _short(name: str) -> str:
    return name if len(name) <= 24 else f"{name[:23]}…"


def _png(figure: Figure) -> bytes:
    sink = io.BytesIO()
    figure.savefig(sink, format="png")
    return sink.getvalue()
