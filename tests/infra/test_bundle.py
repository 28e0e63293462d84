# SPDX-License-Identifier: Apache-2.0
"""What is deployed is named by its content: the same code has the same name wherever it is bundled."""

from __future__ import annotations

import io
import json
import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from infra.deploy import bundle

ROOT = Path(__file__).parents[2]
NAMES = st.text("abcdefgh/._-äß", min_size=1, max_size=12)


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The repository's code elsewhere, with nothing beside it."""
    return copied(tmp_path_factory.mktemp("original") / "a")


def copied(folder: Path) -> Path:
    for place in (bundle.FUNCTIONS, *bundle.JOB):
        target = folder / place
        target.parent.mkdir(parents=True, exist_ok=True)
        if (ROOT / place).is_dir():
            shutil.copytree(ROOT / place, target, dirs_exist_ok=True)
        else:
            shutil.copyfile(ROOT / place, target)
    (folder / "infra").mkdir()
    return folder


@pytest.fixture
def tree(original: Path, tmp_path: Path) -> Path:
    """A copy to change."""
    return Path(shutil.copytree(original, tmp_path / "tree", ignore=shutil.ignore_patterns("build")))


def names(code: bundle.Code) -> list[str]:
    return [code.functions.name, code.job.name]


def listed(path: Path) -> list[str]:
    with zipfile.ZipFile(path) as archive:
        return archive.namelist()


def test_other_times_modes_orders_and_places_give_the_same_bytes(original: Path, tmp_path: Path) -> None:
    other = tmp_path / "somewhere" / "else"
    other.mkdir(parents=True)
    files = sorted((path for path in original.rglob("*") if path.is_file()), reverse=True)
    for number, path in enumerate(files):
        target = other / path.relative_to(original)
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(path.read_bytes())
        target.chmod(0o700)
        os.utime(target, (10_000_000 * number, 2_000_000_000))
    (other / "infra").mkdir(exist_ok=True)
    here, there = bundle.build(original), bundle.build(other)
    assert names(here) == names(there)
    assert [p.read_bytes() for p in here] == [p.read_bytes() for p in there]


def test_a_zip_says_nothing_of_where_and_when_it_was_made() -> None:
    with zipfile.ZipFile(io.BytesIO(bundle.zipped({"b.py": b"1", "a.sh": b"2" * 100}))) as archive:
        entries = archive.infolist()
    assert [entry.filename for entry in entries] == ["a.sh", "b.py"]
    for entry in entries:
        assert (entry.create_system, entry.external_attr >> 16, entry.date_time) == (3, 0o100644, bundle.EPOCH)
        assert entry.compress_type == zipfile.ZIP_STORED, "what deflate writes is each zlib's own"


def test_another_time_zone_locale_and_umask_give_the_same_bytes(original: Path, tree: Path) -> None:
    """In a Python of its own, with the standard library alone: no site-packages, nothing of this repository."""
    shutil.copytree(ROOT / "infra" / "deploy", tree / "infra" / "deploy")
    environ = {"TZ": "Pacific/Kiritimati", "LC_ALL": "C", "PYTHONHASHSEED": "7", "PYTHONDONTWRITEBYTECODE": "1"}
    command = [sys.executable, "-I", "-S", "-c", BARE.format(root=str(tree))]
    done = subprocess.run(command, env=environ, capture_output=True, text=True, check=False, timeout=300, umask=0o077)
    assert done.returncode == 0, done.stderr
    for path in bundle.build(original):
        assert (tree / "build" / path.name).read_bytes() == path.read_bytes()
        assert f"build/{path.name}" in done.stdout


BARE = "import sys; sys.path.insert(0, {root!r}); from infra.deploy import bundle; sys.exit(bundle.main([]))"


def test_line_endings_of_another_system_give_the_same_bytes(original: Path, tree: Path) -> None:
    for path in [*tree.rglob("*.py"), *tree.rglob("*.sh"), *tree.rglob("*.txt"), tree / "Dockerfile"]:
        path.write_bytes(path.read_bytes().replace(b"\n", b"\r\n"))
    assert names(bundle.build(tree)) == names(bundle.build(original))


@pytest.mark.parametrize(
    ("file", "functions", "job"),
    [
        ("functions/predict.py", True, False),
        ("functions/on_upload.py", True, False),
        ("functions/requirements.txt", True, False),
        ("functions/dropfit/problem.py", True, True),
        ("functions/my_problem.py", True, True),
        ("beam_pipelines/retrain.py", False, True),
        ("beam_pipelines/worker.sh", False, True),
        ("requirements/jobs.txt", False, True),
        ("Dockerfile", False, True),
    ],
)
def test_a_changed_byte_renames_what_it_is_in_and_nothing_else(
    original: Path, tree: Path, file: str, functions: bool, job: bool
) -> None:
    before = names(bundle.build(original))
    with (tree / file).open("ab") as stream:
        stream.write(b"\n# changed\n")
    after = names(bundle.build(tree))
    assert [new != old for new, old in zip(after, before, strict=True)] == [functions, job]


OUTSIDE = ["docs/deploy.md", "tests/unit/test_new.py", "infra/main.tf", "README.md", "requirements/dev.txt"]
LEFT = [
    "predict.py~",
    ".predict.py.swp",
    "#predict.py#",
    ".DS_Store",
    "dropfit/problem.py.orig",
    "__pycache__/x.nbi",
    "x.pyc",
]


def test_what_is_outside_changes_no_name(original: Path, tree: Path) -> None:
    for place in [*OUTSIDE, *(f"functions/{name}" for name in LEFT), "functions/.venv/lib/x.py"]:
        (tree / place).parent.mkdir(parents=True, exist_ok=True)
        (tree / place).write_bytes(b"anything")
    assert names(bundle.build(tree)) == names(bundle.build(original))


def test_a_file_that_is_new_gone_or_called_otherwise_renames_the_zip(tree: Path) -> None:
    seen = {bundle.build(tree).functions.name}
    (tree / "functions/dropfit/new.py").write_bytes(b"")
    seen.add(bundle.build(tree).functions.name)
    (tree / "functions/dropfit/new.py").rename(tree / "functions/dropfit/newer.py")
    seen.add(bundle.build(tree).functions.name)
    assert len(seen) == 3


@pytest.mark.parametrize("place", ["functions/dropfit/linked.py", "functions/linked"])
def test_a_symbolic_link_is_refused_by_name(tree: Path, place: str) -> None:
    (tree / place).symlink_to(tree / "functions" / ("dropfit" if place.endswith("linked") else "predict.py"))
    with pytest.raises(bundle.BundleError, match=place):
        bundle.build(tree)


def test_what_the_bundle_needs_and_is_not_there_is_named(tree: Path) -> None:
    (tree / "requirements/jobs.txt").unlink()
    with pytest.raises(bundle.BundleError, match=r"requirements/jobs\.txt is not there"):
        bundle.build(tree)


def test_the_functions_come_with_their_lock_at_the_top() -> None:
    inside = bundle.contents(ROOT)["functions"]
    assert {"on_upload.py", "predict.py", "requirements.txt", "dropfit/problem.py"} <= set(inside)
    assert inside["requirements.txt"] == (ROOT / "requirements/functions.txt").read_bytes()
    assert all(name.endswith(".py") for name in inside if name != "requirements.txt")


def test_terraform_is_told_both_and_zips_of_older_code_go(tree: Path) -> None:
    older = bundle.build(tree)
    (tree / "functions/dropfit/problem.py").write_bytes(b"# another\n")
    (tree / "build/functions-mine.zip").write_bytes(b"somebody's own")
    code = bundle.build(tree)
    told = json.loads((tree / bundle.WRITTEN).read_bytes())
    assert (tree / "infra" / told["functions_zip"]).resolve() == code.functions.resolve()
    assert told["image_tag"] == code.job_tag
    assert code.job.name == f"job-{code.job_tag}.zip"
    assert code.functions.name == f"functions-{code.functions_tag}.zip"
    assert not older.functions.exists()
    assert not older.job.exists()
    assert (tree / "build/functions-mine.zip").exists()


def test_it_says_what_is_new_and_what_is_as_it_was(tree: Path) -> None:
    first, second = list[str](), list[str]()
    bundle.build(tree, first.append)
    (tree / "functions/predict.py").write_bytes(b"# another\n")
    bundle.build(tree, second.append)
    assert [line.split()[-1] for line in first[:2]] == ["new", "new"]
    assert second[0].endswith("new")
    assert second[1].endswith("as it was")
    assert len({line.index(" kB") for line in second[:2]}) == len({line.index(" files") for line in second[:2]}) == 1


def test_a_torn_zip_of_an_interrupted_run_is_written_again(tree: Path) -> None:
    code = bundle.build(tree)
    whole = code.functions.read_bytes()
    code.functions.write_bytes(whole[:1000])
    bundle.build(tree)
    assert code.functions.read_bytes() == whole


def test_half_a_zip_never_has_the_name_of_a_whole_one(tree: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def breaks(half: Path, whole: Path) -> Path:
        raise OSError("no space left")

    monkeypatch.setattr(Path, "replace", breaks)
    with pytest.raises(OSError, match="no space left"):
        bundle.build(tree)
    assert list((tree / "build").glob("*.zip")) == []


def test_make_bundle_is_this() -> None:
    assert "\nbundle: env ##" in (makefile := (ROOT / "Makefile").read_text())
    assert "\n\t@$(BIN)/python -m infra.deploy.bundle $(ARGS)\n" in makefile


def test_the_commit_of_deployed_code_is_found_by_its_tag(tree: Path) -> None:
    first = committed(tree, "one")
    code = bundle.build(tree)
    (tree / "functions/predict.py").write_bytes(b"# another\n")
    second = committed(tree, "two")
    (tree / "README.md").write_bytes(b"of no matter\n")
    committed(tree, "three")
    newer = bundle.build(tree)
    assert bundle.find(code.functions_tag, tree) == first
    assert bundle.find(f"europe-west1-docker.pkg.dev/p/dropfit/predict:{newer.functions_tag}", tree) == second
    assert bundle.find(code.job.name, tree) in (first, second)
    (tree / "functions/predict.py").write_bytes(b"# never committed\n")
    with pytest.raises(bundle.BundleError, match="not committed"):
        bundle.find(bundle.build(tree).functions_tag, tree)


def committed(tree: Path, message: str) -> str:
    def git(*arguments: str) -> str:
        who = ("-c", "user.name=n", "-c", "user.email=e@example.com", "-c", "core.autocrlf=false")
        command = ["git", "-C", str(tree), *who, *arguments]
        return subprocess.run(command, capture_output=True, text=True, check=True, timeout=300).stdout.strip()

    git("init", "-q")
    (tree / ".gitignore").write_text("build/\n__pycache__/\ncode.auto.tfvars.json\n")
    git("add", "-A")
    git("commit", "-q", "-m", message)
    return git("rev-parse", "HEAD")


@settings(deadline=None)  # a busy machine is no fault of the zip
@given(st.dictionaries(NAMES, st.binary(max_size=40), max_size=8), st.randoms())
def test_a_zip_depends_on_names_and_bytes_alone_and_holds_them(files: dict[str, bytes], chance: Random) -> None:
    shuffled = list(files.items())
    chance.shuffle(shuffled)
    payload = bundle.zipped(files)
    assert bundle.zipped(dict(shuffled)) == payload
    with zipfile.ZipFile(io.BytesIO(payload)) as archive:
        assert {entry.filename: archive.read(entry) for entry in archive.infolist()} == files
        assert {entry.compress_type for entry in archive.infolist()} <= {zipfile.ZIP_STORED}


@settings(deadline=None)  # a busy machine is no fault of the zip
@given(st.dictionaries(NAMES, st.binary(max_size=8), max_size=4), st.dictionaries(NAMES, st.binary(max_size=8)))
def test_two_zips_are_equal_only_when_their_files_are(one: dict[str, bytes], other: dict[str, bytes]) -> None:
    assert (bundle.zipped(one) == bundle.zipped(other)) == (one == other)
