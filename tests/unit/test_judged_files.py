# SPDX-License-Identifier: Apache-2.0
"""A file is also judged as a whole, and a person can overrule most of what is found."""

from __future__ import annotations

from typing import Any

import pytest
from fakes import tea
from taking_in import GOOD, as_csv, taken_in

from dropfit.contract import Gate, Label, Problem, Quantity
from dropfit.errors import BadFile
from dropfit.ingest import JUDGEMENTS, Caps


def test_a_file_with_too_many_bad_rows_is_refused_whole_with_the_commonest_reasons() -> None:
    rows = [GOOD, *({**GOOD, "minutes": "soon"} for _ in range(3)), {**GOOD, "leaf": ""}]
    with pytest.raises(BadFile) as refused:
        taken_in(as_csv(rows), caps=Caps(max_bad_share=0.5))
    assert refused.value.code == "too-many-bad-rows"
    assert "4 of 5 rows" in refused.value.reason
    assert "minutes: not a number (3 rows); leaf: missing (1 rows)" in refused.value.reason


def test_a_file_with_as_many_bad_rows_as_allowed_is_taken_in() -> None:
    rows = [GOOD, {**GOOD, "minutes": "soon"}]
    assert taken_in(as_csv(rows), caps=Caps(max_bad_share=0.5)).found.rows == 1


def test_a_file_of_bad_rows_alone_is_refused_however_tolerant_the_cap() -> None:
    with pytest.raises(BadFile) as refused:
        taken_in(as_csv([{**GOOD, "leaf": ""}]))
    assert refused.value.code == "too-many-bad-rows"


def test_a_header_without_rows_is_refused() -> None:
    with pytest.raises(BadFile) as refused:
        taken_in(as_csv([GOOD]).splitlines(keepends=True)[0])
    assert refused.value.code == "no-rows"


def many(rows: int, **cells: Any) -> bytes:
    return as_csv([{**GOOD, "pot": n, "drunk": n % 2, **cells} for n in range(rows)])


@pytest.mark.parametrize(("rows", "code"), [(29, ""), (30, "empty-column")])
def test_an_empty_column_refuses_a_file_of_some_size(rows: int, code: str) -> None:
    assert verdict(many(rows, cup="", minutes=2)) == code


@pytest.mark.parametrize(("rows", "code"), [(99, ""), (100, "constant-target")])
def test_a_constant_target_refuses_a_file_that_could_carry_a_model(rows: int, code: str) -> None:
    assert tea().gate.minimum_rows <= 100
    assert verdict(many(rows, drunk=1), tea(gate=Gate(minimum_rows=100))) == code


def test_a_constant_label_or_quantity_is_judged_alike() -> None:
    label = tea(target=Label(name="verdict", values=("good", "bad")), gate=Gate(minimum_rows=50))
    assert verdict(many(50, verdict="good"), label) == "constant-target"
    quantity = tea(target=Quantity(name="drunk"), gate=Gate(minimum_rows=50))
    assert verdict(many(50, drunk=1.5), quantity) == "constant-target"


def test_rows_that_could_not_be_split_do_not_make_a_column_empty() -> None:
    assert verdict(as_csv([GOOD]).splitlines(keepends=True)[0] + b"short\n" * 50) == "too-many-bad-rows"


JUDGED = {
    "empty-column": many(200, cup=""),
    "constant-target": many(2000, drunk=0),
    "too-many-bad-rows": as_csv([GOOD, {**GOOD, "leaf": ""}, {**GOOD, "leaf": ""}]),
    "truncated": many(3) + b"assam,small",
}


@pytest.mark.parametrize("code", JUDGEMENTS)
def test_a_person_can_overrule_every_judgement_about_a_file_as_a_whole(code: str) -> None:
    assert verdict(JUDGED[code]) == code
    assert verdict(JUDGED[code], overridden=frozenset({code})) == ""
    assert verdict(JUDGED[code], overridden=frozenset({"*"})) == ""
    assert verdict(JUDGED[code], overridden=frozenset({"another"})) == code


def test_nobody_can_overrule_that_there_is_nothing_to_accept() -> None:
    assert verdict(as_csv([{**GOOD, "leaf": ""}]), overridden=frozenset({"*"})) == "too-many-bad-rows"


def verdict(payload: bytes, problem: Problem | None = None, **caps: Any) -> str:
    try:
        taken_in(payload, problem, Caps(**caps))
    except BadFile as bad:
        return bad.code
    return ""
