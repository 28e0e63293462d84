# SPDX-License-Identifier: Apache-2.0
"""Where the repository's files are, and how a module is parsed: shared by the tests of its shape."""

from __future__ import annotations

import ast
from pathlib import Path

ROOT = Path(__file__).parents[2]


def where(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text(), str(path))
