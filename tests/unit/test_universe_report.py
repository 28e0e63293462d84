# SPDX-License-Identifier: Apache-2.0
"""What is told of the keys: how many, how evenly they come, and what to hold of them."""

from __future__ import annotations

import math
from typing import Any

import pytest
from counted_keys import ROWS, TEA, seen
from fakes import settings, tea
from hypothesis import given
from test_universe_requests import HERE

from dropfit import population, universe_report
from dropfit.contract import Contract, Label


def report(rows: list[Any], contract: Contract = TEA, **changes: Any) -> universe_report.Report:
    there = settings(**changes)
    return universe_report.report(contract, population.chosen(contract, seen(rows), there), there)


def test_keys_that_come_equally_often_have_full_entropy_and_one_key_has_none() -> None:
    alike = report([(leaf, None, 1.0) for leaf in "abcdefghij"])
    assert alike.entropy == pytest.approx(1.0)
    assert (alike.top_1, alike.top_10) == (0.1, 0.1)
    alone = report([("a", None, 1.0)] * 7)
    assert (alone.entropy, alone.top_1, alone.top_10, alone.seen) == (0.0, 1.0, 1.0, 1)


def test_the_entropy_is_shannons_over_the_logarithm_of_the_cardinality() -> None:
    found = report([("a", None, 1.0)] * 6 + [("b", None, 1.0)] * 2)
    assert found.entropy == pytest.approx(-(0.75 * math.log2(0.75) + 0.25 * math.log2(0.25)))


@given(ROWS)
def test_every_share_lies_between_nothing_and_all(rows: list[Any]) -> None:
    found = report(rows)
    assert all(0 <= share <= 1 for share in (found.entropy, found.top_1, found.top_10, found.unseen, found.coverage))
    assert found.top_1 <= found.top_10
    assert (found.coverage, found.keys, found.counted) == (1.0, found.seen, len(rows))
    needed = [n for n in found.curve.values() if n is not None]
    assert needed == sorted(needed)
    assert needed[-1] <= found.seen
    assert found.snapshot_keys == found.keys


def test_the_curve_says_how_many_keys_cover_how_much() -> None:
    rows = [("a", None, 1.0)] * 80 + [("b", None, 1.0)] * 15 + [(f"c{n}", None, 1.0) for n in range(5)]
    found = report(rows, universe="frequent", coverage=0.9)
    assert found.curve == {"50%": 1, "80%": 1, "90%": 2, "95%": 2, "99%": 6}
    assert (found.keys, found.coverage) == (2, 0.95)
    assert found.unseen == 0.05, "of a hundred rows five have a key that came only once"
    answer = "the snapshot's 2 keys can be expected to answer 90.2% of further rows"
    assert found.advice == f"DROPFIT_MODE=hybrid suits: {answer}, and the model the rest."


def test_the_advice_follows_what_the_head_covers() -> None:
    rows = [(f"leaf {n}", None, 1.0) for n in range(1000)]
    assert report(rows * 2).advice.startswith("DROPFIT_MODE=static can do")
    assert report(rows * 2, snapshot_bytes=4096).advice.startswith("DROPFIT_MODE=dynamic suits")
    assert report(rows).advice.startswith("DROPFIT_MODE=dynamic suits"), "each key came once: the next is new too"


def test_a_labels_table_takes_its_probabilities_too() -> None:
    verdict = tea(target=Label(name="verdict", values=("awful", "good"))).contract
    plain, labelled = report(HERE), report(HERE, verdict)
    assert labelled.table_bytes > plain.table_bytes
    assert labelled.snapshot_bytes > plain.snapshot_bytes
    assert plain.table_bytes == (2 + 5) + 8 + 8 + 8 + 2 + 26 + 8, "leaf, minutes, warmth, prediction, and the rest"


def test_a_run_logs_the_numbers_in_one_line() -> None:
    found = report([("a", None, 1.0)] * 3 + [("b", None, 1.0)])
    wanted = "universe=seen: 2 of 2 keys seen in 4 rows, coverage 100.0%, normalised entropy 0.81, top 1% 75.0%"
    assert universe_report.line(found).startswith(wanted)
    assert "advice" not in universe_report.told(found)
