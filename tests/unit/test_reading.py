# SPDX-License-Identifier: Apache-2.0
"""A file of unknown kind becomes rows, each with its number in the file; what is unusable is refused by name."""

from __future__ import annotations

import csv
import gzip
import io
from typing import Any

import msgspec
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dropfit import reading
from dropfit.errors import BadFile

NEEDED = ("id", "note")
HEADER = b"id,note\n"
PLENTY = 1024**3


def rows_of(payload: bytes, limit: int = PLENTY) -> tuple[dict[int, tuple[Any, ...]], dict[int, str]]:
    """Row number -> cells of the readable rows, and row number -> reason of the others."""
    good: dict[int, tuple[Any, ...]] = {}
    broken: dict[int, str] = {}
    for batch in reading.read(io.BytesIO(payload), NEEDED, limit):
        cells = zip(*(batch.columns[n].to_pylist() for n in NEEDED), strict=True)
        for number, row in zip(batch.rows.tolist(), cells, strict=True):
            assert number not in good, "a row number was given twice"
            good[number] = row
        broken |= {r.row: r.reason for r in batch.broken}
    return good, broken


def refused(payload: bytes, limit: int = PLENTY) -> BadFile:
    with pytest.raises(BadFile) as caught:
        rows_of(payload, limit)
    return caught.value


TEXT = st.text(st.sampled_from('ab ,;"\n\té€'), max_size=6)
LINE = st.one_of(
    st.tuples(st.just("row"), TEXT),
    st.tuples(st.just("blank"), st.just("")),
    st.tuples(st.just("short"), st.just("")),
    st.tuples(st.just("long"), st.just("")),
)


def written(lines: list[tuple[str, str]]) -> tuple[bytes, dict[int, str], set[int]]:
    """A CSV file; row number -> note of its good rows; the numbers of rows of a wrong width."""
    sink = io.StringIO(newline="")
    sheet = csv.writer(sink, lineterminator="\n", quoting=csv.QUOTE_NONNUMERIC)
    number, good, wrong = 0, {}, set()
    for kind, note in lines:
        if kind == "blank":
            sink.write("\n")
            continue
        number += 1
        if kind == "row":
            sheet.writerow([number, note])
            good[number] = note
        else:
            sink.write("alone\n" if kind == "short" else "1,2,3\n")
            wrong.add(number)
    return HEADER + sink.getvalue().encode(), good, wrong


@given(st.lists(LINE, max_size=30))
def test_no_row_of_a_csv_file_is_lost_and_each_number_points_at_its_row(lines: list[tuple[str, str]]) -> None:
    payload, expected, wrong = written([*lines, ("row", "last")])
    good, broken = rows_of(payload)
    assert {number: note or "" for number, (_, note) in good.items()} == expected
    assert [int(row[0]) for row in good.values()] == list(good)
    assert set(broken) == wrong


def test_row_numbers_stay_right_from_one_block_of_a_large_csv_file_to_the_next(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(reading, "BLOCK", 256)
    payload, expected, wrong = written([("short" if n % 7 == 0 else "row", f"note {n}") for n in range(1, 400)])
    good, broken = rows_of(payload)
    assert set(broken) == wrong
    assert {number: int(row[0]) for number, row in good.items()} == {number: number for number in expected}


def test_a_large_csv_file_without_faults_is_numbered_through(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reading, "BLOCK", 256)
    payload, expected, _ = written([("row", f"note {n}") for n in range(1, 400)])
    good, broken = rows_of(payload)
    assert {number: note for number, (_, note) in good.items()} == expected
    assert [int(row[0]) for row in good.values()] == list(good)
    assert broken == {}


def test_a_file_of_wrong_rows_alone_gives_each_of_them_with_its_reason() -> None:
    good, broken = rows_of(HEADER + b"1\n1,2,3\n")
    assert good == {}
    assert broken == {1: "1 columns instead of 2", 2: "3 columns instead of 2"}


def test_a_row_of_a_wrong_width_is_kept_as_it_stood() -> None:
    (batch,) = reading.read(io.BytesIO(HEADER + b"1,fine\n7,too,many\n"), NEEDED, PLENTY)
    assert [r.values for r in batch.broken] == [{"": "7,too,many"}]


@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
@pytest.mark.parametrize("newline", ["\n", "\r\n"])
@pytest.mark.parametrize("mark", ["", "\ufeff"])
@pytest.mark.parametrize("end", ["", "\n", "\n\n\n"])
def test_exports_of_spreadsheets_are_read_whatever_their_dialect(
    delimiter: str, newline: str, mark: str, end: str
) -> None:
    text = delimiter.join(NEEDED) + "\n" + delimiter.join(("1", '"a\nb"')) + "\n" + delimiter.join(("2", "c")) + end
    good, broken = rows_of((mark + text).replace("\n", newline).encode())
    assert {n: (i, note.replace("\r\n", "\n")) for n, (i, note) in good.items()} == {1: ("1", "a\nb"), 2: ("2", "c")}
    assert broken == {}


def test_columns_may_stand_in_any_order_and_those_nobody_asked_for_are_named() -> None:
    (batch,) = reading.read(io.BytesIO(b"extra,note,id\nx,hello,1\n"), NEEDED, PLENTY)
    assert {name: column.to_pylist() for name, column in batch.columns.items()} == {"id": ["1"], "note": ["hello"]}
    assert batch.ignored == ["extra"]


@given(st.lists(TEXT, min_size=1, max_size=20))
def test_the_same_rows_are_read_from_csv_gzip_json_lines_and_parquet(notes: list[str]) -> None:
    plain, _, _ = written([("row", note) for note in notes])
    lines = b"\n".join(msgspec.json.encode({"id": str(n), "note": note}) for n, note in enumerate(notes, 1))
    sink = io.BytesIO()
    pq.write_table(pa.table({"id": [str(n) for n in range(1, len(notes) + 1)], "note": notes}), sink)
    expected = {n: (str(n), note) for n, note in enumerate(notes, 1)}
    for payload in (plain, gzip.compress(plain), lines, gzip.compress(lines), sink.getvalue()):
        good, broken = rows_of(payload)
        assert {n: (i, note or "") for n, (i, note) in good.items()} == expected
        assert broken == {}


JSON_LINE = st.one_of(
    st.builds(lambda n: msgspec.json.encode({"id": n, "note": "x"}), st.integers(0, 9)),
    st.sampled_from(
        [b"", b"   ", b"[1]", b"{", b'{"id": 1e999}', b'"text"', b'{"note": "\xff"}', b'{"id": "\\ud800"}']
    ),
)


@given(st.lists(JSON_LINE, max_size=30))
def test_no_json_line_is_lost_and_each_number_points_at_its_line(lines: list[bytes]) -> None:
    lines = [b'{"id": 0, "note": "first"}', *lines]
    good, broken = rows_of(b"\n".join(lines))
    assert sorted([*good, *broken]) == [n for n, line in enumerate(lines, 1) if line.strip()]
    for number, (found, _) in good.items():
        assert msgspec.json.decode(lines[number - 1])["id"] == int(found)


def test_json_lines_are_numbered_through_from_batch_to_batch(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reading, "ROWS", 7)
    lines = [b"oops" if n % 5 == 0 and n > 1 else b'{"id": %d, "note": "x"}' % n for n in range(1, 100)]
    good, broken = rows_of(b"\n".join(lines))
    assert {n: int(row[0]) for n, row in good.items()} == {n: n for n in range(1, 100) if n % 5}
    assert set(broken) == set(range(5, 100, 5))


def test_a_json_line_nested_too_deep_is_set_aside() -> None:
    deep = b'{"id": ' + b"[" * 100_000 + b"]" * 100_000 + b"}"
    good, broken = rows_of(b'{"id": 1, "note": "x"}\n' + deep)
    assert set(good) == {1}
    assert set(broken) == {2}


def test_parquet_rows_are_numbered_through_its_row_groups() -> None:
    sink = io.BytesIO()
    pq.write_table(pa.table({"id": list(range(1, 101)), "note": ["x"] * 100}), sink, row_group_size=9)
    good, _ = rows_of(sink.getvalue())
    assert {n: row[0] for n, row in good.items()} == {n: n for n in range(1, 101)}


def parquet(**columns: Any) -> bytes:
    sink = io.BytesIO()
    pq.write_table(pa.table(columns), sink)
    return sink.getvalue()


PNG = b"\x89PNG\r\n\x1a\n\x00\x00\x00\rIHDR"


@pytest.mark.parametrize(
    ("payload", "code", "says"),
    [
        (b"", "empty", "empty"),
        (gzip.compress(b""), "empty", "empty"),
        (b"id\n1\n", "missing-columns", "note"),
        (b"a;b\n1;2\n", "missing-columns", "id, note"),
        (b'{"a": 1}\n', "missing-columns", "id, note"),
        (parquet(id=[1]), "missing-columns", "note"),
        (b"id,note,id\n1,x,2\n", "duplicate-columns", "id"),
        ("id,note\n1,x\n".encode("utf-16"), "not-utf8", "UTF-16"),
        ("id,note\n1,café\n".encode("latin-1"), "not-utf8", "UTF-8"),
        (PNG, "unknown", "neither CSV"),
        (gzip.compress(gzip.compress(HEADER)), "unknown", "neither CSV"),
        (gzip.compress(parquet(id=[1], note=["x"])), "unknown", "neither CSV"),
        (gzip.compress(HEADER + b"1,x\n" * 9999)[:40], "broken-gzip", "gzip"),
        (parquet(id=[1], note=["x"])[:-9], "unreadable", "read"),
        (b"PAR1", "unreadable", "read"),
    ],
    ids=[
        "empty",
        "packed emptiness",
        "a column missing",
        "another delimiter",
        "JSON without the columns",
        "Parquet without a column",
        "a column twice",
        "UTF-16",
        "Latin-1",
        "a picture",
        "packed twice",
        "packed Parquet",
        "half a gzip",
        "half a Parquet",
        "Parquet's first word",
    ],
)
def test_an_unusable_file_is_refused_with_a_code_and_a_sentence(payload: bytes, code: str, says: str) -> None:
    error = refused(payload)
    assert error.code == code
    assert says in error.reason


def test_a_header_without_rows_gives_no_rows() -> None:
    assert rows_of(HEADER) == ({}, {})


def test_a_gzip_bomb_is_refused_at_the_cap_and_its_size_named() -> None:
    bomb = gzip.compress(HEADER + b"1,xxxxxxxxxxxxxxxx\n" * 1_000_000)
    assert len(bomb) < 100_000
    error = refused(bomb, limit=1_000_000)
    assert error.code == "too-large"
    assert "1,000,000" in error.reason


def test_a_parquet_bomb_is_refused_before_it_is_unpacked() -> None:
    bomb = parquet(id=list(range(100_000)), note=["x" * 50] * 100_000)
    assert refused(bomb, limit=100_000).code == "too-large"


def test_latin_1_beyond_the_first_block_is_refused_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reading, "BLOCK", 256)
    assert refused(HEADER + b"1,fine\n" * 200 + b"1,caf\xe9\n").code in ("not-utf8", "unreadable")


def test_a_hundred_thousand_columns_do_not_fill_the_refusals_sentence() -> None:
    error = refused((",".join(f"c{n}" for n in range(100_000)) + "\n").encode())
    assert len(error.reason) < 2000


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
