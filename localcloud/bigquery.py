# SPDX-License-Identifier: Apache-2.0
"""The BigQuery emulator's process: `python -m localcloud.bigquery`.

bqemulator wants DuckDB's spatial extension and would download it. The wheel `duckdb-extension-spatial` holds
the same file; here it is installed from there, once per HOME, before the emulator starts. The arguments are
bqemulator's.
"""

from __future__ import annotations

from pathlib import Path

import duckdb
import duckdb_extensions
from bqemulator.cli import main


def install_spatial() -> None:
    """Put the extension where DuckDB looks for it, unless it is there already.

    Raises:
        duckdb.Error: when the wheel was built for another DuckDB than the one installed.
    """
    place = Path.home() / ".duckdb" / "extensions"
    if not list(place.glob(f"v{duckdb.__version__}/*/spatial.duckdb_extension")):
        duckdb_extensions.import_extension("spatial", con=duckdb.connect())


if __name__ == "__main__":
    install_spatial()
    main()
