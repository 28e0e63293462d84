# SPDX-License-Identifier: Apache-2.0
"""The Makefile, which both pipelines run: no test is left out, none that fails is forgiven, nothing is unlocked."""

from __future__ import annotations

import re

import pytest
from planning import ROOT


@pytest.mark.parametrize("target", ["lint", "test", "verify", "infra-test"])
def test_what_make_tests_fails_when_a_test_fails(target: str) -> None:
    makefile = (ROOT / "Makefile").read_text()
    (recipe,) = re.findall(rf"^{target}:.*\n((?:\t.*\n)+)", makefile, re.MULTILINE)
    for line in recipe.splitlines():
        assert re.match(r"\t@?\$\(BIN\)/", line), line  # no `-`, which forgives, and no shell around it
        assert re.search(r"[|;&]|--exit-zero|--no-error|--co\b|--collect-only", line) is None, line
    assert ".IGNORE" not in makefile
    assert re.search(r"^(\w+ )*MAKEFLAGS|PYTEST_ADDOPTS", makefile, re.MULTILINE) is None


SELECTS = {
    "test": 'pytest -m "not verify and not infra" -n $(WORKERS) --dist loadfile $(ARGS)',
    "verify": "pytest -m verify $(ARGS)",
    "infra-test": "pytest tests/infra -m infra $(ARGS)",
}
"""Target of make -> all that it asks of pytest: between them they leave no test out."""


@pytest.mark.parametrize("target", SELECTS)
def test_no_test_is_left_out(target: str) -> None:
    recipe = re.findall(rf"^{target}:.*\n\t@(.*)$", (ROOT / "Makefile").read_text(), re.MULTILINE)
    assert recipe == [f"$(BIN)/python -m {SELECTS[target]}"]


def test_tests_are_given_the_terraform_that_is_named() -> None:
    assert "\nexport TERRAFORM ?= terraform\n" in (ROOT / "Makefile").read_text()


def test_what_make_installs_is_locked_with_hashes() -> None:
    installs = re.findall(r"uv pip install (.*?)(?:;|$)", (ROOT / "Makefile").read_text(), re.MULTILINE)
    assert len(installs) > 3
    own = [told for told in installs if told.endswith("--no-deps -e .")]
    assert [told for told in installs if "--require-hashes -r requirements/" not in told] == own


def test_test_means_lint_too() -> None:
    assert re.search(r"^test: lint\b", (ROOT / "Makefile").read_text(), re.MULTILINE)
