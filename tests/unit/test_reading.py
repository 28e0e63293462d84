# SPDX-License-Identifier: Apache-2.0
"""A file of unknown kind becomes rows, each with its number in the file; what is unusable is refused by name."""

from __future__ import annotations

import contextlib
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

from dropfit import batches, pages, parquets, reading
from dropfit.batches import Broken, Caps
from dropfit.errors import BadFile

NEEDED = ("id", "note")
HEADER = b"id,note\n"
SMALL = Caps(max_field_bytes=64)


def unexpected(rows: list[Broken]) -> None:
    raise AssertionError(f"{len(rows)} broken rows could have waited for their batch")


def rows_of(payload: bytes, caps: Caps = SMALL) -> tuple[dict[int, tuple[Any, ...]], dict[int, str]]:
    """Row number -> cells of the readable rows, and row number -> reason of the others."""
    good: dict[int, tuple[Any, ...]] = {}
    broken: dict[int, str] = {}
    for batch in reading.read(io.BytesIO(payload), NEEDED, caps, unexpected):
        cells = zip(*(batch.columns[n].to_pylist() for n in NEEDED), strict=True)
        for number, row in zip(batch.rows.tolist(), cells, strict=True):
            assert number not in good, "a row number was given twice"
            good[number] = row
        broken |= {r.row: r.reason for r in batch.broken}
    return good, broken


def refused(payload: bytes, caps: Caps = SMALL) -> BadFile:
    with pytest.raises(BadFile) as caught:
        rows_of(payload, caps)
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
    monkeypatch.setattr(batches, "BLOCK", 256)
    payload, expected, wrong = written([("short" if n % 7 == 0 else "row", f"note {n}") for n in range(1, 400)])
    good, broken = rows_of(payload)
    assert set(broken) == wrong
    assert {number: int(row[0]) for number, row in good.items()} == {number: number for number in expected}


def test_a_large_csv_file_without_faults_is_numbered_through(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(batches, "BLOCK", 256)
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
    (batch,) = reading.read(io.BytesIO(HEADER + b"1,fine\n7,too,many\n"), NEEDED, SMALL, unexpected)
    assert [r.text for r in batch.broken] == ["7,too,many"]


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
    (batch,) = reading.read(io.BytesIO(b"extra,note,id\nx,hello,1\n"), NEEDED, SMALL, unexpected)
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
    good, broken = rows_of(b"\n".join([*lines, b""]))
    assert sorted([*good, *broken]) == [n for n, line in enumerate(lines, 1) if line.strip()]
    for number, (found, _) in good.items():
        assert msgspec.json.decode(lines[number - 1])["id"] == int(found)


def test_json_lines_are_numbered_through_from_batch_to_batch(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(batches, "ROWS", 7)
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
        (PNG, "unknown", "a picture"),
        (gzip.compress(gzip.compress(HEADER)), "unknown", "packed twice"),
        (gzip.compress(parquet(id=[1], note=["x"])), "unknown", "Parquet inside gzip"),
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
    error = refused(bomb, Caps(max_unpacked_bytes=1_000_000))
    assert error.code == "too-large"
    assert "1,000,000" in error.reason


def test_a_parquet_bomb_is_refused_before_it_is_unpacked() -> None:
    bomb = parquet(id=list(range(100_000)), note=["x" * 50] * 100_000)
    assert refused(bomb, Caps(max_unpacked_bytes=100_000)).code == "too-large"


def test_latin_1_beyond_the_first_block_is_refused_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(batches, "BLOCK", 256)
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


@pytest.mark.parametrize(
    "payload",
    [
        HEADER + b"1," + b"x" * 65 + b"\n",
        HEADER + b"1,x\n" * 3 + b'2,"' + b"y" * 5_000_000 + b'"\n',
        gzip.compress(HEADER + b'1,"never closed' + b"\n2,x" * 1_000_000),
        b'{"id": 1, "note": "' + b"x" * 65 + b'"}\n',
        b'{"id": 1, "note": "x"}\n{"id": 2, "note": "' + b"x" * 5_000_000 + b'"}\n',
        parquet(id=[1], note=["x" * 65]),
        parquet(id=[1, 2], note=pa.array(["x", "x" * 65]).dictionary_encode()),
    ],
    ids=["CSV", "5 MB", "an unclosed quote", "JSON", "a JSON line of 5 MB", "Parquet", "a dictionary"],
)
def test_a_cell_over_the_cap_refuses_the_file(payload: bytes) -> None:
    assert refused(payload).code == "field-too-large"


def test_a_cell_at_the_cap_is_read() -> None:
    good, _ = rows_of(HEADER + b"1," + b"x" * 64 + b"\n")
    assert good == {1: ("1", "x" * 64)}


NAMES = [f"c{n}" for n in range(99)]


@pytest.mark.parametrize("extra", [0, 1])
@pytest.mark.parametrize("kind", ["csv", "json", "parquet"])
def test_a_file_with_more_columns_than_the_cap_is_refused(kind: str, extra: int) -> None:
    names = ["id", "note", *NAMES[: 98 + extra]]
    payload = {
        "csv": (",".join(names) + "\n" + ",".join("1" * len(names)) + "\n").encode(),
        "json": msgspec.json.encode(dict.fromkeys(names, "1")),
        "parquet": parquet(**{name: ["1"] for name in names}),
    }[kind]
    if extra:
        assert refused(payload, Caps(max_columns=100)).code == "too-many-columns"
    else:
        assert rows_of(payload, Caps(max_columns=100)) == ({1: ("1", "1")}, {})


def test_keys_that_change_from_line_to_line_count_as_columns() -> None:
    lines = [b'{"id": 1, "note": "x", "k%d": 1}' % n for n in range(200)]
    assert refused(b"\n".join(lines), Caps(max_columns=100)).code == "too-many-columns"


def test_a_ratio_counts_only_beyond_what_an_honest_file_may_unpack_to(monkeypatch: pytest.MonkeyPatch) -> None:
    payload = gzip.compress(HEADER + b"1,xxxxxxxxxxxxxxxx\n" * 100_000)
    assert len(rows_of(payload)[0]) == 100_000
    monkeypatch.setattr(batches, "HONEST", 1_000_000)
    assert refused(payload).code == "bomb"
    assert len(rows_of(payload, Caps(max_unpack_ratio=2000))[0]) == 100_000


def test_a_dictionary_that_decodes_to_far_more_than_the_file_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    codes = pa.array([0] * 50_000, pa.int32())
    bomb = parquet(id=codes, note=pa.DictionaryArray.from_arrays(codes, ["x" * 64]))
    assert len(bomb) < 10_000
    assert len(rows_of(bomb)[0]) == 50_000
    monkeypatch.setattr(batches, "HONEST", 1_000_000)
    assert refused(bomb).code == "bomb"


def test_texts_that_decode_to_much_come_in_pieces_and_none_is_lost(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parquets, "DECODED", 1000)
    notes = [f"note {n % 7}" for n in range(500)]
    payload = parquet(id=list(range(500)), note=pa.array(notes).dictionary_encode())
    assert max(len(batch.rows) for batch in reading.read(io.BytesIO(payload), NEEDED, SMALL, unexpected)) < 100
    assert [note for _, note in rows_of(payload)[0].values()] == notes


@pytest.mark.parametrize("version", ["1.0", "2.0"])
@pytest.mark.parametrize("compression", ["none", "snappy", "zstd"])
@pytest.mark.parametrize("coded", [True, False])
def test_the_walk_over_the_pages_finds_every_value(version: str, compression: str, coded: bool) -> None:
    sink = io.BytesIO()
    table = pa.table({"note": [f"note {n % 900}" for n in range(30_000)]})
    how = {"data_page_size": 1000, "use_dictionary": coded, "write_page_checksum": True}
    pq.write_table(table, sink, compression=compression, data_page_version=version, **how)
    chunk = pq.ParquetFile(sink).metadata.row_group(0).column(0)
    start = chunk.dictionary_page_offset or chunk.data_page_offset
    found = list(pages.pages(sink, start, start + chunk.total_compressed_size, chunk.num_values))
    assert sum(page.values for page in found) == 30_000
    assert len(found) > 5
    assert sum(page.unpacked for page in found) <= chunk.total_uncompressed_size


def test_a_page_over_the_cap_is_refused_before_it_is_unpacked(monkeypatch: pytest.MonkeyPatch) -> None:
    payload = parquet(id=list(range(10_000)), note=["x" * 50] * 10_000)
    monkeypatch.setattr(parquets, "PAGE", 10_000)
    error = refused(payload)
    assert (error.code, "smaller row groups" in error.reason) == ("too-large", True)


def test_large_pages_are_read_in_few_rows_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parquets, "WINDOW", 100_000)
    payload = parquet(id=list(range(20_000)), note=[f"{n:064}" for n in range(20_000)])
    sizes = [len(batch.rows) for batch in reading.read(io.BytesIO(payload), NEEDED, SMALL, unexpected)]
    assert (sum(sizes), max(sizes)) == (20_000, parquets.FEWEST)


def test_a_parquet_footer_over_the_cap_is_not_parsed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parquets, "FOOTER", 300)
    assert refused(parquet(id=[1], note=["x"])).code == "too-many-columns"


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


def test_a_reason_quotes_nothing_that_cannot_be_printed() -> None:
    error = refused(b"\x1b[31mid\x07,\xe2\x80\xae" + b"x" * 100_000 + b"\n1,2\n")
    assert error.code == "missing-columns"
    assert error.reason.isprintable()
    assert len(error.reason) < 300


def test_ten_thousand_different_faults_of_json_are_one_reason() -> None:
    lines = [b'{"id": 0, "note": "x"}', *(b'{"id": %s oops' % (b"1" * (n % 500)) for n in range(10_000)), b""]
    assert len(set(rows_of(b"\n".join(lines))[1].values())) < 5
