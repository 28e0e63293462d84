# SPDX-License-Identifier: Apache-2.0
"""Chapters of the corpus: strangers, JSON lines, Parquet, and bombs of every form."""

from __future__ import annotations

import gzip
import io
import json
import zipfile

import pyarrow as pa
from deck import GOOD, NEEDED, ROWS, UNPACKED, Deck, Named, lines, parquet, refused, some, table, text, with_column


def strangers(deck: Deck) -> Named:
    """What is no table at all, whatever its name."""
    sink = io.BytesIO()
    with zipfile.ZipFile(sink, "w") as archive:
        archive.writestr("xl/workbook.xml", "<workbook/>")
    yield "workbook.xlsx", sink.getvalue(), refused("unknown")
    yield "archive-named.csv", sink.getvalue(), refused("unknown")
    yield "picture.csv", b"\x89PNG\r\n\x1a\n\x00\x00\x00\rIHDR" + deck.random.randbytes(500), refused("unknown")
    yield "paper.csv", b"%PDF-1.7\n%\xe2\xe3\xcf\xd3\n", refused("unknown")
    yield "noise.csv", bytes(4) + deck.random.randbytes(5000), refused("unknown")
    yield "pickled.csv", b"\x80\x04\x95\x0f\x00\x00\x00\x00\x00\x00\x00\x8c\x05posix.", refused("unknown")
    page = b"<!DOCTYPE html><html><body>502 Bad Gateway</body></html>\n"
    yield "error-page.csv", page, refused("missing-columns")
    yield "packed-twice.csv.gz", gzip.compress(gzip.compress(text(deck.deal()).encode())), refused("unknown")
    yield "packed-parquet.gz", gzip.compress(parquet(table(deck.deal()))), refused("unknown")
    yield "feather.parquet", b"ARROW1\x00\x00" + bytes(100), refused("unknown")


def json_files(deck: Deck) -> Named:
    """JSON in all its forms."""
    yield "flights.jsonl", lines(deck.deal()), GOOD
    yield "flights.jsonl.gz", gzip.compress(lines(deck.deal())), GOOD
    yield "mark-and-crlf.jsonl", b"\xef\xbb\xbf" + lines(deck.deal(), "\r\n\r\n"), GOOD
    numbers = [
        {n: v if n in ("carrier", "origin", "dest") else int(v) for n, v in row.items() if n in NEEDED}
        for row in deck.deal()
    ]
    yield "numbers.jsonl", lines(numbers), GOOD
    yield "array.json", json.dumps(deck.deal()).encode(), refused("json-array")
    yield "other-keys.jsonl", lines([{"a": 1}] * ROWS), refused("missing-columns")
    mixed = lines(deck.deal(ROWS - 4)) + b'[1]\n"text"\n{"carrier": \n{"carrier": [{"x": 1}], "year": {}}\n'
    yield "mixed.jsonl", mixed, some(4)
    odd = [row | {"distance": value} for row, value in zip(deck.deal(), (None, True, [1], "x", -1), strict=False)]
    yield "odd-values.jsonl", lines(odd + deck.deal(ROWS - 5)), some(5)
    yield (
        "a-long-line.jsonl",
        lines(deck.deal()) + b'{"carrier": "' + b"x" * 5_000_000 + b'"}\n',
        refused("field-too-large"),
    )
    deep = lines(deck.deal(ROWS - 1)) + b'{"carrier": ' + b"[" * 50_000 + b"]" * 50_000 + b"}\n"
    yield "deep.jsonl", deep, some(1)


def parquet_files(deck: Deck) -> Named:
    """Parquet of every kind."""
    fresh = lambda: table(deck.deal())  # noqa: E731
    yield "flights.parquet", parquet(fresh()), GOOD
    yield "parquet-named.csv", parquet(fresh()), GOOD
    yield "zstd.parquet", parquet(fresh(), compression="zstd", row_group_size=7, version="2.6"), GOOD
    yield "pages-v2.parquet", parquet(fresh(), data_page_version="2.0", use_dictionary=False), GOOD
    coded = fresh()
    for name in ("carrier", "origin", "dest"):
        coded = with_column(coded, name, coded.column(name).dictionary_encode())
    yield "dictionaries.parquet", parquet(coded), GOOD
    yield "texts.parquet", parquet(fresh().cast(pa.schema([(n, pa.large_string()) for n in NEEDED]))), GOOD
    kinds = {"carrier": pa.binary(), "distance": pa.decimal128(21, 2), "day": pa.int8(), "arr_delay": pa.float32()}
    coded = fresh()
    for name, kind in kinds.items():
        coded = with_column(coded, name, coded.column(name).cast(kind))
    yield "other-types.parquet", parquet(coded), GOOD
    nested = pa.array([{"carrier": "XX", "more": [1]}] * ROWS)
    yield "nested-beside.parquet", parquet(fresh().add_column(0, "operated_by", nested)), GOOD
    yield "nested.parquet", parquet(with_column(fresh(), "carrier", nested)), refused("wrong-type")
    moments = pa.array([0] * ROWS, pa.timestamp("us"))
    yield "dates-for-numbers.parquet", parquet(with_column(fresh(), "distance", moments)), refused("wrong-type")
    holes = pa.array([None] * 3 + [200] * (ROWS - 3), pa.int64())
    yield "holes.parquet", parquet(with_column(fresh(), "distance", holes)), some(3)
    yield (
        "not-finite.parquet",
        parquet(with_column(fresh(), "distance", pa.array([float("inf"), float("nan")] + [9.0] * (ROWS - 2)))),
        some(2),
    )
    yield "a-column-missing.parquet", parquet(fresh().drop_columns(["dest"])), refused("missing-columns")
    yield "no-rows.parquet", parquet(fresh().slice(0, 0)), refused("no-rows")
    wide = fresh().slice(0, 1)
    wide = pa.table([*wide.columns, *[pa.array([1])] * 10_000], names=[*NEEDED, *map(str, range(10_000))])
    yield "ten-thousand-columns-more.parquet", parquet(wide), refused("too-many-columns")


def bombs(deck: Deck) -> Named:
    """Files that unpack to far more than they are."""
    start = text(deck.deal()).encode()
    yield "bomb.csv.gz", gzip.compress(start + b"\n" * (UNPACKED + 1)), refused("too-large")
    yield "bomb-of-zeros.csv.gz", gzip.compress(bytes(UNPACKED)), refused("unknown")
    yield "a-cell-of-50-mb.csv", start + b'2013,"' + b"x" * 50_000_000 + b'"\n', refused("field-too-large")
    yield "a-cell-of-1-mb.csv", start.replace(b",UA,", b"," + b"U" * 500_000 + b",", 1), refused("field-too-large")
    many = table(deck.deal()).take(pa.array([0] * 1000))
    coded = pa.DictionaryArray.from_arrays(pa.array([0] * 1000, pa.int32()), ["x" * 200_000])
    yield (
        "dictionary-bomb.parquet",
        parquet(with_column(many, "carrier", coded), compression="zstd"),
        refused("too-large"),
    )
    long = pa.array(["x" * 100_000] * 1000)
    packed = parquet(with_column(many, "carrier", long), compression="zstd", use_dictionary=False)
    yield "bomb.parquet", packed, refused("too-large")
