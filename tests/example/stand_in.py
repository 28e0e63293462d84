# SPDX-License-Identifier: Apache-2.0
"""Which problem the tests mean: the template's example, also when functions/dropfit/problem.py is somebody's own.

Then `dropfit.problem` is imported from tests/problems/flights.py, in pytest's process and in those it starts. Without
an edited problem.py nothing of this happens.
"""

from __future__ import annotations

import ast
import importlib.util
import os
import sys
from collections.abc import Sequence
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import ModuleType

HERE = str(Path(__file__).parent)
TESTS = Path(__file__).parents[1]
FUNCTIONS = TESTS.parent / "functions"
PROBLEM = FUNCTIONS / "dropfit" / "problem.py"
EXAMPLE = TESTS / "problems" / "flights.py"
NAME = "dropfit.problem"
HEADER = (
    "functions/dropfit/problem.py is your own: these tests are about the template, with its example in "
    "tests/problems/flights.py"
)


def code(path: Path) -> str:
    """What a module does: neither its docstring nor its comments count."""
    body = ast.parse(path.read_text(encoding="utf-8")).body
    first = body[0] if body else None
    is_docstring = isinstance(first, ast.Expr) and isinstance(first.value, ast.Constant)
    return ast.dump(ast.Module(body[is_docstring:], []))


def is_own() -> bool:
    """Whether problem.py is another than the template's."""
    try:
        return code(PROBLEM) != code(EXAMPLE)
    except (OSError, SyntaxError, ValueError):
        return True


def own_modules() -> set[Path]:
    """The adopter's: modules of functions/ that make a Problem, but for the example."""
    files = {path for path in FUNCTIONS.rglob("*.py") if "Problem(" in path.read_text() and _makes_a_problem(path)}
    return files | {PROBLEM} if is_own() else files - {PROBLEM}


def _makes_a_problem(path: Path) -> bool:
    try:
        calls = [node.func for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Call)]
    except (SyntaxError, ValueError):
        return False
    return any("Problem" in (getattr(called, "id", ""), getattr(called, "attr", "")) for called in calls)


class Finder(MetaPathFinder):
    """Finds the example in problem.py's place."""

    def find_spec(self, name: str, path: Sequence[str] | None, target: ModuleType | None = None) -> ModuleSpec | None:
        return importlib.util.spec_from_file_location(name, EXAMPLE) if name == NAME else None


def install() -> None:
    """Where problem.py is somebody's own, this process and those it starts import the example as dropfit.problem."""
    if not is_own():
        return
    inherited = os.environ.get("PYTHONPATH", "").split(os.pathsep)
    if HERE not in inherited:
        os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, [HERE, *inherited]))
    if not any(isinstance(finder, Finder) for finder in sys.meta_path):
        assert NAME not in sys.modules, f"{NAME} was imported before the example could take its place"
        sys.meta_path.insert(0, Finder())


def search(*places: Path) -> str:
    """PYTHONPATH for a process that a test starts: these folders, and what makes it mean the example, too."""
    return os.pathsep.join(str(place) for place in (*places, *([HERE] if is_own() else [])))


def own() -> ModuleType:
    """functions/dropfit/problem.py as it lies there, whatever dropfit.problem is."""
    spec = importlib.util.spec_from_file_location("own_problem", PROBLEM)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module
