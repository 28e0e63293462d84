# SPDX-License-Identifier: Apache-2.0
"""Chapters of the corpus: CSV files in their dialects, encodings and names, with odd cells, or torn."""

from __future__ import annotations

import csv
import gzip
import io
from collections.abc import Sequence

from deck import GOOD, NEEDED, ROWS, Deck, Named, Row, Verdict, lines, parquet, refused, some, table, text, year

from dropfit.batches import Caps
from dropfit.ingest import ingest
from dropfit.problem import problem


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
