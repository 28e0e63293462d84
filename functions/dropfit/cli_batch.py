# SPDX-License-Identifier: Apache-2.0
"""`dropfit batch ...`: predictions for whole files and for the static-serving table."""

from __future__ import annotations

import typer

app = typer.Typer(help="Predictions for whole files, and for the static-serving table.", no_args_is_help=True)
