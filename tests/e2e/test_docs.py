# SPDX-License-Identifier: Apache-2.0
"""What the documents say is true: their commands run, their links lead somewhere, their settings exist."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
from fnmatch import fnmatch
from pathlib import Path

import msgspec
import pytest
from stand_in import PROBLEM, own_modules

from dropfit.settings import Settings, variable

ROOT = Path(__file__).parents[2]
PAGES = sorted([ROOT / "README.md", ROOT / "CONTRIBUTING.md", *ROOT.glob("docs/**/*.md")])
README = (ROOT / "README.md").read_text()
# `make demo` has a test of its own, and `make test` is what runs this one.
ELSEWHERE = {"make demo\n", "make test\n"}


def shell_blocks(text: str) -> list[str]:
    return re.findall(r"^```sh\n(.*?)^```", text, re.M | re.S)


@pytest.mark.verify
def test_every_command_of_the_readme_runs_in_its_order(clean: dict[str, str], tmp_path: Path) -> None:
    blocks = shell_blocks(README)
    assert set(blocks) >= ELSEWHERE
    script = "\n".join(["set -eux", *(block for block in blocks if block not in ELSEWHERE)])
    # The clone may have a local cloud of its own at work: this one lives elsewhere, and says so as a person would.
    home = tmp_path / "home"
    script = script.replace(". .dropfit/env", f". {shlex.quote(str(home / 'env'))}").replace(
        ".dropfit/flights", shlex.quote(str(tmp_path / "flights"))
    )
    environ = clean | {"DROPFIT_HOME": str(home)}
    for name in ("MAKEFLAGS", "MAKELEVEL", "MFLAGS"):
        environ.pop(name, None)
    command = ["/bin/sh", "-c", script]
    done = subprocess.run(command, cwd=ROOT, env=environ, capture_output=True, text=True, timeout=500)
    try:
        assert done.returncode == 0, done.stdout + done.stderr
        assert "flights-2013-01.csv: promoted" in done.stdout
        assert done.stdout.count('"model_version":') == 2
        assert done.stdout.count("'model_version':") == 3
        assert done.stdout.rstrip().endswith("stopped")
    finally:
        stop = [str(ROOT / ".venv" / "bin" / "dropfit"), "down"]
        if os.path.exists(stop[0]):
            subprocess.run(stop, env=environ, capture_output=True, timeout=300)


def test_every_make_target_that_is_named_exists() -> None:
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.M))
    for page in PAGES:
        named = set(
            re.findall(r"`?make ([a-z-]+)", "\n".join(re.findall(r"`[^`\n]+`|^make .*$", page.read_text(), re.M)))
        )
        assert named <= targets, page


@pytest.mark.parametrize("page", PAGES, ids=[str(page.relative_to(ROOT)) for page in PAGES])
def test_every_link_leads_to_a_file(page: Path) -> None:
    links = re.findall(r"\]\(([^)#\s]+)(?:#[^)]*)?\)", page.read_text())
    assert [link for link in links if "://" not in link and not (page.parent / link).exists()] == []


def test_every_file_of_the_readmes_tree_exists() -> None:
    tree = re.search(r"## What is where\n\n```\n(.*?)```", README, re.S)
    assert tree is not None
    folder, inner = ROOT, {"functions": "dropfit", "infra": "deploy"}
    for line in tree.group(1).splitlines():
        if line[0] != " ":
            folder = ROOT / line.split()[0]
            assert folder.exists(), line
            continue
        names = re.findall(r"[\w/*]+(?:\.py|\.tf|\.tfvars|\.toml|/)(?= |$)", line)
        base = folder / inner[folder.name] if line.startswith("    ") else folder
        assert [name for name in names if not list(base.glob(name.rstrip("/")))] == [], line


def test_every_module_is_named_in_the_readmes_tree() -> None:
    tree = README.split("## What is where", 1)[1].split("## Read on", 1)[0]
    named = set(re.findall(r"[\w*]+\.(?:py|tf)\b", tree))
    places = ("functions/*.py", "functions/dropfit/*.py", "beam_pipelines/*.py", "infra/*.tf", "infra/deploy/*.py")
    own = {room for room in own_modules() if room != PROBLEM}  # an adopter's problems name themselves
    rooms = {room.name for place in places for room in ROOT.glob(place) if room not in own}
    assert len(rooms) > 150
    assert {room for room in rooms if not any(fnmatch(room, name) for name in named)} == {"__init__.py"}


def test_operate_lists_every_setting_with_its_default() -> None:
    page = (ROOT / "docs" / "operate.md").read_text()
    for field in msgspec.structs.fields(Settings):
        named = (line for line in page.splitlines() if line.startswith("|") and f"`{variable(field.name)}`" in line)
        row = next(named, None)
        assert row is not None, field.name
        if not field.required and isinstance(field.default, int | float):
            assert f"{field.default:g}" in row or str(field.default) in row, row
