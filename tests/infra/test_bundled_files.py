# SPDX-License-Identifier: Apache-2.0
"""What travels in the zips: modules of one's own, but no key, and nothing that git does not know unsaid."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from dockerfile import unpacked, variables
from test_bundle import committed, copied

from infra.deploy import bundle

PENGUINS = Path(__file__).parents[1] / "problems" / "penguins.py"
LOADS = """
import sys, dropfit
from dropfit.contract import load_problem
print(load_problem(sys.argv[1]).name)
print(dropfit.__file__)
print(sys.modules[sys.argv[1].partition(":")[0]].__file__)
"""


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """The repository's code elsewhere, to change."""
    return copied(tmp_path / "tree")


@pytest.mark.parametrize("which", ["functions", "job"])
@pytest.mark.parametrize("module", ["my_problem", "mine.problems"])
def test_a_problem_beside_dropfit_is_loaded_from_each_zip_alone(
    tree: Path, tmp_path: Path, which: str, module: str
) -> None:
    file = tree / "functions" / f"{module.replace('.', '/')}.py"
    file.parent.mkdir(exist_ok=True)
    shutil.copyfile(PENGUINS, file)
    code = bundle.build(tree)
    app = unpacked(code.job if which == "job" else code.functions, tmp_path / "app")
    places = variables(app)["PYTHONPATH"] if which == "job" else str(app)
    known = {**os.environ, "PYTHONPATH": places, "PYTHONDONTWRITEBYTECODE": "1"}
    command = [sys.executable, "-c", LOADS, f"{module}:problem"]
    done = subprocess.run(command, cwd=tmp_path, env=known, capture_output=True, text=True, check=False, timeout=300)
    assert done.returncode == 0, done.stderr
    name, *files = done.stdout.splitlines()
    assert name == "penguins"
    assert all(Path(each).is_relative_to(app) for each in files)


SERVICE_ACCOUNT = b'{"type": "service_account", "private_key": "-----BEGIN PRIVATE KEY-----"}'


@pytest.mark.parametrize(
    ("place", "data"),
    [
        ("functions/key.json", SERVICE_ACCOUNT),
        ("functions/mine/acme-dev-1234.txt", SERVICE_ACCOUNT),
        ("functions/dropfit/server", b"-----BEGIN RSA PRIVATE KEY-----\nabc\n"),
        ("functions/server.pem", b"x"),
        ("functions/server.key", b"x"),
        ("beam_pipelines/prod.env", b"x"),
    ],
)
def test_what_looks_like_a_key_is_refused_by_name_and_nothing_is_written(tree: Path, place: str, data: bytes) -> None:
    (tree / place).parent.mkdir(exist_ok=True)
    (tree / place).write_bytes(data)
    with pytest.raises(bundle.BundleError, match=rf"^{place} looks like a key.*: move it out of "):
        bundle.build(tree)
    assert list((tree / "build").glob("*.zip")) == []


def test_code_that_speaks_of_keys_and_data_without_any_are_taken(tree: Path) -> None:
    (tree / "functions/mine.py").write_bytes(b'KNOWN = "private_key"\n')
    (tree / "functions/groups.json").write_bytes(b'{"public_key": 1}')
    assert {"mine.py", "groups.json"} <= set(bundle.contents(tree)["functions"])


def test_a_hidden_env_file_does_not_travel(tree: Path) -> None:
    (tree / "functions/.env").write_bytes(b"TOKEN=x")
    assert not [name for files in bundle.contents(tree).values() for name in files if ".env" in name]


def told(tree: Path) -> list[str]:
    said = list[str]()
    bundle.build(tree, said.append)
    return [line for line in said if "not in git" in line]


def test_every_file_that_git_does_not_track_is_named_ignored_ones_too(tree: Path) -> None:
    committed(tree, "one")
    assert told(tree) == []
    (tree / "functions/new.py").write_bytes(b"")
    (tree / "beam_pipelines/other äß.csv").write_bytes(b"")
    (tree / "functions/scratch.csv").write_bytes(b"")
    with (tree / ".gitignore").open("a") as stream:
        stream.write("scratch.*\n")
    (line,) = told(tree)
    for name in ("functions/new.py", "beam_pipelines/other äß.csv", "functions/scratch.csv"):
        assert name in line
    assert "problem.py" not in line


def test_without_git_it_bundles_and_says_nothing_of_it(tree: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert told(tree) == []
    committed(tree, "one")
    (tree / "functions/new.py").write_bytes(b"")
    monkeypatch.setenv("PATH", "")
    assert told(tree) == []


def test_a_repository_around_it_that_is_somebody_elses_is_not_asked(tree: Path) -> None:
    committed(tree, "one")
    (tree / ".git").rename(tree.parent / ".git")  # which has none of these files where they are
    assert told(tree) == []
