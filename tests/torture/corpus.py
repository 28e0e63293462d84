# SPDX-License-Identifier: Apache-2.0
"""Bad and odd files, made from the real flights, each with the verdict that it must get.

    python -m tests.torture.corpus FOLDER [SEED]      writes them there, to be looked at

Every file holds flights of its own, so that none repeats another's rows.
"""

from __future__ import annotations

import csv
import functools
import gzip
import io
import json
import random
import sys
import tempfile
import zipfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq

from dropfit.batches import Caps
from dropfit.errors import BadFile
from dropfit.ingest import ingest
from dropfit.problem import problem
from localcloud import flights

ROWS = 60
UNPACKED = 64 * 1024**2
"""What files may unpack to here: small, so that the bombs may be."""
NEEDED = [column.name for column in problem.columns]
Row = dict[str, str]


class Verdict(NamedTuple):
    """What became of a file, or must become of it.

    Attributes:
        code: why it was refused, "" if it was not.
        accepted: rows.
        rejected: rows.
    """

    code: str = ""
    accepted: int = 0
    rejected: int = 0


class Case(NamedTuple):
    """A file.

    Attributes:
        name: of the object.
        payload: its bytes.
        verdict: what must become of it.
    """

    name: str
    payload: bytes
    verdict: Verdict


@functools.cache
def year() -> tuple[Row, ...]:
    """The flights of February to May that arrived; January is left for a model."""
    found: list[Row] = []
    with tempfile.TemporaryDirectory() as folder:
        for month in flights.months(Path(folder), range(2, 6)):
            with month.open(newline="") as stream:
                found += (row for row in csv.DictReader(stream) if row["arr_delay"] not in ("", "NA"))
    return tuple(found)


class Deck:
    """Flights in a seeded order, dealt once."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)  # noqa: S311
        self._rows = iter(self.random.sample(year(), 30_000))

    def deal(self, rows: int = ROWS) -> list[Row]:
        """The next so many."""
        return [dict(next(self._rows)) for _ in range(rows)]

    def changed(self, *cells: Row) -> list[Row]:
        """The next flights, the first ones with these cells."""
        rows = self.deal()
        for row, more in zip(rows, cells, strict=False):
            row.update(more)
        return rows


def text(rows: Sequence[Row], header: Sequence[str] | None = None, **how: Any) -> str:
    """Rows as CSV."""
    sink = io.StringIO(newline="")
    how = {"lineterminator": "\n", **how}
    sheet = csv.DictWriter(sink, header or list(rows[0]), extrasaction="ignore", **how)
    sheet.writeheader()
    sheet.writerows(rows)
    return sink.getvalue()


def lines(rows: Sequence[dict[str, Any]], end: str = "\n") -> bytes:
    """Rows as JSON lines."""
    return "".join(json.dumps(row) + end for row in rows).encode()


def table(rows: Sequence[Row]) -> Any:
    """Rows as an Arrow table: texts for the names, whole numbers for the others."""
    names = ("carrier", "origin", "dest")
    columns = {n: [row[n] if n in names else int(row[n]) for row in rows] for n in NEEDED}
    return pa.table({n: pa.array(v, pa.string() if n in names else pa.int64()) for n, v in columns.items()})


def parquet(columns: Any, **how: Any) -> bytes:
    """A table as Parquet."""
    sink = io.BytesIO()
    pq.write_table(columns, sink, **how)
    return sink.getvalue()


def with_column(columns: Any, name: str, values: Any) -> Any:
    """The table with one column replaced."""
    return columns.set_column(columns.column_names.index(name), name, values)


GOOD = Verdict(accepted=ROWS)


def refused(code: str) -> Verdict:
    """The verdict of a file that is refused whole."""
    return Verdict(code=code)


def some(rejected: int) -> Verdict:
    """The verdict of a file of which so many rows are set aside."""
    return Verdict(accepted=ROWS - rejected, rejected=rejected)


Named = Iterator[tuple[str, bytes, Verdict]]


def dialects(deck: Deck) -> Named:
    """Ways of writing a CSV file that are all good."""
    fresh = lambda **how: text(deck.deal(), **how).encode()  # noqa: E731
    yield "plain.csv", fresh(), GOOD
    yield "no-extension", fresh(), GOOD
    yield "plain-named.csv.gz", fresh(), GOOD
    yield "packed.csv.gz", gzip.compress(fresh()), GOOD
    yield "packed-named.csv", gzip.compress(fresh()), GOOD
    whole = fresh()
    yield "two-gzip-members.csv.gz", gzip.compress(whole[:1000]) + gzip.compress(whole[1000:]), GOOD
    yield "byte-order-mark.csv", b"\xef\xbb\xbf" + fresh(), GOOD
    yield "crlf.csv", fresh(lineterminator="\r\n"), GOOD
    yield "cr-only.csv", fresh(lineterminator="\r"), GOOD
    yield "semicolons.csv", fresh(delimiter=";"), GOOD
    yield "tabs.tsv", fresh(delimiter="\t"), GOOD
    yield "all-quoted.csv", fresh(quoting=csv.QUOTE_ALL), GOOD
    yield "no-last-newline.csv", fresh().rstrip(b"\n"), GOOD
    yield "trailing-blank-lines.csv", fresh() + b"\n\n\r\n\n", GOOD
    yield "leading-blank-lines.csv", b"\n\r\n" + fresh(), GOOD
    yield "blank-lines-between.csv", fresh().replace(b"\n", b"\n\n"), GOOD
    yield "spaces-around.csv", text(deck.changed(*({"distance": " 200 "} for _ in range(ROWS)))).encode(), GOOD
    yield "quoted-newlines.csv", text(deck.changed({"tailnum": "N1\nN2"}, {"tailnum": 'a "b"\r\nc'})).encode(), GOOD
    yield "inch-marks.csv", fresh().replace(b",N", b',5"N', 2), GOOD


def columns(deck: Deck) -> Named:
    """Columns in another order, more, fewer, twice."""
    names = list(year()[0])
    yield "reordered.csv", text(deck.deal(), names[::-1]).encode(), GOOD
    yield "needed-only.csv", text(deck.deal(), NEEDED).encode(), GOOD
    extra = [row | {"gate": "B4", "pilot's note": "=1+1", "\x1b[31mred": "x"} for row in deck.deal()]
    yield "extra-columns.csv", text(extra).encode(), GOOD
    wide = [row | dict.fromkeys((f"c{n}" for n in range(5_000)), "1") for row in deck.deal()]
    yield "five-thousand-columns.csv", text(wide).encode(), GOOD
    yield (
        "a-column-missing.csv",
        text(deck.deal(), [n for n in names if n != "dest"]).encode(),
        refused("missing-columns"),
    )
    yield "other-case.csv", text(deck.deal()).upper().encode(), refused("missing-columns")
    yield "a-column-twice.csv", text(deck.deal(), [*names, "dest"]).encode(), refused("duplicate-columns")
    yield "no-header.csv", text(deck.deal()).split("\n", 1)[1].encode(), refused("missing-columns")
    yield "pipes.csv", text(deck.deal(), delimiter="|").encode(), refused("missing-columns")
    million = ",".join([*names, *(f"c{n}" for n in range(1_000_000))])
    yield "a-million-columns.csv", f"{million}\n1\n".encode(), refused("too-many-columns")
    yield (
        "header-repeated.csv",
        text(deck.deal()).encode() + text(year()[:1]).split("\n")[0].encode() + b"\n",
        Verdict(accepted=ROWS, rejected=1),
    )


def encodings(deck: Deck) -> Named:
    """What is not UTF-8."""
    accented = deck.changed({"tailnum": "Zürich"}, {"dest": "Øst"})
    yield "utf-8-names.csv", text(accented).encode(), GOOD
    for name in ("utf-16", "utf-16-le", "utf-16-be", "utf-32", "latin-1"):
        payload = text(deck.changed({"tailnum": "Zürich"})).encode(name)
        yield f"{name}.csv", payload, refused("not-utf8")
    yield "utf-16-be-mark.csv", b"\xfe\xff" + text(deck.deal()).encode("utf-16-be"), refused("not-utf8")
    late = text([*deck.deal(12_000), *deck.changed({"dest": "Øst"})]).encode("latin-1")
    yield "latin-1-late.csv", late, refused("not-utf8")


def odd_cells(deck: Deck) -> Named:
    """Cells that are not what their column says, and cells that only look dangerous."""
    make = lambda *cells: text(deck.changed(*cells)).encode()  # noqa: E731
    far = [{"distance": cell} for cell in ("NaN", "inf", "-Infinity", "1e999", "9" * 400, "")]
    yield "not-finite.csv", make(*far), some(6)
    odd = ("1,400", "1.400,5", "0x10", "1_000", "١٤٠٠", "1400 miles", "--5", "5e")
    yield "odd-numbers.csv", make(*({"distance": cell} for cell in odd)), some(8)
    moments = ({"year": "1066"}, {"month": "13"}, {"month": "2", "day": "30"}, {"sched_dep_time": "2500"})
    yield "no-such-dates.csv", make(*moments), some(4)
    yield "fractions.csv", make({"flight": "15.5"}, {"flight": "-1"}, {"day": "1.5"}), some(3)
    delays = ("", "NA", " n/a ", "soon")
    yield "no-arrival.csv", make(*({"arr_delay": cell} for cell in delays)), some(4)
    yield "long-names.csv", make({"carrier": "U" * 9}, {"origin": "E" * 200_000}), some(2)
    formulas = ({"carrier": "=1+1"}, {"carrier": "@SUM(A1)"}, {"carrier": "=cmd|'/C calc'!A0"}, {"dest": "+1-1"})
    yield "formulas.csv", make(*formulas), some(1)
    yield "html.csv", make({"carrier": "<b>U</b>"}, {"carrier": "<script>alert(1)</script>"}), some(1)
    rows = deck.deal()
    rows[-1]["carrier"] = "U\x00A"
    yield "zero-byte-late.csv", text(rows).encode(), some(1)
    short = text(deck.deal()).splitlines()
    short[3], short[5] = "2013,1,1", short[5] + ",one,more"
    yield "widths.csv", "\n".join(short).encode() + b"\n", some(2)
    bad = deck.changed(*({"distance": "far"} for _ in range(31)))
    yield "mostly-bad.csv", text(bad).encode(), refused("too-many-bad-rows")
    yield "half-bad.csv", text(deck.changed(*({"distance": "far"} for _ in range(30)))).encode(), some(30)
    nothing = deck.changed(*({"arr_delay": ""} for _ in range(ROWS)))
    yield "empty-column.csv", text(nothing).encode(), refused("empty-column")
    early = [row | {"arr_delay": "-3"} for row in deck.deal(1000)]
    yield "constant-target.csv", text(early).encode(), refused("constant-target")
    yield "three-on-time.csv", text(early[:3]).encode(), Verdict(accepted=3)
    yield "corrected-sheet.csv", corrected(deck.changed({"carrier": "=cmd|'/C calc'!A0"}, {"distance": "far"})), GOOD


def corrected(rows: Sequence[Row]) -> bytes:
    """What a person sends back: rows.csv of a file of bad rows alone, corrected."""
    bad = [row | {"carrier": f"={row['carrier']} too long", "month": "0"} for row in rows]
    good = [dict(row) for row in year()[:1]]
    sink = io.StringIO(newline="")
    caps = Caps(max_bad_share=1)
    ingest(problem, io.BytesIO(text([*good, *bad], NEEDED).encode()), io.BytesIO(), sink, caps)
    sheet = list(csv.DictReader(io.StringIO(sink.getvalue().removeprefix("\ufeff"), newline="")))
    for cells, row in zip(sheet, rows, strict=True):
        assert cells["carrier"].startswith("'=")
        cells.update(month=row["month"], distance="200", carrier="'=1+1")
    return text(sheet).encode("utf-8-sig")


def torn(deck: Deck) -> Named:
    """Files without an end, or without anything."""
    yield "empty.csv", b"", refused("empty")
    yield "packed-emptiness.csv.gz", gzip.compress(b""), refused("empty")
    yield "header-only.csv", text(deck.deal()).split("\n")[0].encode() + b"\n", refused("no-rows")
    yield "mark-only.csv", b"\xef\xbb\xbf", refused("missing-columns")
    yield "blank.csv", b"\n \n\n", refused("missing-columns")
    whole = text(deck.deal(), NEEDED).encode()
    yield "cut-in-a-row.csv", whole[:-25], refused("truncated")
    yield "cut-in-quotes.csv", text(deck.deal(), quoting=csv.QUOTE_ALL).encode()[:-4], refused("truncated")
    quoted = text(deck.deal()).replace(",N", ',"N', 1).encode()
    yield "unclosed-quote.csv", quoted, refused("truncated")
    packed = gzip.compress(text(deck.deal()).encode())
    yield "torn.csv.gz", packed[:-200], refused("broken-gzip")
    yield "gzip-of-wrong-sum.csv.gz", packed[:-8] + bytes(4) + packed[-4:], refused("broken-gzip")
    yield "gzip-with-a-tail.csv.gz", packed + b"tail", refused("broken-gzip")
    yield "torn.jsonl", lines(deck.deal())[:-20], refused("truncated")
    whole = parquet(table(deck.deal()))
    yield "torn.parquet", whole[:-100], refused("unreadable")
    yield "first-half.parquet", whole[: len(whole) // 2], refused("unreadable")
    yield "damaged-page.parquet", whole[:4] + b"\xff" * 8 + whole[12:], refused("unreadable")
    yield "damaged-footer.parquet", whole[:-60] + b"\xff" * 50 + whole[-10:], refused("unreadable")


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


ODD_NAMES = (
    "naïve ✈ 飛行.csv", "..%2F..%2Fetc%2Fpasswd.csv", "%2e%2e.csv", "spaces and 'quotes' \".csv", "=cmd().csv",
    "<script>alert(1)<.csv", "folder/in/a/folder.csv", "$(reboot);.csv", "n" * 200 + ".csv", "percent%00.csv",
    "a\u202egnp.csv",
)  # fmt: skip
"""Names that some program would take for more than a name."""


def names(deck: Deck) -> Named:
    """Good flights under odd names."""
    for name in ODD_NAMES:
        yield name, text(deck.deal()).encode(), GOOD


CHAPTERS = (dialects, columns, encodings, odd_cells, torn, strangers, json_files, parquet_files, bombs, names)


def corpus(seed: int) -> list[Case]:
    """All the files.

    Args:
        seed: decides which flights they hold.
    """
    deck = Deck(seed)
    return [Case(*each) for chapter in CHAPTERS for each in chapter(deck)]


def judged(payload: bytes) -> tuple[Verdict, str]:
    """The ingest step's verdict, without a cloud, and its reason."""
    caps = Caps(max_unpacked_bytes=UNPACKED)
    try:
        found = ingest(problem, io.BytesIO(payload), io.BytesIO(), io.StringIO(newline=""), caps)
    except BadFile as bad:
        return Verdict(code=bad.code), bad.reason
    return Verdict(accepted=found.rows, rejected=found.rejected), ""


class Figure(NamedTuple):
    """How many files got the verdict that they must get.

    Attributes:
        seed: of the flights in them.
        files: how many there are.
        right: how many got their verdict.
        served: whether the pointer and the model's hash stayed what they were.
        wrong: the others, each in a line.
    """

    seed: int
    files: int
    right: int
    served: bool
    wrong: tuple[str, ...]

    @property
    def ok(self) -> bool:
        """Whether all is as it must be."""
        return self.right == self.files and self.served

    @property
    def sentence(self) -> str:
        """The figure in words."""
        served = "unchanged" if self.served else "CHANGED"
        return f"{self.right} of {self.files} the expected verdict, served pointer and model hash {served}"


def run(
    seed: int,
    upload: Callable[[str, bytes], Any],
    work: Callable[[], None],
    outcome: Callable[[Any], Any],
    served: Callable[[], object],
) -> Figure:
    """Upload the corpus to a deployment that records uploads, and compare.

    Args:
        seed: of the flights in it.
        upload: an object's name and bytes -> its receipt.
        work: lets the job run until nothing waits.
        outcome: a receipt -> the receipt as it is now.
        served: what is served, with its hashes.
    """
    before = served()
    cases = corpus(seed)
    uploaded = [upload(case.name, case.payload) for case in cases]
    work()
    wrong = []
    for case, receipt in zip(cases, map(outcome, uploaded), strict=True):
        rows = receipt.accepted
        found = Verdict(accepted=rows.rows, rejected=rows.rejected) if rows else Verdict(code=receipt.code or "?")
        expected = "quarantined" if case.verdict.code else "recorded"
        if (found, receipt.state) != (case.verdict, expected):
            wrong.append(
                f"{case.name}: {receipt.state} {found}, {receipt.reason}; expected {expected} {case.verdict}"
            )
    return Figure(seed, len(cases), len(cases) - len(wrong), served() == before, tuple(wrong))


if __name__ == "__main__":
    if len(sys.argv) not in (2, 3):
        sys.exit(__doc__)
    for number, case in enumerate(corpus(int((sys.argv[2:] or ["1"])[0]))):
        Path(sys.argv[1], f"{number:03}-{case.name.replace('/', '_')[:100]}").write_bytes(case.payload)
