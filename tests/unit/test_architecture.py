# SPDX-License-Identifier: Apache-2.0
"""The house keeps its shape: who may import whom, who may read the environment, and how long a room may be."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from repo_files import ROOT, tree, where
from stand_in import EXAMPLE, own_modules

PURE = (
    "contract",
    "ingest",
    "reading",
    "batches",
    "delimited",
    "jsonlines",
    "parquets",
    "pages",
    "cells",
    "judging",
    "sheet",
    "training",
    "export",
    "gate",
    "holdout",
    "comparison",
    "diagnosis",
    "report",
    "plots",
    "rules",
    "rulecheck",
    "conditions",
    "decisions",
    "guard_numbers",
    "guard_labels",
    "policy",
    "serving",
    "replies",
    "card",
    "telemetry",
    "openapi",
    "encoding",
    "metrics",
    "runtime",
    "instances",
    "tables",
    "backoff",
    "keys",
    "ranges",
    "parts",
    "csvparts",
    "jsonparts",
    "rowgroups",
    "chunks",
    "splits",
    "checks",
)
GOOGLE = {"storage", "warehouse", "launch", "rest", "logs", "cli"}
"""Modules of dropfit that may import one of Google's packages."""
SDK = {"google.cloud.storage": "storage", "google.cloud.bigquery": "warehouse"}
LINES, BODY = 280, 45
TEST_LINES = 300
CATALOGUES = {"tests/torture/guards.py", "tests/torture/mutants.py"}
"""Lists that may be longer: each entry is short, and stands beside its likes."""

FUNCTIONS = sorted((ROOT / "functions").glob("*.py"))
DROPFIT = sorted((ROOT / "functions/dropfit").rglob("*.py"))
PIPELINES = sorted((ROOT / "beam_pipelines").rglob("*.py"))
LOCALCLOUD = sorted((ROOT / "localcloud").rglob("*.py"))
DEPLOY = sorted((ROOT / "infra").rglob("*.py"))
CODE = [*FUNCTIONS, *DROPFIT, *PIPELINES, *LOCALCLOUD, *DEPLOY]
HOUSE = sorted({*CODE} - own_modules())
"""Without an adopter's problem, which may be as long and speak of flights as it likes."""


def imports(path: Path, top_level: bool = False) -> Iterator[str]:
    """The absolute names that a module imports, anywhere in it or at its top level only."""
    package = where(path).removeprefix("functions/").removesuffix(".py").split("/")
    for node in tree(path).body if top_level else ast.walk(tree(path)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = (
                [*package[: len(package) - node.level], *filter(None, [node.module])]
                if node.level
                else [node.module or ""]
            )
            yield from (".".join([*base, alias.name]) for alias in node.names)


def offenders(paths: list[Path], *packages: str, top_level: bool = False) -> set[str]:
    """Modules that import one of the packages or something inside it."""
    return {
        where(path)
        for path in paths
        for name in imports(path, top_level)
        if any(name == package or name.startswith(package + ".") for package in packages)
    }


def module(name: str) -> str:
    return f"functions/dropfit/{name}.py"


def test_there_is_something_to_look_at() -> None:
    assert len(FUNCTIONS) >= 2
    assert len(DROPFIT) >= 20
    assert "dropfit.errors.BadFile" in set(imports(ROOT / module("reading")))
    assert "google.cloud.storage" in set(imports(ROOT / module("storage")))
    assert "DROPFIT_HOME" in set(reads_of_the_environment(ROOT / module("settings")))
    assert list(flights_named(EXAMPLE))


def test_the_package_imports_no_function() -> None:
    assert offenders(DROPFIT, "on_upload", "predict") == set()


def test_only_the_command_line_imports_the_pipelines_and_only_when_a_command_needs_them() -> None:
    assert offenders(DROPFIT, "beam_pipelines") <= {module("cli_batch")}
    assert offenders(DROPFIT, "beam_pipelines", top_level=True) == set()


def test_only_the_command_line_imports_the_local_cloud_and_only_when_a_command_needs_it() -> None:
    assert offenders([*FUNCTIONS, *PIPELINES], "localcloud") == set()
    assert offenders(DROPFIT, "localcloud") <= {module("cli"), module("deployment")}
    assert offenders(DROPFIT, "localcloud", top_level=True) == set()


def test_only_the_command_line_imports_what_deploys_and_only_when_a_command_needs_it() -> None:
    assert offenders([*FUNCTIONS, *PIPELINES, *LOCALCLOUD], "infra") == set()
    assert offenders(DROPFIT, "infra") <= {module("cli_cloud")}
    assert offenders(DROPFIT, "infra", top_level=True) == set()


def test_what_deploys_speaks_to_google_through_the_same_edges() -> None:
    assert offenders(DEPLOY, "google", "requests", "httpx") == set()


def test_each_google_sdk_has_its_one_module() -> None:
    assert offenders(DROPFIT, "google") <= {module(name) for name in GOOGLE}
    assert offenders([*FUNCTIONS, *PIPELINES], "google") == set()
    for sdk, name in SDK.items():
        assert offenders([*FUNCTIONS, *DROPFIT, *PIPELINES], sdk) == {module(name)}


def test_pure_rooms_know_no_cloud_and_no_network() -> None:
    rooms = [ROOT / module(name) for name in PURE]
    assert offenders(rooms, "google", "requests", "httpx", "urllib", "http", "socket", "subprocess", "os") == set()


def test_beam_appears_in_the_jobs_alone() -> None:
    assert offenders([*FUNCTIONS, *DROPFIT], "apache_beam") == set()
    assert offenders(LOCALCLOUD, "apache_beam", top_level=True) == set()


def test_functions_framework_appears_in_the_functions_alone() -> None:
    assert offenders(CODE, "functions_framework") <= {where(path) for path in FUNCTIONS}


def test_nothing_that_runs_code_on_load_is_ever_loaded() -> None:
    assert offenders(CODE, "pickle", "joblib", "cloudpickle", "dill", "marshal", "shelve") == set()


def reads_of_the_environment(path: Path) -> Iterator[str]:
    """What a module takes from os.environ: a variable's name, or `*` for more than that."""
    parsed = tree(path)
    named: dict[ast.AST, str] = {}
    for node in ast.walk(parsed):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == "get":
            if node.args and isinstance(node.args[0], ast.Constant):
                named[node.func.value] = str(node.args[0].value)
        elif isinstance(node, ast.Subscript) and isinstance(node.slice, ast.Constant):
            named[node.value] = str(node.slice.value)
    for node in ast.walk(parsed):
        if isinstance(node, ast.Attribute) and node.attr in ("environ", "getenv", "environb"):
            yield named.get(node, "*")
        elif isinstance(node, ast.ImportFrom) and node.module == "os":
            yield from ("*" for alias in node.names if alias.name in ("environ", "getenv", "environb"))


def test_only_settings_reads_the_environment() -> None:
    allowed = {
        module("settings"): None,  # the one reader
        module("launch"): {"*"},  # copies it for the child process
    }
    found = {where(path): set(reads_of_the_environment(path)) for path in [*FUNCTIONS, *DROPFIT, *PIPELINES]}
    guilty = {
        path: names - (allowed.get(path) or set())
        for path, names in found.items()
        if not (path in allowed and allowed[path] is None)
    }
    assert {path: names for path, names in guilty.items() if names} == {}


COLUMNS = {
    "carrier",
    "origin",
    "dest",
    "distance",
    "weekday",
    "hour_of_week",
    "arr_delay",
    "dep_delay",
    "sched_dep_time",
    "sched_arr_time",
    "tailnum",
    "air_time",
}
"""Columns of the flights that are no everyday words of Python."""
TELLS_THE_STORY = ("functions/dropfit/problem.py", "localcloud/demo.py", "localcloud/flights.py")


def flights_named(path: Path) -> Iterator[str]:
    parsed = tree(path)
    for node in ast.walk(parsed):
        if isinstance(node, ast.keyword) and node.arg == "dest":
            continue  # argparse's own
        names = {node.id} if isinstance(node, ast.Name) else set()
        names |= {node.arg} if isinstance(node, (ast.arg, ast.keyword)) and node.arg else set()
        names |= {node.attr} - {"weekday"} if isinstance(node, ast.Attribute) else set()
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            # Prose may speak of a route's distance; a name alone, or one in quotes or backticks, is a column.
            quoted = re.findall(r"""['"`](\w+)['"`]""", node.value)
            names |= {node.value, *quoted}
        if names & COLUMNS:
            yield f"{where(path)}:{getattr(node, 'lineno', 0)} {', '.join(sorted(names & COLUMNS))}"


def test_no_column_of_the_flights_is_named_outside_their_problem() -> None:
    paths = [path for path in HOUSE if not where(path).startswith(TELLS_THE_STORY)]
    assert [found for path in paths for found in flights_named(path)] == []


@pytest.mark.parametrize("path", HOUSE, ids=where)
def test_a_room_and_what_is_in_it_fit_on_a_screen_or_two(path: Path) -> None:
    assert len(path.read_text().splitlines()) <= LINES
    long = {
        node.name: (node.end_lineno or 0) - node.lineno + 1
        for node in ast.walk(tree(path))
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef))
    }
    assert {name: lines for name, lines in long.items() if lines > BODY} == {}


def test_a_test_module_is_short_enough_to_find_ones_way_in() -> None:
    """But for an adopter's own."""
    paths = [path for path in (ROOT / "tests").rglob("*.py") if not path.is_relative_to(ROOT / "tests/own")]
    assert len(paths) > 100
    lines = {where(path): len(path.read_text().splitlines()) for path in paths}
    long = {name: count for name, count in lines.items() if count > TEST_LINES and name not in CATALOGUES}
    assert long == {}, (
        f"Longer than {TEST_LINES} lines: {', '.join(sorted(long))}. Split each by subject, every part in a module"
        " named by what it is about, and let a helper module or the conftest beside them hold what they share."
    )
