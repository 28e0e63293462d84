# SPDX-License-Identifier: Apache-2.0
"""A version's report for people: Markdown, the verdict first, and the plots it shows. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from .manifest import Manifest
from .verdict import Report

PLOTS = {"slices": "slices.png", "calibration": "calibration.png", "importance": "importance.png"}
RESIDUALS = "residuals.png"


def files(report: Report, manifest: Manifest) -> Iterator[tuple[str, bytes, str]]:
    """Name, bytes and content type of the page, then of each plot."""
    yield "report.md", markdown(report, manifest).encode(), "text/markdown; charset=utf-8"
    from . import plots

    if report.slices:
        yield PLOTS["slices"], plots.slices(report), "image/png"
    if report.calibration:
        quantity = _of_a_quantity(report)
        draw = plots.residuals if quantity else plots.calibration
        yield RESIDUALS if quantity else PLOTS["calibration"], draw(report), "image/png"
    if report.importance:
        yield PLOTS["importance"], plots.importance(report), "image/png"


def markdown(report: Report, manifest: Manifest) -> str:
    """The page, with links to the plots beside it."""
    verdict = "passed: it may be served" if report.passed else "kept: it is not served"
    parts = [
        f"# {report.version} {verdict}",
        f"*{text(manifest.contract.title)}* Judged {report.judged_at:%Y-%m-%d %H:%M} UTC.",
        "\n".join(f"- {text(reason)}" for reason in report.reasons),
        *_compared(report),
        *_slices(report),
        *_calibration(report),
        *_confusion(report),
        *_importance(report),
        *_inputs(manifest),
    ]
    return "\n\n".join(parts) + "\n"


def _compared(report: Report) -> Iterator[str]:
    yield "## On the same rows"
    held = report.holdout
    yield (
        f"{held['rows']:,} rows in {held['blocks']} time blocks, {text(held['first'])} to {text(held['last'])} "
        f"({held['method']}). This version is scored by its trial: the same estimator, fitted on all rows but these."
    )
    if report.champion:
        yield f"The served version is {report.champion}: {text(report.why)}."
    else:
        yield f"{text(report.why).capitalize()}."
    names = {"challenger": "this version", "champion": "served version", "constant": "the constant"}
    shown = [name for name in names if name in report.scores]
    rows = [
        [f"{metric}{' (decides)' if metric == report.metric else ''}"]
        + [f"{report.scores[n][metric]:.4f}" if metric in report.scores[n] else "" for n in shown]
        for metric in report.scores.get("challenger", {})
    ]
    yield table(["", *(names[n] for n in shown)], rows)
    if report.difference:
        apart = report.difference
        yield (
            f"Difference in {report.metric}: **{apart.value:+.4f}**, {apart.level:.0%} interval {apart.low:+.4f} to "
            f"{apart.high:+.4f} from a paired bootstrap of {apart.blocks} blocks. Below 0 this version is better."
        )


def _slices(report: Report) -> Iterator[str]:
    if not report.slices:
        return
    yield "## Slice by slice"
    yield f"![{report.metric} by slice]({PLOTS['slices']})"
    rows = []
    for cut in report.slices:
        apart = cut.difference
        rows.append(
            [
                f"{text(cut.feature)} {text(cut.value)}",
                f"{cut.rows:,}",
                f"{cut.challenger:.4f}",
                "" if cut.champion is None else f"{cut.champion:.4f}",
                f"{apart.value:+.4f} ({apart.low:+.4f} to {apart.high:+.4f})" if apart else "",
                "**worse**" if cut.worse else "",
            ]
        )
    yield table(["slice", "rows", "this version", "served version", "difference", ""], rows)
    level = next((s.difference.level for s in report.slices if s.difference), None)
    if level:
        yield f"Intervals are at {level:.2%}: 95% for all slices together (Bonferroni)."


def _calibration(report: Report) -> Iterator[str]:
    if not report.calibration:
        return
    quantity = _of_a_quantity(report)
    yield "## Residuals" if quantity else "## Calibration"
    yield f"![residuals]({RESIDUALS})" if quantity else f"![calibration]({PLOTS['calibration']})"
    head = ["rows", "predicted", "observed"] + (["residual, 5%", "25%", "median", "75%", "95%"] if quantity else [])
    yield table(
        head,
        [
            [f"{b.rows:,}", f"{b.predicted:.4g}", f"{b.observed:.4g}", *(f"{r:.4g}" for r in b.residuals)]
            for b in report.calibration
        ],
    )


def _confusion(report: Report) -> Iterator[str]:
    if report.confusion:
        yield "## Confusion"
        yield "Rows by their class (down) and the most probable one (across)."
        names = [text(name) for name in report.classes]
        rows = [[n, *(f"{c:,}" for c in counts)] for n, counts in zip(names, report.confusion, strict=True)]
        yield table(["", *names], rows)


def _importance(report: Report) -> Iterator[str]:
    if report.importance:
        yield "## What the features are worth"
        yield f"![importance by permutation]({PLOTS['importance']})"
        rows = [[text(i.feature), f"{i.increase:+.4f}", f"{i.deviation:.4f}"] for i in report.importance]
        yield table(["feature", f"{report.metric} grows by", "standard deviation"], rows)


def _inputs(manifest: Manifest) -> Iterator[str]:
    yield "## Trained on"
    rows = [[text(i.object), str(i.generation), f"{i.rows:,}"] for i in manifest.inputs]
    yield table(["upload", "generation", "rows"], rows)
    yield f"{manifest.rows:,} rows after {manifest.duplicates:,} duplicates were dropped; seed {manifest.seed}."


def _of_a_quantity(report: Report) -> bool:
    return any(b.residuals for b in report.calibration)


def table(head: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    """A Markdown table; every column but the first is aligned to the right."""
    names = list(head)
    lines = [names, ["---"] + ["---:"] * (len(names) - 1), *(list(row) for row in rows)]
    return "\n".join("| " + " | ".join(cells) + " |" for cells in lines)


def text(value: object) -> str:
    """Data as text: neither HTML, nor a link, nor the end of a table's cell."""
    shown = " ".join(str(value).split())
    for mark in "\\`*_[]|":
        shown = shown.replace(mark, f"\\{mark}") if mark != "_" else shown
    return shown.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
