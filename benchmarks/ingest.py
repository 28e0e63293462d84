# SPDX-License-Identifier: Apache-2.0
"""Reading a file: rows a second, and the peak memory of the ingest step alone on files made to exhaust it.

    python -m benchmarks.ingest              full size (a while; up to 2 GB of temporary files at a time)
    python -m benchmarks.ingest 0.1 [CASE]   a tenth of them, or one case

Each file is made in a stream from the real flights, read in a child process that imports nothing but the ingest step,
and removed. Exit status 1 when a verdict or a peak is not what it should be.
"""

from __future__ import annotations

import csv
import functools
import gzip
import io
import itertools
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

PEAK = 600 * 1024**2
"""Bytes that the process may hold at most."""
CHUNK = 8 * 1024**2


class Case(NamedTuple):
    """A file that tries to exhaust memory.

    Attributes:
        name: what it is.
        make: writes it, scaled by a factor.
        code: the refusal, or "" for accepted.
    """

    name: str
    make: Callable[[Path, float], None]
    code: str


class Measured(NamedTuple):
    """One case, read.

    Attributes:
        name: of the case.
        code: of the refusal, or "" for accepted.
        expected: what it should be.
        size: of the file, in bytes.
        rows: accepted and rejected.
        seconds: of the ingest step.
        peak: largest resident set of the process, in bytes.
    """

    name: str
    code: str
    expected: str
    size: int
    rows: int
    seconds: float
    peak: int

    @property
    def right(self) -> bool:
        """Whether verdict and memory are as they should be."""
        return self.code == self.expected and self.peak < PEAK


@functools.cache
def year() -> tuple[list[str], list[list[str]]]:
    """Header and rows of the flights of 2013."""
    from localcloud import flights

    with tempfile.TemporaryDirectory() as folder:
        rows: list[list[str]] = []
        for month in flights.months(Path(folder)):
            with month.open(newline="") as stream:
                header, *more = csv.reader(stream)
                rows += more
    return header, rows


def blocks() -> Iterator[bytes]:
    """CSV text of the flights without a header, year after year with new dates and numbers, for ever."""
    header, rows = year()
    place = {name: header.index(name) for name in ("year", "flight", "time_hour")}
    for passed in itertools.count():
        for start in range(0, len(rows), 20_000):
            sink = io.StringIO(newline="")
            sheet = csv.writer(sink)
            for row in rows[start : start + 20_000]:
                again = list(row)
                again[place["year"]] = str(2013 + passed)
                again[place["flight"]] = str(int(row[place["flight"]]) + passed)
                again[place["time_hour"]] = str(2013 + passed) + row[place["time_hour"]][4:]
                sheet.writerow(again)
            yield sink.getvalue().encode()


def header() -> bytes:
    """The flights' first line."""
    return ",".join(year()[0]).encode() + b"\n"


def fill(file: Path, size: float, *parts: bytes, opened: Callable[..., Any] = open) -> None:
    """The first part, and the last one over and over to the size."""
    with opened(file, "wb") as sink:
        for part in parts[:-1]:
            sink.write(part)
        large = parts[-1] * max(1, CHUNK // len(parts[-1]))
        for _ in range(max(1, int(size // len(large)))):
            sink.write(large)


def packed(file: Path, mode: str) -> Any:
    """A gzip stream at its highest ratio."""
    return gzip.open(file, mode, compresslevel=9)


def honest(file: Path, factor: float) -> None:
    """A gigabyte of flights."""
    with file.open("wb") as sink:
        sink.write(header())
        for block in blocks():
            sink.write(block)
            if sink.tell() > factor * 1e9:
                return


def honest_gzip(file: Path, factor: float) -> None:
    """A gigabyte of flights, packed."""
    with gzip.open(file, "wb", compresslevel=1) as sink:
        sink.write(header())
        written = 0
        for block in blocks():
            written += sink.write(block)
            if written > factor * 1e9:
                return


def flights_table(text: bytes) -> Any:
    """Flights as an Arrow table."""
    import pyarrow.csv as pacsv

    return pacsv.read_csv(
        io.BytesIO(header() + text),
        convert_options=pacsv.ConvertOptions(null_values=["NA", ""], strings_can_be_null=True),
    )


def honest_parquet(file: Path, factor: float) -> None:
    """The flights as one row group, twenty years of them."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    wanted = max(1, int(factor * 20 * 17))
    table = pa.concat_tables([flights_table(block) for block in itertools.islice(blocks(), wanted)])
    pq.write_table(table, file, row_group_size=2**30)


LINE = b"2013,1,1,517,515,2,830,819,11,UA,1545,N14228,EWR,IAH,227,1400,5,15,2013-01-01 05:00:00\n"


def bomb_of_rows(file: Path, factor: float) -> None:
    """2 GB of one honest row, packed."""
    fill(file, factor * 2 * 1024**3, header(), LINE, opened=packed)


def bomb_of_zeros(file: Path, factor: float) -> None:
    """2 GB of zeros, packed."""
    fill(file, factor * 2 * 1024**3, b"\0", opened=packed)


def bomb_of_one_cell(file: Path, factor: float) -> None:
    """2 GB in one cell, packed."""
    fill(file, factor * 2 * 1024**3, header(), b"x", opened=packed)


def large_field(file: Path, factor: float) -> None:
    """A cell of 50 MB among good rows."""
    fill(file, factor * 50e6, header(), LINE * 1000 + b'2013,1,1,"', b"x")


def unclosed_quote(file: Path, factor: float) -> None:
    """A quote that nobody closes, and a gigabyte of rows behind it."""
    fill(file, factor * 1e9, header(), b'2013,1,1,"517', LINE)


def columns_csv(file: Path, factor: float) -> None:
    """A million columns."""
    names = [f"c{n}" for n in range(int(factor * 1e6))]
    file.write_text(",".join([*year()[0], *names]) + "\n" + ",".join(["1"] * len(names)) + "\n")


def columns_parquet(file: Path, factor: float) -> None:
    """A million columns."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    table = flights_table(LINE)
    one = pa.array([1], pa.int8())
    names = [f"c{n}" for n in range(int(factor * 1e6))]
    table = pa.table([*table.columns, *([one] * len(names))], names=[*table.column_names, *names])
    pq.write_table(table, file)


def dictionary_bomb(file: Path, factor: float) -> None:
    """A few KB that decode to gigabytes of text: one long name, said very often."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    rows = int(factor * 20_000) + 1
    table = flights_table(LINE * rows)
    name = pa.DictionaryArray.from_arrays(pa.array([0] * rows, pa.int32()), ["x" * 200_000])
    table = table.set_column(table.column_names.index("carrier"), "carrier", name)
    pq.write_table(table, file, compression="zstd")


def large_page(file: Path, factor: float) -> None:
    """One row group whose texts stand in one enormous page."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    rows = int(factor * 4_000_000) + 1
    table = flights_table(LINE * 1000)
    table = pa.concat_tables([table] * (rows // 1000 + 1))
    names = pa.array((f"{n:0120d}" for n in range(table.num_rows)), pa.string())
    table = table.set_column(table.column_names.index("carrier"), "carrier", names)
    pq.write_table(
        table, file, row_group_size=2**30, data_page_size=2**30, max_rows_per_page=2**30, use_dictionary=False
    )


def bad_rows(file: Path, factor: float) -> None:
    """Ten million rows of a distance that is no number."""
    line = LINE.replace(b",1400,", b",far,")
    fill(file, factor * 1e7 * len(line), header(), line)


def short_rows(file: Path, factor: float) -> None:
    """Ten million rows of one letter."""
    fill(file, factor * 2e7, header(), b"x\n")


def json_line(file: Path, factor: float) -> None:
    """A JSON object of 1 GB behind good ones."""
    row = dict(zip(year()[0], LINE.decode().strip().split(","), strict=True))
    fill(file, factor * 1e9, json.dumps(row).encode() + b"\n", b'{"carrier": "', b"x")


def json_broken(file: Path, factor: float) -> None:
    """Ten million lines that are no objects, behind a good one."""
    row = dict(zip(year()[0], LINE.decode().strip().split(","), strict=True))
    fill(file, factor * 2e7, json.dumps(row).encode() + b"\n", b"x\n")


CASES = (
    Case("1 GB of flights, CSV", honest, ""),
    Case("1 GB of flights, gzip", honest_gzip, ""),
    Case("6.7 million flights, Parquet, one row group", honest_parquet, ""),
    Case("gzip bomb, 2 GB of rows", bomb_of_rows, "bomb"),
    Case("gzip bomb, 2 GB of zeros", bomb_of_zeros, "unknown"),
    Case("gzip bomb, 2 GB in one cell", bomb_of_one_cell, "field-too-large"),
    Case("a cell of 50 MB", large_field, "field-too-large"),
    Case("an unclosed quote before 1 GB", unclosed_quote, "field-too-large"),
    Case("a million columns, CSV", columns_csv, "too-many-columns"),
    Case("a million columns, Parquet", columns_parquet, "too-many-columns"),
    Case("Parquet dictionary bomb, 4 GB", dictionary_bomb, "bomb"),
    Case("Parquet, one page of 500 MB", large_page, "too-large"),
    Case("ten million bad rows", bad_rows, "too-many-bad-rows"),
    Case("ten million rows of one cell", short_rows, "too-many-bad-rows"),
    Case("a JSON line of 1 GB", json_line, "field-too-large"),
    Case("ten million lines that are no JSON", json_broken, "too-many-bad-rows"),
)


def high_water() -> int:
    """Peak resident bytes of this program; on Linux not what its parent held before it, as getrusage would say."""
    status = Path("/proc/self/status")
    if status.exists():
        return (
            int(next(line for line in status.read_text().splitlines() if line.startswith("VmHWM")).split()[1]) * 1024
        )
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


def child(file: str) -> None:
    """The ingest step alone, its measurements as one line of JSON."""
    from dropfit.errors import BadFile
    from dropfit.ingest import Caps, ingest
    from dropfit.problem import problem

    started, code, rows = time.perf_counter(), "", 0
    with (
        open(file, "rb") as stream,
        tempfile.TemporaryFile() as good,
        tempfile.TemporaryFile("w+", newline="", encoding="utf-8") as bad,
    ):
        try:
            found = ingest(problem, stream, good, bad, Caps())
            rows = found.rows + found.rejected
        except BadFile as refused:
            code = refused.code
    seconds = time.perf_counter() - started
    peak = high_water()
    print(json.dumps({"code": code, "rows": rows, "seconds": seconds, "peak": peak}), flush=True)
    os._exit(0)  # pyarrow's read-ahead thread may still be on its way out, and an interpreter that ends trips over it


def measure(case: Case, factor: float = 1.0) -> Measured:
    """Make a case's file, read it in a process of its own, remove it."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, "file")
        # In a process of its own too, so that this one stays small.
        make = "import sys; from pathlib import Path; from benchmarks import ingest as b\n"
        make += "getattr(b, sys.argv[1])(Path(sys.argv[2]), float(sys.argv[3]))"
        subprocess.run([sys.executable, "-c", make, case.make.__name__, str(file), str(factor)], check=True)
        read = [sys.executable, "-m", "benchmarks.ingest", "child", str(file)]
        done = subprocess.run(read, check=True, capture_output=True, text=True)
        return Measured(name=case.name, expected=case.code, size=file.stat().st_size, **json.loads(done.stdout))


def main(factor: float, only: str) -> int:
    """Print every case; returns the exit status."""
    right = True
    for case in CASES:
        if only not in case.make.__name__:
            continue
        found = measure(case, factor)
        right &= found.right
        speed = f"{found.rows / found.seconds:,.0f} rows/s" if found.rows else ""
        print(
            f"{found.name:45} {found.size / 1e6:8.1f} MB  {found.code or 'accepted':18} "
            f"{found.seconds:6.1f} s  peak {found.peak / 1024**2:4.0f} MB  {speed}{'' if found.right else '  WRONG'}",
            flush=True,
        )
    return 0 if right else 1


if __name__ == "__main__":
    if sys.argv[1:2] == ["child"]:
        child(sys.argv[2])
    else:
        sys.exit(main(float(sys.argv[1]) if len(sys.argv) > 1 else 1.0, sys.argv[2] if len(sys.argv) > 2 else ""))
