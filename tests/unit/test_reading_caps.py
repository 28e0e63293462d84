# SPDX-License-Identifier: Apache-2.0
"""Files that unpack to far too much, or hold cells, columns or pages over a cap, are refused unread."""

from __future__ import annotations

import gzip
import io

import msgspec
import pyarrow as pa
import pytest
from raw_files import HEADER, NEEDED, SMALL, parquet, refused, rows_of, unexpected

from dropfit import batches, parquets, reading
from dropfit.batches import Caps


def test_a_gzip_bomb_is_refused_at_the_cap_and_its_size_named() -> None:
    bomb = gzip.compress(HEADER + b"1,xxxxxxxxxxxxxxxx\n" * 1_000_000)
    assert len(bomb) < 100_000
    error = refused(bomb, Caps(max_unpacked_bytes=1_000_000))
    assert error.code == "too-large"
    assert "1,000,000" in error.reason


def test_a_parquet_bomb_is_refused_before_it_is_unpacked() -> None:
    bomb = parquet(id=list(range(100_000)), note=["x" * 50] * 100_000)
    assert refused(bomb, Caps(max_unpacked_bytes=100_000)).code == "too-large"


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
