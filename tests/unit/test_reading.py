# SPDX-License-Identifier: Apache-2.0
"""A file of unknown kind becomes rows, each with its number in the file; what is unusable is refused by name."""

from __future__ import annotations

import csv
import gzip
import io

import msgspec
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st
from raw_files import HEADER, NEEDED, SMALL, parquet, refused, rows_of, unexpected

from dropfit import batches, pages, reading

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


def test_latin_1_beyond_the_first_block_is_refused_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(batches, "BLOCK", 256)
    assert refused(HEADER + b"1,fine\n" * 200 + b"1,caf\xe9\n").code in ("not-utf8", "unreadable")


def test_a_hundred_thousand_columns_do_not_fill_the_refusals_sentence() -> None:
    error = refused((",".join(f"c{n}" for n in range(100_000)) + "\n").encode())
    assert len(error.reason) < 2000


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


def test_a_reason_quotes_nothing_that_cannot_be_printed() -> None:
    error = refused(b"\x1b[31mid\x07,\xe2\x80\xae" + b"x" * 100_000 + b"\n1,2\n")
    assert error.code == "missing-columns"
    assert error.reason.isprintable()
    assert len(error.reason) < 300


def test_ten_thousand_different_faults_of_json_are_one_reason() -> None:
    lines = [b'{"id": 0, "note": "x"}', *(b'{"id": %s oops' % (b"1" * (n % 500)) for n in range(10_000)), b""]
    assert len(set(rows_of(b"\n".join(lines))[1].values())) < 5
