# SPDX-License-Identifier: Apache-2.0
"""functions/dropfit/problem.py, whatever problem it holds; and how the tests mean the example once it is your own."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import msgspec
import pytest
import stand_in
from stand_in import EXAMPLE, PROBLEM, TESTS

from dropfit.contract import Contract, Problem

HEAVY = ("sklearn", "pandas", "skl2onnx", "onnx", "pyarrow", "scipy", "apache_beam", "google.cloud.bigquery")
RELATES = f"""
import sys, predict
from dropfit.contract import load_problem
problem = load_problem("dropfit.problem:problem")
assert sys.modules["dropfit.problem"].__file__ == sys.argv[1], sys.modules["dropfit.problem"].__file__
print([name for name in {HEAVY!r} if name in sys.modules])
"""


def python(*arguments: str, path: str) -> str:
    """Run a Python that finds what is in these folders, and nothing of the example otherwise."""
    environ = os.environ | {"PYTHONPATH": path}
    done = subprocess.run(
        [sys.executable, *arguments], env=environ, capture_output=True, text=True, timeout=300, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_the_predict_function_loads_the_problem_in_force_without_what_only_training_needs() -> None:
    # If it loads and this fails: move the import of what it names into the body of `estimator` in problem.py.
    assert python("-c", RELATES, str(PROBLEM), path=str(stand_in.FUNCTIONS)) == "[]"


def test_its_contract_survives_the_journey_through_the_manifest(mine: ModuleType) -> None:
    contract = mine.problem.contract
    assert msgspec.json.decode(msgspec.json.encode(contract), type=Contract) == contract


def test_its_code_has_a_source_to_be_known_by(mine: ModuleType) -> None:
    problem: Problem = mine.problem
    assert set(problem.code_sha256) == {"contract", "ingest", "derive", "estimator"}
    assert bool(problem.derived) == bool(problem.derive_sha256)


def test_its_estimator_can_be_made_and_fitted_later(mine: ModuleType) -> None:
    made = mine.problem.estimator(mine.problem.inputs)
    assert callable(made.fit)
    assert callable(made.predict)


@pytest.fixture
def edited(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A problem.py somewhere else, to be edited."""
    file = tmp_path / "problem.py"
    shutil.copyfile(EXAMPLE, file)
    monkeypatch.setattr(stand_in, "PROBLEM", file)
    return file


def test_another_docstring_or_comment_does_not_make_it_your_own(edited: Path) -> None:
    edited.write_text('"""Another."""\n# And more.\n' + edited.read_text().split('"""', 2)[2])
    assert not stand_in.is_own()
    assert stand_in.search(TESTS) == str(TESTS)


@pytest.mark.parametrize("change", ["minimum_rows=999", "minimum_rows=("])
def test_any_other_change_does(edited: Path, change: str) -> None:
    edited.write_text(edited.read_text().replace("minimum_rows=1000", change))
    assert stand_in.is_own()


def test_then_every_python_that_a_test_starts_imports_the_example_in_its_place(tmp_path: Path) -> None:
    for folder in ("functions/dropfit", "tests/example", "tests/problems"):
        shutil.copytree(TESTS.parent / folder, tmp_path / folder, ignore=shutil.ignore_patterns("__pycache__"))
    clone = [tmp_path / "tests" / "example", tmp_path / "functions"]
    code = "import dropfit.problem as it; print(it.problem.name, it.__file__)"
    own, example = tmp_path / "functions/dropfit/problem.py", tmp_path / "tests/problems/flights.py"
    path = os.pathsep.join(map(str, clone))
    shutil.copyfile(EXAMPLE, own)
    assert python("-c", code, path=path) == f"flights {own}"
    shutil.copyfile(TESTS / "problems" / "penguins.py", own)
    assert python("-c", code, path=path) == f"flights {example}"


def test_a_test_of_your_own_sees_your_problem(edited: Path) -> None:
    shutil.copyfile(TESTS / "problems" / "penguins.py", edited)
    assert stand_in.own().problem.name == "penguins"


def test_a_module_of_your_own_beside_it_is_known_by_the_problem_it_makes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stand_in, "FUNCTIONS", tmp_path)
    monkeypatch.setattr(stand_in, "PROBLEM", EXAMPLE)
    shutil.copyfile(TESTS / "problems" / "penguins.py", tmp_path / "mine.py")
    (tmp_path / "helper.py").write_text("class Problem: ...\n")
    assert stand_in.own_modules() == {tmp_path / "mine.py"}
