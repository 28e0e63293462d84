# SPDX-License-Identifier: Apache-2.0
"""`python -m localcloud serve`: a local cloud in the foreground. `dropfit up` is the command for people."""

from __future__ import annotations

import argparse
import os
import shlex
import sys
from pathlib import Path

from dropfit import settings
from dropfit.errors import LocalCloudError

from .cloud import parse_ports, serve
from .daemon import Report, tell


def main() -> int:
    """Run the command line; the exit status is 1 when the local cloud could not start."""
    parser = argparse.ArgumentParser(prog="python -m localcloud", description=__doc__)
    command = parser.add_subparsers(dest="command", required=True).add_parser("serve", help="start, stay, stop")
    command.add_argument("--home", type=Path, default=settings.home(), help="folder of its state")
    command.add_argument("--port", action="append", default=[], metavar="NAME=NUMBER", help="such as predict=8080")
    command.add_argument("--functions-dir", type=Path, help="where on_upload.py and predict.py are")
    command.add_argument("--report-fd", type=int, help=argparse.SUPPRESS)
    given = parser.parse_args()

    def report(line: str) -> None:
        print(line, flush=True)
        if given.report_fd is not None:
            tell(given.report_fd, Report(progress=line))

    def ready() -> None:
        env = shlex.quote(str(given.home.absolute() / "env"))
        report(f"the local cloud is up; any program can use it after: set -a; . {env}; set +a")
        if given.report_fd is not None:
            tell(given.report_fd, Report(ready=True))
            os.close(given.report_fd)
            given.report_fd = None

    try:
        serve(given.home, parse_ports(",".join(given.port)), report, given.functions_dir, ready)
    except LocalCloudError as error:
        print(error, file=sys.stderr)
        if given.report_fd is not None:
            tell(given.report_fd, Report(error=str(error)))
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
