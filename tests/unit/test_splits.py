# SPDX-License-Identifier: Apache-2.0
"""A file read in splits is the file read whole: the same cells, the same row numbers, whatever its text holds."""

from __future__ import annotations

import csv
import gzip
import io
import itertools
import json
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from fakes import tea
from hypothesis import given, settings
from hypothesis import strategies as st

from dropfit import parts, splits
from dropfit.errors import BadFile
from dropfit.splits import Split

CONTRACT = tea().contract
CELLS = st.text(st.sampled_from('ab,;"\n\r é'), max_size=6)


def planned(payload: bytes, target: int = splits.TARGET) -> list[Split]:
    return splits.plan(io.BytesIO(payload), "file", target=target)


def read(payload: bytes, found: list[Split]) -> tuple[list[tuple[int, dict[str, Any]]], list[tuple[int, str]]]:
    """Rows by number, and the broken ones."""
    rows: list[tuple[int, dict[str, Any]]] = []
    broken: list[tuple[int, str]] = []
    for split in found:
        for raw in splits.read(io.BytesIO(payload), split, CONTRACT):
            assert len(raw.rows) == raw.table.num_rows <= parts.ROWS
            rows += zip(raw.rows.tolist(), raw.table.to_pylist(), strict=True)
            broken += [(row.row, row.reason) for row in raw.broken]
    return rows, broken


def same_in_splits(payload: bytes, target: int) -> list[tuple[int, dict[str, Any]]]:
    """Read whole and in splits, which must be alike; returns the rows."""
    whole, small = planned(payload), planned(payload, target)
    assert [split.number for split in small] == list(range(len(small)))
    assert small[0].start == whole[0].start
    assert small[-1].end == whole[-1].end
    assert all(one.end == two.start for one, two in itertools.pairwise(small))
    assert read(payload, small) == read(payload, whole)
    return read(payload, small)[0]


@settings(deadline=None, max_examples=60)
@given(
    st.lists(st.tuples(CELLS, st.sampled_from(["", "1", "2.5"]), CELLS), max_size=12),
    st.sampled_from(["\n", "\r\n", "\r"]),
    st.sampled_from([b"", b"\xef\xbb\xbf"]),
    st.booleans(),
    st.lists(st.integers(0, 13), max_size=4),
    st.integers(1, 60),
)
def test_a_csv_file_in_splits_is_the_file(
    cells: Any, end: str, mark: bytes, ended: bool, empty: list[int], target: int
) -> None:
    lines = []
    for row in [("leaf", "minutes", "note"), *cells]:
        sink = io.StringIO()
        csv.writer(sink).writerow(row)
        lines.append(sink.getvalue().removesuffix("\r\n"))
    for place in empty:
        lines.insert(min(place, len(lines)), "")
    text = end.join(lines) + (end if ended else "")
    found = same_in_splits(mark + text.encode(), target)
    assert [(n, row["leaf"], row["minutes"], row["note"]) for n, row in found] == [
        (n, leaf, float(minutes) if minutes else None, note) for n, (leaf, minutes, note) in enumerate(cells, start=1)
    ]


@settings(deadline=None, max_examples=40)
@given(
    st.lists(
        st.one_of(
            st.just(""),
            st.just("no object"),
            st.fixed_dictionaries(
                {"leaf": st.none() | st.text(max_size=4), "minutes": st.none() | st.floats(0, 9) | st.just("7")},
                optional={"note": st.text(max_size=4) | st.integers(0, 9) | st.lists(st.booleans(), max_size=2)},
            ).map(json.dumps),
        ),
        max_size=12,
    ),
    st.booleans(),
    st.integers(1, 60),
)
def test_json_lines_in_splits_are_the_file(lines: list[str], ended: bool, target: int) -> None:
    every = ['{"leaf": "assam", "note": "x"}', *lines]
    payload = ("\n".join(every) + ("\n" if ended else "")).encode()
    whole, small = (read(payload, planned(payload, size)) for size in (splits.TARGET, target))
    assert whole[1] == small[1] == [(n, whole[1][0][1]) for n, line in enumerate(every, 1) if line == "no object"]
    told = [[(n, row["leaf"], str(row.get("note"))) for n, row in rows] for rows, _ in (whole, small)]
    assert told[0] == told[1]
    objects = [(n, json.loads(line)) for n, line in enumerate(every, 1) if line.startswith("{")]
    assert [(n, leaf) for n, leaf, _ in told[0]] == [(n, row["leaf"]) for n, row in objects]


@settings(deadline=None, max_examples=25)
@given(st.lists(st.integers(1, 40), min_size=1, max_size=6), st.integers(1, 60))
def test_row_groups_in_splits_are_the_file(groups: list[int], most: int) -> None:
    sink = io.BytesIO()
    total, at = sum(groups), 0
    table = pa.table(
        {
            "leaf": pa.array([f"leaf {n % 7}" if n % 5 else None for n in range(total)]),
            "minutes": pa.array(range(total), pa.int16()),
            "when": pa.array([np.datetime64("2013-01-01", "us") + n for n in range(total)]),
            "tags": pa.array([[str(n)] for n in range(total)]),
        }
    )
    with pq.ParquetWriter(sink, table.schema) as writer:
        for rows in groups:
            writer.write_table(table.slice(at, rows))
            at += rows
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("dropfit.rowgroups.ROWS", most)
        found = planned(sink.getvalue())
        assert [split.rows for split in found] == [split.rows for split in found if split.rows <= max(most, *groups)]
        rows, broken = read(sink.getvalue(), found)
    assert broken == []
    assert [n for n, _ in rows] == list(range(1, total + 1))
    assert [row for _, row in rows] == table.to_pylist()


def test_columns_come_as_they_predict_best_and_all_others_as_they_are() -> None:
    payload = b"leaf,minutes,id\nassam,5,007\nsencha,6,x\n"
    (raw,) = splits.read(io.BytesIO(payload), planned(payload)[0], CONTRACT)
    kinds = dict(zip(raw.table.column_names, map(str, raw.table.schema.types), strict=True))
    assert kinds == {"leaf": str(parts_coded()), "minutes": "double", "id": "string"}
    assert raw.table["id"].to_pylist() == ["007", "x"]


def parts_coded() -> Any:
    return pa.dictionary(pa.int32(), pa.string())


def test_every_column_of_json_lines_comes_through_as_text() -> None:
    payload = b"""{"leaf": "assam", "": 1, "column": "x", "tags": [1, {"a": null}], "share": 1.50}
{"leaf": null, "late": 2}
"""
    (raw,) = splits.read(io.BytesIO(payload), planned(payload)[0], CONTRACT)
    assert raw.table.to_pylist() == [
        {"leaf": "assam", "column_": "1", "column": "x", "tags": '[1,{"a":null}]', "share": "1.5", "late": None},
        {"leaf": None, "column_": None, "column": None, "tags": None, "share": None, "late": "2"},
    ]


def test_a_cell_that_is_no_number_leaves_its_column_as_text() -> None:
    payload = b"leaf,minutes,warmth\nassam,5,60\nsencha,five,70\n"
    (raw,) = splits.read(io.BytesIO(payload), planned(payload)[0], CONTRACT)
    assert raw.table["minutes"].to_pylist() == ["5", "five"]
    assert raw.table["warmth"].to_pylist() == [60.0, 70.0]


def test_a_packed_file_is_one_split_that_is_streamed() -> None:
    payload = gzip.compress(b"\xef\xbb\xbfleaf;minutes\nassam;5\nsencha;6\n")
    (split,) = planned(payload, target=1)
    assert (split.packed, split.delimiter, split.size) == (True, ";", len(payload))
    assert [(n, row["leaf"], row["minutes"]) for n, row in read(payload, [split])[0]] == [
        (1, "assam", 5.0),
        (2, "sencha", 6.0),
    ]


def test_a_file_without_rows_has_one_split_and_names_its_columns() -> None:
    for payload in (b"leaf,minutes\n", b"leaf,minutes", gzip.compress(b"leaf,minutes\n")):
        (split,) = planned(payload)
        (raw,) = splits.read(io.BytesIO(payload), split, CONTRACT)
        assert (raw.table.num_rows, raw.table.column_names) == (0, ["leaf", "minutes"])


def test_parts_hold_so_many_rows_and_come_the_same_every_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("dropfit.csvparts.PIECE", 2000)
    payload = b"leaf,minutes\n" + b"".join(b"leaf %d,%d\n" % (n % 9, n % 60) for n in range(3000))
    (split,) = planned(payload)

    def sizes() -> list[int]:
        pieces = splits._pieces(io.BytesIO(payload), split, CONTRACT, ("",), splits.BATCH)
        return [raw.table.num_rows for raw in parts.regrouped(pieces, 700)]

    assert sizes() == sizes() == [700, 700, 700, 700, 200]


def parquet(rows: int = 1000) -> bytes:
    sink = io.BytesIO()
    pq.write_table(pa.table({"leaf": ["assam"] * rows, "minutes": np.arange(rows)}), sink)
    return sink.getvalue()


CSV = b"leaf,minutes\n" + b"assam,5\n" * 1000


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # pyarrow says so on the way
@pytest.mark.parametrize(
    ("payload", "code"),
    [
        (b"", "empty"),
        (gzip.compress(b"", mtime=0), "empty"),
        (b"PK\x03\x04 and more", "unknown"),
        (b'[{"leaf": "assam"}]', "json-array"),
        (CSV + b'"assam,5', "truncated"),
        (CSV + b"ass", "truncated"),
        (b'{"leaf": "assam"}\n{"leaf": "ass', "truncated"),
        (CSV + b"\xe9t\xe9,5\n", "not-utf8"),
        (CSV + b"\xe9t\xe9,5,6\n", "not-utf8"),
        (parquet().replace(b"minutes", b"\xe9inutes"), "unreadable"),
        (gzip.compress(CSV, mtime=0)[:-20], "broken-gzip"),
        (parquet()[:-20], "unreadable"),
        (b"leaf,leaf\na,b\n", "duplicate-columns"),
        (b'leaf,minutes\n"' + b"a\n" * 2_000_000 + b'",5\n', "field-too-large"),
        ("leaf,minutes\nassam,5\n".encode("utf-16"), "not-utf8"),
    ],
)
def test_a_damaged_file_is_refused_and_says_why(payload: bytes, code: str) -> None:
    with pytest.raises(BadFile) as refusal:
        read(payload, planned(payload))
    assert refusal.value.code == code


def test_a_footer_that_contradicts_itself_refuses_the_file_and_ends_no_process() -> None:
    payload = bytearray(parquet())
    (at,) = (place for place in range(len(payload)) if payload[place:].startswith(b"\x25\x02\x18\x04leaf"))
    payload[at + 1] = 0  # the column is required now, and has a histogram of who is missing
    with pytest.raises(BadFile, match="histogram") as refusal:
        read(bytes(payload), planned(bytes(payload)))
    assert refusal.value.code == "unreadable"


def test_a_file_that_was_cut_since_it_was_planned_is_refused() -> None:
    (split,) = planned(CSV)
    with pytest.raises(BadFile, match="cut off, or changed meanwhile"):
        list(splits.read(io.BytesIO(CSV[:-100]), split, CONTRACT))


def test_a_long_column_of_one_long_text_is_read_in_bounded_pieces() -> None:
    sink = io.BytesIO()
    coded = pa.DictionaryArray.from_arrays(pa.array(np.zeros(5000, np.int32)), pa.array(["x" * 100_000]))
    pq.write_table(pa.table({"leaf": ["assam"] * 5000, "note": coded}), sink, store_schema=False)
    rows = 0
    for raw in splits.read(io.BytesIO(sink.getvalue()), planned(sink.getvalue())[0], CONTRACT):
        assert raw.table.nbytes < 150 * 1024**2
        rows += raw.table.num_rows
    assert rows == 5000


def test_what_was_read_and_let_go_holds_no_memory() -> None:
    rows = 20_000
    table = pa.table({"leaf": ["assam"] * rows, "minutes": np.arange(rows) % 60.0, "id": np.arange(rows)})
    sink = io.BytesIO()
    pq.write_table(table, sink)

    def read() -> int:
        for split in planned(sink.getvalue()):
            for _ in splits.read(io.BytesIO(sink.getvalue()), split, CONTRACT):
                pass
        return int(pa.total_allocated_bytes())

    read()
    before = read()
    assert max(read() for _ in range(5)) <= before, "pyarrow keeps exceptions, and the frames that led there"
