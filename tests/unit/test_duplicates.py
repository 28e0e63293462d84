# SPDX-License-Identifier: Apache-2.0
"""What an upload brings beside those that are in use."""

from __future__ import annotations

import datetime as dt
from typing import Any

import numpy as np
import pytest
from fakes import pots, tea
from hypothesis import given
from hypothesis import strategies as st

from dropfit import duplicates
from dropfit.duplicates import Hashes, Held, KnownRows, gathered, in_use
from dropfit.receipts import Accepted, Receipt, UploadedObject

Rows = list[tuple[int, int]]
ROWS = st.lists(st.tuples(st.integers(0, 6), st.integers(0, 1)), min_size=1, max_size=8)
FILES = st.lists(st.tuples(st.sampled_from("abcd"), ROWS), min_size=1, max_size=12)
NOW = dt.datetime(2013, 1, 1, tzinfo=dt.UTC)


def hashed(rows: Rows) -> Held:
    identities, values = np.array(rows, dtype=np.uint64).T
    whole = Hashes(identities, (identities * np.uint64(10) + values).astype(np.uint32))
    parts = [Hashes(*(column[part] for column in whole)) for part in (slice(3), slice(3, None))]
    return gathered(parts, len(rows))


def held(columns: Any) -> Held:
    return gathered([duplicates.hashes(tea(), columns)], len(columns["pot"]))


def receipt(place: int, name: str = "", **found: Any) -> Receipt:
    accepted = Accepted(**({"rows": 1, "rejected": 0, "sha256": "", "size": 0, "problem_sha256": "p"} | found))
    uploaded = UploadedObject("landing", name or f"{place}.csv", place)
    return Receipt(object=uploaded, state="accepted", received_at=NOW, updated_at=NOW, accepted=accepted)


@given(FILES, st.sampled_from("abcd"), ROWS)
def test_known_rows_say_what_a_walk_through_all_files_says(
    files: list[tuple[str, Rows]], name: str, rows: Rows
) -> None:
    known, live = KnownRows(), {}
    for place, (label, content) in enumerate(files):
        if label in live:
            known.forget(live[label][0])
        live.pop(label, None)
        live[label] = f"{label}{place}", dict(content)  # a later row of an identity wins, and so does a later file
        known.add(live[label][0], hashed(content))
    there: dict[int, tuple[str, int]] = {}
    for label, (owner, content_) in live.items():
        there |= {identity: (owner, value) for identity, value in content_.items() if label != name}

    found = known.compare(hashed(rows), live[name][0] if name in live else "")
    mine = dict(rows)
    owners = [there[i][0] for i in mine if i in there]
    assert found.fresh == len(set(mine) - set(there))
    assert found.changed == sum(i in there and there[i][1] != v for i, v in mine.items())
    assert found.twice == len(rows) - len(mine)
    assert found.holders == {owner: owners.count(owner) for owner in owners}


def test_identity_decides_and_never_the_features() -> None:
    rows = pots(20)
    again = {**rows, "minutes": rows["minutes"] + 1}
    other = {**rows, "pot": rows["pot"] + 1000}
    known = KnownRows()
    known.add("first", held(rows))
    changed = int(np.sum(~np.isnan(rows["minutes"])))
    assert known.compare(held(rows)) == (0, 0, 0, {"first": 20})
    assert known.compare(held(again)) == (0, changed, 0, {"first": 20})
    assert known.compare(held(other)) == (20, 0, 0, {})


def test_zero_has_one_hash_and_so_has_missing() -> None:
    problem = tea(identity=("leaf", "minutes", "brewed"))
    rows = {name: values[:2].copy() for name, values in pots(4).items()}
    rows |= {"leaf": np.array([None, None], dtype=object), "minutes": np.array([0.0, -0.0])}
    rows["brewed"] = np.array([rows["brewed"][0]] * 2).astype("datetime64[us]")
    first, second = duplicates.hashes(problem, rows).identities
    assert first == second
    days = {**rows, "brewed": rows["brewed"].astype("datetime64[D]")}
    assert duplicates.hashes(problem, days).identities[0] == first
    rows["minutes"] = np.frombuffer(np.array([0x7FF8000000000000, 0x7FF8000000000001], dtype=np.uint64), float)
    first, second = duplicates.hashes(problem, rows).identities
    assert first == second


def test_beyond_its_memory_rows_are_taken_for_new(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(duplicates, "MAX_KNOWN", 2)
    known = KnownRows()
    known.add("a", hashed([(1, 0), (2, 0)]))
    known.add("b", hashed([(3, 0)]))
    assert len(known) == 2
    assert known.compare(hashed([(1, 0), (3, 0)])).fresh == 1


def test_what_brings_nothing_takes_no_place_in_the_window() -> None:
    first, second = receipt(1, fresh=5), receipt(2, fresh=5)
    copy = receipt(3, repeats={first.id: 3, second.id: 2})
    assert in_use([first, second, copy], "p", window=2) == ([first, second], [copy])
    assert in_use([first, second, copy], "p") == ([first, second], [copy])


@pytest.mark.parametrize("brings", [{"fresh": 1}, {"changed": 1}, {"problem_sha256": "older"}])
def test_what_brings_something_counts(brings: dict[str, Any]) -> None:
    first = receipt(1, fresh=5)
    other = receipt(2, repeats={first.id: 4}, **brings)
    assert in_use([first, other], "p") == ([first, other], [])


def test_a_copy_counts_once_what_it_was_a_copy_of_is_out_of_use() -> None:
    first, second, third = (receipt(place, fresh=5) for place in (1, 2, 3))
    copy = receipt(4, repeats={first.id: 5})
    of_the_copy = receipt(5, repeats={copy.id: 5})
    everything = [first, second, third, copy, of_the_copy]
    assert in_use(everything, "p") == ([first, second, third], [copy, of_the_copy])
    assert in_use(everything[1:], "p") == ([second, third, copy], [of_the_copy])
    assert in_use(everything, "p", window=2) == ([third, copy], [of_the_copy])


def test_two_that_name_each_other_are_not_both_left_out() -> None:
    one, two = receipt(1), receipt(2)
    one, two = receipt(1, repeats={two.id: 1}), receipt(2, repeats={one.id: 1})
    assert in_use([one, two], "p") == ([one], [two])


@given(st.lists(st.integers(0, 5)), st.lists(st.integers(0, 5)))
def test_two_runs_become_one_sorted_run_with_the_older_first_among_equals(old: list[int], new: list[int]) -> None:
    def run(identities: list[int], owner: int) -> Any:
        ids = np.sort(np.array(identities, dtype=np.uint64))
        return duplicates._Run(ids, np.arange(len(ids), dtype=np.uint32), np.full(len(ids), owner, dtype=np.int32))

    merged = duplicates._merged(run(old, 0), run(new, 1))
    assert list(zip(merged.identities.tolist(), merged.owners.tolist(), strict=True)) == sorted(
        [*((identity, 0) for identity in old), *((identity, 1) for identity in new)]
    )
