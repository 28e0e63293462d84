# SPDX-License-Identifier: Apache-2.0
"""What is committed names nobody's machine, says its licence, and has names of its own."""

from __future__ import annotations

import ast
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from repo_files import ROOT, tree, where
from stand_in import own_modules


def tracked() -> list[Path]:
    """Every file that is committed, or would be."""
    command = ["git", "-C", str(ROOT), "ls-files", "--cached", "--others", "--exclude-standard", "-z"]
    try:
        listed = subprocess.run(command, capture_output=True, text=True, check=True, timeout=300).stdout
    except (OSError, subprocess.SubprocessError):
        pytest.skip("not a git clone")
    return [ROOT / name for name in listed.split("\0") if name and (ROOT / name).is_file()]


def texts() -> Iterator[tuple[str, str]]:
    for path in tracked():
        payload = path.read_bytes()
        if b"\0" not in payload:
            yield where(path), payload.decode(errors="replace")


HOME_PATH = re.compile(r"/(?:home|Users)/[A-Za-z_][\w.-]*/|(?<![\w./])/(?:root)/\w")
INDEX_HOST = re.compile(
    r"pypi[.]org/simple|test[.]pypi[.]org|files[.]pythonhosted[.]org|^\s*(?:--)?(?:extra-)?index-url\b"
    r"|https?://[^/\s'\"]*(?:artifactory|nexus|devpi|pkg[.]dev/[^\s'\"]*/simple)",
    re.MULTILINE,
)


@pytest.mark.parametrize("pattern", [HOME_PATH, INDEX_HOST], ids=["home path", "package index"])
def test_no_committed_file_names_somebodys_machine(pattern: re.Pattern[str]) -> None:
    assert [(name, found[0]) for name, text in texts() if (found := pattern.search(text))] == []


def test_every_source_file_says_its_licence_and_what_it_is_for() -> None:
    """But for an adopter's own, whose licence is theirs to choose."""
    own = {*own_modules(), *(ROOT / "tests/own").rglob("*.py")}
    paths = [path for path in tracked() if path.suffix == ".py" and path not in own]
    assert len(paths) > 50
    assert [where(p) for p in paths if not p.read_text().startswith("# SPDX-License-Identifier: Apache-2.0\n")] == []
    assert [where(p) for p in paths if p.is_relative_to(ROOT / "functions") and not ast.get_docstring(tree(p))] == []


def test_every_test_module_has_a_name_of_its_own() -> None:
    names = [path.name for path in (ROOT / "tests").rglob("*.py") if path.name not in ("conftest.py", "__init__.py")]
    assert sorted(names) == sorted(set(names))
