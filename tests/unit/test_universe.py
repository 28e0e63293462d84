# SPDX-License-Identifier: Apache-2.0
"""Which keys the table holds, how often each was counted, and what is told of them."""

from __future__ import annotations

import collections
import math
from typing import Any

import msgspec
import numpy as np
import pyarrow as pa
import pytest
from fakes import pots, settings, tea, universe_of
from hypothesis import given
from hypothesis import strategies as st

from dropfit import counting, domains, population, tables, universe, universe_report
from dropfit.contract import Category, Contract, Label, Number
from dropfit.counting import Seen
from dropfit.encoding import Encoder, learn, take
from dropfit.errors import ArtifactError, SettingsError, Unavailable
from dropfit.keys import joined
from dropfit.keyset import key_columns, texts
from dropfit.universe import Places, Universe

TEA = tea().contract
WORDS = st.text(st.sampled_from("ab\t\\N é\U0001f375"), max_size=4)
NUMBERS = st.sampled_from([math.nan, 0.0, -0.0, 5.0, 2.5, 1e-7, -3.0, 1e300, 0.1 + 0.2])
ROWS = st.lists(st.tuples(WORDS, st.none() | WORDS, NUMBERS), min_size=1, max_size=60)


def columns(rows: list[Any]) -> dict[str, Any]:
    leaf, cup, minutes = zip(*rows, strict=True)
    return {"leaf": np.array(leaf, dtype=object), "cup": np.array(cup, dtype=object), "minutes": np.array(minutes)}


def arrow(rows: list[Any]) -> Any:
    leaf, cup, minutes = zip(*rows, strict=True)
    return pa.table(
        {"leaf": pa.array(leaf, pa.string()), "cup": pa.array(cup, pa.string()), "minutes": list(minutes)}
    )


def counts_of(found: Universe) -> dict[str, int]:
    return dict(zip(found.axes.texts(found.numbers), found.counts.tolist(), strict=True))


def seen(rows: list[Any], cuts: int = 1, coded: bool = False) -> Universe:
    counter = Seen(TEA)
    for begin in range(0, len(rows), -(-len(rows) // cuts)):
        part = arrow(rows[begin : begin + -(-len(rows) // cuts)])
        if coded:
            part = part.set_column(0, "leaf", part.column("leaf").dictionary_encode())
        counter.add(part)
    return counter.universe()


@given(ROWS, st.integers(1, 7), st.booleans(), st.sampled_from([1, 9, counting.PENDING]))
def test_keys_are_counted_as_their_texts_are(rows: list[Any], cuts: int, coded: bool, pending: int) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(counting, "PENDING", pending)
        found = seen(rows, cuts, coded)
    wanted = collections.Counter(joined(columns(rows), TEA.key))
    assert counts_of(found) == wanted
    assert len(found) == len(wanted)
    assert found.total == len(rows)


@given(ROWS)
def test_the_most_frequent_come_first_and_of_one_frequency_in_the_order_of_their_texts(rows: list[Any]) -> None:
    told = counts_of(seen(rows))
    assert list(told) == sorted(told, key=lambda key: (-told[key], key.split("\t")))


@given(ROWS, st.integers(1, 7), st.randoms())
def test_the_order_of_the_rows_changes_nothing(rows: list[Any], cuts: int, chance: Any) -> None:
    shuffled = rows[:]
    chance.shuffle(shuffled)
    assert counts_of(seen(shuffled, cuts)) == counts_of(seen(rows))


@given(ROWS)
def test_a_row_batch_and_an_arrow_table_are_counted_alike(rows: list[Any]) -> None:
    assert list(counts_of(counting.of_rows(TEA, columns(rows))).items()) == list(counts_of(seen(rows)).items())


@given(ROWS, st.integers(1, 5))
def test_a_key_is_read_back_out_of_its_number_however_many_there_can_be(rows: list[Any], small: int) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("dropfit.keyset.LARGEST", small)  # so that each beginning is counted anew
        patch.setattr(counting, "PENDING", 5)
        found = seen(rows, 3)
    axes, numbers = found.axes, found.numbers
    keys = axes.table(numbers)
    assert counts_of(found) == collections.Counter(joined(columns(rows), TEA.key))
    rows = [tuple(row.values()) for row in keys.to_pylist()]
    rows = [(leaf, cup, math.nan if minutes is None else minutes) for leaf, cup, minutes in rows]
    assert axes.texts(numbers) == joined(columns(rows), TEA.key)
    assert (axes.numbers(keys) == numbers).all()
    assert axes.lengths(numbers).tolist() == [len(text.encode()) for text in axes.texts(numbers)]
    for size in range(4):
        begun = axes.beginnings(numbers, size)
        assert axes.texts(begun, size) == joined(columns(rows), TEA.key[:size]) if size else not begun.any()


def test_a_key_that_the_axes_do_not_hold_has_no_number() -> None:
    axes = seen([("assam", "small", 1.0), ("sencha", None, math.nan)]).axes
    strange = [("assam", None, math.nan), ("mate", None, math.nan), ("assam", "small", 2.0), ("assam", "large", 1.0)]
    assert (axes.numbers(key_columns(TEA, arrow(strange))) >= 0).tolist() == [True, False, False, False]


@given(st.lists(NUMBERS | st.floats(-1e18, 1e18)))
def test_numbers_are_written_as_they_stand_in_a_key(numbers: list[float]) -> None:
    column = pa.array(numbers, pa.float64(), from_pandas=True)
    assert texts(column).to_pylist() == joined({"x": np.array(numbers)}, ["x"])
    whole = [None if n != n else int(n) for n in numbers if abs(n) < 2**53 or n != n]
    assert texts(pa.array(whole, pa.int64())).to_pylist() == joined({"x": np.array(whole, dtype=object)}, ["x"])


@given(ROWS, st.integers(1, 9), st.randoms())
def test_rows_of_a_table_find_their_places_whatever_their_order(rows: list[Any], cut: int, chance: Any) -> None:
    found = seen(rows)
    places = Places(TEA, found)
    order = list(range(len(found)))
    chance.shuffle(order)
    table = found.axes.table(found.numbers[order])
    told = [place for begin in range(0, len(order), cut) for place in places.of(table.slice(begin, cut)).tolist()]
    assert told == order


def test_a_key_that_was_not_to_be_predicted_is_told() -> None:
    with pytest.raises(ArtifactError, match="1 keys of the table are none that were to be predicted"):
        Places(TEA, seen([("assam", None, 1.0)])).of(arrow([("assam", None, 2.0)]))


def brewed(leaf: list[str], warmth: list[float], **changes: Any) -> dict[str, Any]:
    """A row a leaf, all else alike."""
    rows = take(pots(len(leaf)), np.arange(len(leaf)))
    alike = {"cup": np.full(len(leaf), "small", dtype=object), "minutes": np.ones(len(leaf))}
    return {**rows, **alike, "leaf": np.array(leaf, dtype=object), "warmth": np.array(warmth), **changes}


def test_a_feature_outside_the_key_has_the_pinned_value_and_not_that_of_some_row() -> None:
    accepted = brewed(["assam", "assam", "sencha"], [60.0, np.nan, 70.0], minutes=np.array([1.0, 2.0, 3.0]))
    accepted["warmth"][0] = 61.0
    problem = tea()
    pinned = Encoder(problem.contract, learn(problem, brewed(["assam"], [80.0])), problem.derive)
    _, found = universe_of(problem.contract, accepted, pinned)
    by_minutes = dict(zip(found["minutes"].tolist(), found["warmth"].tolist(), strict=True))
    assert (by_minutes[1], by_minutes[2]) == (80.0, 80.0)
    assert np.isnan(by_minutes[3]), "nothing was pinned for sencha"


@given(st.integers(0, 5))
def test_a_row_of_the_table_is_what_a_request_gets_that_leaves_such_a_feature_out(seed: int) -> None:
    problem, accepted = tea(), pots(60, seed=seed)
    encoder = Encoder(problem.contract, learn(problem, accepted), problem.derive)
    _, found = universe_of(problem.contract, accepted, encoder)
    left_out = {**found, "warmth": np.full(len(found["leaf"]), np.nan)}
    assert np.array_equal(encoder.matrix(found), encoder.matrix(left_out), equal_nan=True)


def test_a_gap_in_a_key_stays_one_although_it_could_be_filled_in() -> None:
    problem = tea(key=("leaf", "warmth", "cup", "minutes"))
    rows = brewed(["assam", "assam"], [60.0, np.nan])
    encoder = Encoder(problem.contract, learn(problem, rows), problem.derive)
    keys, found = universe_of(problem.contract, rows, encoder)
    assert keys.counts.tolist() == [1, 1]
    assert joined(found, problem.key) == keys.axes.texts(keys.numbers)


def test_the_features_are_typed_as_the_table_is() -> None:
    minutes = Number(name="minutes", integer=True, missing=True)
    problem = tea(features=tuple(minutes if f.name == "minutes" else f for f in TEA.features))
    rows = pots(50)
    encoder = Encoder(problem.contract, learn(problem, rows), problem.derive)
    keys, found = universe_of(problem.contract, rows, encoder)
    (batch,) = keys.features(problem.contract, encoder.encoding)
    assert batch.schema == tables.features_table(problem.contract, found).schema
    assert str(batch.schema.field("minutes").type) == "int64"


@given(ROWS, st.floats(0.01, 1), st.integers(1, 50))
def test_the_most_frequent_keys_reach_the_coverage_or_the_row_budget(
    rows: list[Any], coverage: float, most: int
) -> None:
    every = seen(rows)
    found = universe.frequent(every, coverage, most)
    told = counts_of(found)
    assert list(told.items()) == list(counts_of(every).items())[: len(told)]
    covered = sum(told.values())
    assert covered >= coverage * len(rows) - 1e-6 or len(told) == most
    assert len(told) <= most
    assert covered - found.counts[-1] < coverage * len(rows), "one key fewer would have done"
    assert bool(found.notes) == (universe.covering(every, coverage) > most)


def test_more_keys_than_the_table_may_hold_are_cut_to_the_most_frequent_and_that_is_said() -> None:
    found = population.chosen(
        TEA, seen([("a", None, 1.0), ("b", None, 1.0), ("b", None, 1.0)]), settings(table_rows=1)
    )
    assert counts_of(found) == {"b\t\\N\t1": 2}
    assert found.notes == ("2 keys were seen, and DROPFIT_TABLE_ROWS=1 keeps the most frequent",)


CUP = Category(name="cup", values=("small", "large"), missing=True)
STEEP = Number(name="minutes", minimum=0.5, maximum=3, integer=True)
LEAF = Category(name="leaf", values=("assam", "sencha"))


def steeped(*key: Any) -> Contract:
    features = (*key, next(f for f in TEA.features if f.name == "warmth"))
    return tea(features=features, key=tuple(f.name for f in key), policy=tea().policy).contract


def test_the_domains_are_every_combination_of_what_is_declared() -> None:
    contract = steeped(LEAF, CUP, STEEP)
    counted = Seen(contract)
    counted.add(arrow([("sencha", None, 2.0), ("sencha", None, 2.0), ("assam", "large", 3.0)]))
    found = domains.domains(contract, counted.universe(), 100)
    told = counts_of(found)
    wanted = {f"{leaf}\t{cup}\t{n}" for leaf in LEAF.values for cup in ("small", "large", "\\N") for n in (1, 2, 3)}
    assert set(told) == wanted
    assert len(found) == len(wanted) == 18
    assert list(told.items())[:2] == [("sencha\t\\N\t2", 2), ("assam\tlarge\t3", 1)]
    assert sum(told.values()) == 3
    assert found.notes == ()


def test_a_category_without_declared_values_has_those_that_were_seen_and_that_is_said() -> None:
    contract = steeped(Category(name="leaf"), CUP, STEEP)
    counted = Seen(contract)
    counted.add(arrow([("mate", None, 2.0), ("assam", "large", 3.0)]))
    found = domains.domains(contract, counted.universe(), 100)
    assert {key.split("\t")[0] for key in counts_of(found)} == {"mate", "assam"}
    assert found.notes == ("leaf: no values are declared, so those seen in accepted rows are taken",)


@pytest.mark.parametrize(
    "minutes",
    [
        Number(name="minutes", minimum=0, maximum=9),
        Number(name="minutes", minimum=0, integer=True),
        Number(name="minutes", maximum=9, integer=True),
    ],
    ids=["not whole", "no maximum", "no minimum"],
)
def test_a_number_that_can_be_anything_has_no_domain_and_the_refusal_says_what_to_do(minutes: Number) -> None:
    contract = steeped(LEAF, CUP, minutes)
    counted = Seen(contract)
    counted.add(arrow([("assam", None, 2.0)]))
    with pytest.raises(
        SettingsError, match=r"minutes can have any value; declare integer=True.*DROPFIT_UNIVERSE=seen"
    ):
        domains.domains(contract, counted.universe(), 100)


def test_domains_larger_than_the_table_may_be_are_refused_with_their_number_before_they_are_made() -> None:
    contract = steeped(LEAF, CUP, Number(name="minutes", minimum=1, maximum=10**15, integer=True))
    counted = Seen(contract)
    counted.add(arrow([("assam", None, 2.0)]))
    wanted = r"2 leaf x 3 cup x 1,000,000,000,000,000 minutes are 6,000,000,000,000,000 keys.*allows 10,000,000"
    with pytest.raises(SettingsError, match=wanted):
        population.chosen(contract, counted.universe(), settings(universe="domains"))


class FakeLog:
    """A prediction log that answers as BigQuery does."""

    def __init__(self, *asked: tuple[Any, float], tail: float = 0.0, error: Exception | None = None) -> None:
        total = sum(weight for _, weight in asked) + tail
        self.rows = [{"instance": _json(i), "weight": weight, "total": total} for i, weight in asked]
        self.error = error
        self.given: Any = None

    def name(self, table: str) -> str:
        return f"p.dropfit.{table}"

    def query(self, sql: str, parameters: Any) -> list[Any]:
        self.given = sql, parameters
        if self.error:
            raise self.error
        return self.rows


def _json(instance: Any) -> str:
    return instance if isinstance(instance, str) else msgspec.json.encode(instance).decode()


ASKED = settings(universe="frequent", frequency="requests", frequency_days=7, coverage=0.75)
HERE = [("assam", None, 1.0)]


def test_the_keys_that_are_asked_for_are_counted_by_what_each_logged_request_stands_for() -> None:
    log = FakeLog(
        ({"leaf": "mate", "cup": "small", "minutes": 5}, 4.0),
        ({"leaf": "mate", "cup": "small", "minutes": 5.0, "warmth": 80}, 2.0),
        (msgspec.json.encode('{"leaf": "assam"}').decode(), 2.0),
        tail=2.0,
    )
    found = population.chosen(TEA, seen(HERE), ASKED, log)
    assert counts_of(found) == {"mate\tsmall\t5": 6, "assam\t\\N\t\\N": 2}
    assert (found.source, found.total) == ("requests", 10)
    assert "`p.dropfit.prediction_log`" in log.given[0]
    assert log.given[1]["days"] == 7


def test_what_is_no_instance_of_the_contract_is_not_counted_and_that_is_said() -> None:
    log = FakeLog(({"leaf": "mate"}, 3.0), ({"leaf": 7}, 2.0), ({"grape": "merlot"}, 1.0), ("nonsense", 1.0))
    found = population.chosen(TEA, seen(HERE), ASKED, log)
    assert counts_of(found) == {"mate\t\\N\t\\N": 3}
    assert found.total == 3
    assert found.notes == ("4 logged requests are none of the present contract",)


@pytest.mark.parametrize(
    ("log", "why"),
    [(FakeLog(), "holds no request of the last 7 days"), (FakeLog(error=Unavailable("503")), "cannot be read")],
    ids=["empty", "out of reach"],
)
def test_without_requests_the_accepted_rows_are_counted_and_that_is_said(log: FakeLog, why: str) -> None:
    found = population.chosen(TEA, seen(HERE), ASKED, log)
    assert (found.source, counts_of(found)) == ("accepted", {"assam\t\\N\t1": 1})
    assert why in found.notes[0]
    assert "accepted rows were counted" in found.notes[0]


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
