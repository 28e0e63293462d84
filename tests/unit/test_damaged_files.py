# SPDX-License-Identifier: Apache-2.0
"""A damaged or torn file is read or refused with a reason, and crashes nothing."""

from __future__ import annotations

import contextlib
import gzip
import io
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from raw_files import HEADER, parquet, refused, rows_of

from dropfit import pages
from dropfit.batches import Caps
from dropfit.errors import BadFile

PAYLOADS = {
    "csv": HEADER + b"".join(b'%d,"note, %d"\n' % (n, n) for n in range(300)),
    "gzip": gzip.compress(HEADER + b"".join(b"%d,note %d\n" % (n, n) for n in range(300))),
    "json": b"\n".join(b'{"id": %d, "note": "n %d"}' % (n, n) for n in range(300)),
    "parquet": parquet(id=list(range(300)), note=[f"note {n}" for n in range(300)]),
}
DAMAGE = st.one_of(
    st.tuples(st.just("cut"), st.floats(0, 1)),
    st.tuples(st.just("flip"), st.lists(st.tuples(st.floats(0, 1), st.integers(0, 7)), min_size=1, max_size=3)),
)


def damaged(payload: bytes, damage: tuple[str, Any]) -> bytes:
    kind, how = damage
    if kind == "cut":
        return payload[: int(how * len(payload))]
    broken = bytearray(payload)
    for place, bit in how:
        broken[min(int(place * len(payload)), len(payload) - 1)] ^= 1 << bit
    return bytes(broken)


@pytest.mark.parametrize("kind", ["csv", "gzip", "json"])
@given(damage=DAMAGE)
def test_a_damaged_file_is_read_or_refused_and_never_crashes_the_job(kind: str, damage: tuple[str, Any]) -> None:
    payload = damaged(PAYLOADS[kind], damage)
    try:
        good, broken = rows_of(payload)
    except BadFile:
        return  # anything else that is raised fails this test
    assert not set(good) & set(broken)


def test_a_parquet_file_with_a_damaged_page_is_refused() -> None:
    payload = bytearray(PAYLOADS["parquet"])
    payload[4:12] = b"\xff" * 8  # the first page's header
    assert refused(bytes(payload)).code == "unreadable"


@given(damage=DAMAGE)
def test_a_damaged_page_header_is_told_and_never_crashes_the_walk(damage: tuple[str, Any]) -> None:
    payload = damaged(PAYLOADS["parquet"], damage)
    with contextlib.suppress(ValueError):
        list(pages.pages(io.BytesIO(payload), 4, len(payload), 10**9))


@pytest.mark.parametrize(
    "payload",
    [
        HEADER + b"1,x\n2",
        HEADER + b'1,x\n2,"never closed\n3,y\n',
        HEADER + b'1,x\n"2,never closed\n3,y\n',
        HEADER + b'1,x\n2,"never closed',
        b'id,note,more\n1,x,y\n2,y,"never closed\n3,y,z\n',
        b'{"id": 1, "note": "x"}\n{"id": 2, "no',
    ],
    ids=["in a row", "a quote", "a quote before", "in quotes", "a quote in a column nobody asked for", "JSON"],
)
def test_a_file_without_its_end_is_refused_unless_a_person_overrules_it(payload: bytes) -> None:
    assert refused(payload).code == "truncated"
    good, broken = rows_of(payload, Caps(overridden=frozenset({"truncated"})))
    assert 1 in good
    assert len(good) + len(broken) >= 2


@pytest.mark.parametrize("payload", [HEADER + b"1,x\n2,y", HEADER + b'1,5" wide\n2,y\n', HEADER + b"1,x\n2\n"])
def test_a_file_that_only_looks_torn_is_read(payload: bytes) -> None:
    good, broken = rows_of(payload)
    assert sorted([*good, *broken]) == [1, 2]
