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


@pytest.mark.timeout(1200)
def test_the_tests_of_a_root_pass_and_there_are_some(root: Path) -> None:
    declared = "".join(file.read_text() for file in (root / "tests").glob("*.tftest.hcl"))
    runs = len(re.findall(r'^run "', declared, re.MULTILINE))
    assert runs, f"{root.name} has no tests of its own"
    told = run_terraform(root, "test", "-no-color").stdout
    assert re.search(rf"^Success! {runs} passed, 0 failed\.", told, re.MULTILINE), told
