# SPDX-License-Identifier: Apache-2.0
"""Terraform's own checks of each of its roots: format, types and names of every argument, and the .tftest files."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from planning import INFRA, copied, run_terraform

pytestmark = pytest.mark.infra
ROOTS = [folder for folder in (INFRA, INFRA / "pipeline") if folder.is_dir()]


@pytest.fixture(scope="session", params=ROOTS, ids=lambda folder: folder.name)
def root(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of a root, initialised."""
    return copied(request.param, tmp_path_factory.mktemp("root") / request.param.name)


def test_everything_is_formatted() -> None:
    run_terraform(INFRA, "fmt", "-check", "-diff", "-recursive")


def test_a_root_is_valid(root: Path) -> None:
    run_terraform(root, "validate", "-no-color")


FILES = [
    pytest.param(root, file.name, id=f"{root.name}/{file.name.partition('.')[0]}")
    for root in ROOTS
    for file in sorted((root / "tests").glob("*.tftest.hcl"))
]


@pytest.mark.timeout(1200)
@pytest.mark.parametrize(("root", "file"), FILES, indirect=["root"])
def test_the_tests_of_a_file_pass_and_there_are_some(root: Path, file: str) -> None:
    runs = len(re.findall(r'^run "', (root / "tests" / file).read_text(), re.MULTILINE))
    assert runs, f"{file} tests nothing"
    told = run_terraform(root, "test", "-no-color", f"-filter=tests/{file}").stdout
    assert re.search(rf"^Success! {runs} passed, 0 failed\.", told, re.MULTILINE), told


def test_each_root_has_tests_of_its_own() -> None:
    assert {file.parents[1] for root in ROOTS for file in root.glob("tests/*.tftest.hcl")} == set(ROOTS)
