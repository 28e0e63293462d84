# SPDX-License-Identifier: Apache-2.0
"""Is this file another thing than the files before: other units, shifted columns, codes instead of names?

Seasons, single days, one customer alone, a rate that doubles: data change honestly, and a check that stops them will
be switched off. So a column is found strange only when a known mistake explains it, or when it lies wholly elsewhere;
and only when it is strange beside the accepted files together and beside every single one of them (docs/adr/0009).
"""

from __future__ import annotations

import collections
import re
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np

from .profile import CategoryProfile, NumberProfile, Profile, pooled, shape

Array = np.ndarray[Any, Any]
FILES = 12
"""So many of the newest accepted files are compared with."""
LEAST = 30
"""A file or a column of fewer rows says nothing."""
FEW = 0.05
"""What is as rare as this among the accepted is not usual."""
MANY_ROWS = 5_000
"""From so many rows on a factor is known well enough to tell 1.6 from 2."""
SPREAD = 8
"""Fewer different quantiles than this say little of where values may lie."""
ENOUGH = 3
"""So many accepted files show whether new names are usual."""
APART = 0.9
"""Share of never seen names that needs no explanation where they are not usual."""


class Conversion(NamedTuple):
    """A mistake that numbers can be in: factor * value + offset."""

    factor: float
    offset: float
    name: str


def _both_ways(factor: float, one: str, other: str) -> tuple[Conversion, Conversion]:
    return Conversion(factor, 0, f"as {one} are to {other}"), Conversion(1 / factor, 0, f"as {other} are to {one}")


CONVERSIONS = (
    *(c for n in range(1, 7) for c in _both_ways(10.0**n, f"{10**n:,}", "1")),
    *_both_ways(60, "minutes", "hours, or seconds to minutes"),
    *_both_ways(3600, "seconds", "hours"),
    *_both_ways(24, "hours", "days"),
    *_both_ways(1.609344, "kilometres", "miles"),
    *_both_ways(1.852, "kilometres", "nautical miles"),
    *_both_ways(3.280840, "feet", "metres"),
    *_both_ways(25.4, "millimetres", "inches"),
    *_both_ways(2.204623, "pounds", "kilograms"),
    *_both_ways(28.349523, "grams", "ounces"),
    *_both_ways(3.785412, "litres", "gallons"),
    *_both_ways(3.6, "km/h", "m/s"),
    *_both_ways(4.184, "kilojoules", "kilocalories"),
    *_both_ways(57.29578, "degrees", "radians"),
    Conversion(-1, 0, "the sign is turned"),
    Conversion(1.8, 32, "as Fahrenheit is to Celsius"),
    Conversion(1 / 1.8, -32 / 1.8, "as Celsius is to Fahrenheit"),
    Conversion(1, 273.15, "as kelvin is to Celsius"),
    Conversion(1, -273.15, "as Celsius is to kelvin"),
)


class Finding(NamedTuple):
    """A column that is probably another thing, and why, for people."""

    column: str
    reason: str


def judge(references: Sequence[Profile], found: Profile, share: float = 0.5) -> list[Finding]:
    """The columns of a file that are probably another thing than in the accepted files.

    Args:
        references: of accepted files, oldest first; the newest FILES of them count.
        found: of the file.
        share: a column is strange when more than this share (0 to 1) of its rows is; 1 switches the check off.
    """
    known = [p for p in references if p.rows >= LEAST][-FILES:]
    if not known or found.rows < LEAST or share >= 1:
        return []
    everything = pooled(known)
    beside = [everything, *(known if len(known) > 1 else [])]
    findings = []
    for column in (*found.categories, *found.numbers):
        usual = _usual_novelty(known, column) if column in found.categories else 0.0
        many = len(known) >= ENOUGH
        reasons = [_strange(column, reference, found, share, usual, many) for reference in beside]
        if all(reasons):
            findings.append(Finding(column, str(reasons[0])))
    return findings


def _strange(column: str, reference: Profile, found: Profile, share: float, usual: float, many: bool) -> str:
    """What is strange about a column beside one reference; empty for nothing."""
    if column in found.numbers:
        if column not in reference.numbers:
            return ""
        was, now = reference.numbers[column], found.numbers[column]
        return (
            _missing(was, now, share)
            or _contradicts(reference.given.get(column, {}), found.given.get(column, {}), share)
            or _converted(was, now, min(reference.rows, found.rows))
            # Another route may be of any length: the features that determine a number have judged it already.
            or ("" if column in found.given else _elsewhere(was, now, share, 0.5 if many else 2.0))
        )
    if column not in reference.categories:
        return ""
    before, after = reference.categories[column], found.categories[column]
    return _missing(before, after, share) or _other_names(column, reference, after, share, usual, many)


def _missing(was: NumberProfile | CategoryProfile, now: NumberProfile | CategoryProfile, share: float) -> str:
    if was.missing >= FEW or now.missing <= share:
        return ""
    return f"missing in {now.missing:.0%} of the rows; usual are {was.missing:.0%}"


def _contradicts(was: dict[str, tuple[float, int]], now: dict[str, tuple[float, int]], share: float) -> str:
    """A number that other features determine, and that is another one than it was for the same features."""
    both = [(was[key][0], *found) for key, found in now.items() if key in was]
    if sum(rows for *_, rows in both) < LEAST:
        return ""
    before, after, rows = (np.array(part, dtype=float) for part in zip(*both, strict=True))
    ratio = np.divide(after, before, out=np.full(len(before), np.nan), where=before != 0)
    off = ~((ratio > 1 / 1.25) & (ratio < 1.25)) & (after != before)
    if np.sum(rows[off]) <= share * np.sum(rows):
        return ""
    order = np.argsort(ratio)
    middle = ratio[order][np.searchsorted(np.cumsum(rows[order]), np.sum(rows) / 2)]
    explained = next((f" ({c.name})" for c in CONVERSIONS if not c.offset and abs(middle / c.factor - 1) < 0.02), "")
    return (
        f"other values than before for the same features in {np.sum(rows[off]) / np.sum(rows):.0%} of the rows, "
        f"by the median {middle:.3g} times as large{explained}"
    )


def _converted(was: NumberProfile, now: NumberProfile, rows: int) -> str:
    """The same distribution as before, once a known conversion is undone, and quite another one until then."""
    before, after = np.array(was.quantiles)[2:-2], np.array(now.quantiles)[2:-2]
    if len(np.unique(before)) < SPREAD or len(np.unique(after)) < SPREAD:
        return ""
    spread = np.mean(np.abs(before - np.median(before)))
    unlike = np.mean(np.abs(after - before)) / spread
    for conversion in CONVERSIONS:
        undone = (after - conversion.offset) / conversion.factor
        if conversion.factor < 0:
            undone = undone[::-1]
        left = np.mean(np.abs(undone - before)) / spread
        if unlike > 0.5 and left < 0.1 and left * 6 < unlike and _is_no_growth(conversion, undone, before, rows):
            return f"{conversion.name}: median {_of(after):g}, usual {_of(before):g}"
    return ""


def _is_no_growth(conversion: Conversion, undone: Array, before: Array, rows: int) -> bool:
    """Between a fifth and five times as much is honest growth, unless many rows show the known factor to a hair."""
    if conversion.offset or not 0.2 < conversion.factor < 5:
        return True
    size = np.sum(np.abs(undone)) / np.sum(np.abs(before))
    return rows >= MANY_ROWS and abs(size - 1) < 0.015


def _elsewhere(was: NumberProfile, now: NumberProfile, share: float, room: float) -> str:
    """Outside the accepted range, even if that is widened on both sides by so many times its length."""
    if len(set(was.quantiles)) < SPREAD or not now.quantiles:
        return ""
    low, high = was.quantiles[0], was.quantiles[-1]
    room *= high - low
    after = np.array(now.quantiles)
    outside = float(np.mean((after < low - room) | (after > high + room)))
    if outside <= share:
        return ""
    return (
        f"far from all accepted values in {outside:.0%} of the rows: median {_of(after):g}, usual {low:g} to {high:g}"
    )


def _of(quantiles: Array) -> float:
    return float(np.median(quantiles))


def _other_names(
    column: str, reference: Profile, now: CategoryProfile, share: float, usual: float, many: bool
) -> str:
    was = reference.categories[column]
    rows = sum(now.counts.values()) + now.others
    novel = {value: count for value, count in now.counts.items() if value not in was.counts}
    if rows < LEAST or sum(was.counts.values()) < LEAST or sum(novel.values()) <= share * rows:
        return ""
    for explained, why, least in _explanations(column, reference, novel, usual, many):
        part = sum(novel[value] for value in explained) / rows
        if part > max(share, least):
            shown = ", ".join(f"{value[:40]!r}" for value in sorted(explained, key=lambda v: -novel[v])[:3])
            frequent = ", ".join(f"{value[:40]!r}" for value in list(was.counts)[:3])
            return f"{why} in {part:.0%} of the rows: {shown}; usual are {frequent}"
    return ""


def _explanations(
    column: str, reference: Profile, novel: dict[str, int], usual: float, many: bool
) -> Iterator[tuple[list[str], str, float]]:
    """Never seen values that a known mistake explains, and the mistake. A new shop, alone in its file, is none."""
    was = reference.categories[column]
    plain = {_plain(value) for value in was.counts}
    yield [v for v in novel if _plain(v) in plain], "known names written otherwise", 0.0
    if len(novel) < 3 or usual > FEW:
        return
    for other, values in reference.categories.items():
        if other != column:
            yield [v for v in novel if v in values.counts], f"values of {other}", 0.0
    if len(was.counts) >= 3 and len(was.shapes) <= 20:
        yield [v for v in novel if shape(v) not in was.shapes], "names of another form", 0.0
    if many:
        yield list(novel), "names never seen before", APART


def _plain(value: str) -> str:
    """What case, spaces, punctuation and leading zeros leave of a name."""
    bare = re.sub(r"[\W_]+", "", re.sub(r"\.0+$", "", value.casefold()))
    return bare.lstrip("0") or bare


def _usual_novelty(known: Sequence[Profile], column: str) -> float:
    """How large a share of a file's rows usually has values that were never seen.

    The share of rows whose value stands once estimates it from a single file (Good and Turing 1953); of three files
    or more each is also held against the others.
    """
    parts = [p.categories[column] for p in known if column in p.categories]
    counts: collections.Counter[str] = collections.Counter()
    for part in parts:
        counts.update(part.counts)
    others = sum(p.others for p in parts)
    estimates = [(sum(n for n in counts.values() if n == 1) + others) / max(1, counts.total() + others)]
    if len(parts) >= ENOUGH:
        for part in parts:
            new = sum(n for value, n in part.counts.items() if counts[value] == n)
            estimates.append((new + part.others) / max(1, sum(part.counts.values()) + part.others))
    return max(estimates)
